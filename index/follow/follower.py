"""Following AHI: by a queue of events where there is one, else by asking. What failed is tried again meanwhile."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from threading import Event

from ahi.client.calls import AhiClient
from dicomweb.errors import ProxyError
from index.follow.attempts import Attempts
from index.follow.changed import ChangedImageSets, Parse
from index.follow.poller import Poller
from index.follow.progress import FollowerProgress
from index.follow.queue import EventQueue
from index.follow.queue_follower import QueueFollower
from index.follow.tally import Tally
from index.writing.writer import IndexWriter

log = logging.getLogger(__name__)

AGAIN_SECONDS = 120.0
"""Time between two rounds of attempts at what failed before."""

_LIST_SECONDS = 300.0


class Follower:
    """Follows these data stores, or all that the role may list if none are named. Several may run at once."""

    def __init__(
        self,
        client: AhiClient,
        writer: IndexWriter,
        parse: Parse,
        *,
        datastore_ids: Iterable[str] = (),
        queue: EventQueue | None = None,
    ) -> None:
        self.tally = Tally()
        self._client = client
        self._queue = queue
        self._datastore_ids = tuple(datastore_ids)
        self._listed: tuple[str, ...] = ()
        self._list_at = 0.0
        self._progress = FollowerProgress(writer.session)
        changed = ChangedImageSets(client, writer, parse)
        self._attempts = Attempts(changed.update, client.ping, writer, self.tally)
        self._poller = Poller(client.listing, writer, self._attempts, self._progress, self.tally)

    def run(self, stop: Event, on_round: Callable[[], None] = lambda: None) -> None:
        """Follow until `stop` is set, then end what was begun. `on_round` is called every few seconds."""

        def each_round() -> None:
            on_round()
            self.tally.tell()

        again = threading.Thread(target=self._try_again, args=(stop,), name="again")
        again.start()
        try:
            if self._queue:
                followed = frozenset(self._datastore_ids) or None
                catch_up = self._poller.catch_up
                QueueFollower(self._queue, self._attempts, catch_up, self._progress, self.tally, followed).run(
                    stop, each_round
                )
            else:
                self._poller.run(self._all_datastores, stop, each_round)
        finally:
            stop.set()
            again.join()

    def _try_again(self, stop: Event) -> None:
        while not stop.wait(AGAIN_SECONDS):
            self._round_of_attempts(stop)

    def _round_of_attempts(self, stop: Event) -> None:
        try:
            self._poller.try_again(stop)
        except ProxyError as error:
            self.tally.waits(str(error))
        except Exception:  # the outermost frame of a thread
            log.exception("image sets not tried again")

    def _all_datastores(self) -> tuple[str, ...]:
        if self._datastore_ids:
            return self._datastore_ids
        if time.monotonic() >= self._list_at:
            self._listed = tuple(self._client.listing.datastores())
            self._list_at = time.monotonic() + _LIST_SECONDS
        return self._listed
