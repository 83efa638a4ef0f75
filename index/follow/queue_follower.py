"""Following by a queue: messages in, rows of the index out; a message is deleted after the commit of its rows.

While AHI or the index is away, the messages in hand are kept hidden and no others are received. A message whose image
set fails comes again, each time later. When the image set is put aside, which the ledger then says, it is deleted.
So it is with the messages of a data store that cannot be read: they wait in the queue, and those of others go on.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED as ANY
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Event

from dicomweb.errors import ProxyError
from index.follow.attempts import Attempts, DatastoreUnreadable
from index.follow.changed import Outcome
from index.follow.events import DatastoreHint, Hint, ImageSetHint, NotForUs, parse_event
from index.follow.holds import FAILURES
from index.follow.progress import FollowerProgress
from index.follow.queue import HIDDEN_SECONDS, EventQueue, Message
from index.follow.tally import Tally

log = logging.getLogger(__name__)

_THREADS = 8
_OUTAGE_SECONDS = 5.0
_EMPTY_SECONDS = 0.2  # SQS holds a request; what else answers at its address may not
_KEEP_SECONDS = HIDDEN_SECONDS / 3
_LONGEST_DELAY_SECONDS = 900
_UNSETTLED_ATTEMPTS = 3  # AHI may show a new image set, or a deletion, a little later than it tells of it


@dataclass(frozen=True)
class Work:
    """A hint, and all messages that gave it."""

    hint: Hint
    messages: tuple[Message, ...]

    @property
    def received(self) -> int:
        """How often its messages were received."""
        return max(message.received for message in self.messages)


def grouped(messages: Sequence[Message]) -> list[Work]:
    """One piece of work for each thing that messages tell of; what is not for us is one as well."""
    found: dict[Hint, list[Message]] = {}
    for message in messages:
        found.setdefault(parse_event(message.body), []).append(message)
    return [Work(hint, tuple(told)) for hint, told in found.items()]


@dataclass
class QueueFollower:
    """`catch_up` brings all of a data store up to date that changed lately; it is told when to stop.

    `datastore_ids` are those that are followed, None for all. A message that fails comes again after
    `first_delay_seconds`, and after twice as long each further time.
    """

    queue: EventQueue
    attempts: Attempts
    catch_up: Callable[[str, Event], None]
    progress: FollowerProgress
    tally: Tally
    datastore_ids: frozenset[str] | None = None
    threads: int = _THREADS
    first_delay_seconds: int = 2
    _in_hand: dict["Future[None]", Work] = field(default_factory=dict, init=False)
    _kept_at: float = field(default=0.0, init=False)

    def run(self, stop: Event, on_round: Callable[[], None]) -> None:
        """Follow until `stop` is set; then finish what was begun. `on_round` is called every few seconds."""
        with ThreadPoolExecutor(self.threads, thread_name_prefix="follow") as pool:
            while not stop.is_set():
                on_round()
                self._look_after_hand(timeout_seconds=0.0)
                if len(self._in_hand) >= self.threads:
                    self._look_after_hand(timeout_seconds=1.0)
                    continue
                for work in grouped(self._received(stop)):
                    self._in_hand[pool.submit(self._do, work, stop)] = work
            while self._in_hand:
                on_round()
                self._look_after_hand(timeout_seconds=1.0)

    def _received(self, stop: Event) -> list[Message]:
        try:
            messages = self.queue.receive()
        except ProxyError as error:
            self.tally.source_failed(str(error))
            stop.wait(_OUTAGE_SECONDS)
            return []
        self.tally.source_answered()
        self.tally.count(len(messages))
        if not messages:
            stop.wait(_EMPTY_SECONDS)
        try:
            self.progress.note_asked()
        except ProxyError as error:  # what was received is in hand all the same
            self.tally.waits(str(error))
        return messages

    def _look_after_hand(self, timeout_seconds: float) -> None:
        """Forget what is done, and keep the rest hidden from other followers."""
        if self._in_hand:
            done, _ = wait(self._in_hand, timeout_seconds, return_when=ANY)
            for future in done:
                self._in_hand.pop(future)
                future.result()
        if time.monotonic() - self._kept_at < _KEEP_SECONDS:
            return
        self._kept_at = time.monotonic()
        messages = [message for work in self._in_hand.values() for message in work.messages]
        try:
            self.queue.hide(messages, HIDDEN_SECONDS)
        except ProxyError as error:  # then another follower does the same work, which does no harm
            log.warning("events in hand not kept hidden reason=%s", error)

    def _do(self, work: Work, stop: Event) -> None:
        """Do one piece of work; wait as long as there is an outage, and give it back if we are to stop meanwhile."""
        while True:
            try:
                return self._take(work, stop)
            except ProxyError as error:
                self.tally.waits(str(error))
            except Exception:  # the outermost frame of a thread
                log.exception("event not taken")
                return None
            if stop.wait(_OUTAGE_SECONDS):
                return self._again(work, 0)

    def _take(self, work: Work, stop: Event) -> None:
        """ProxyError only for an outage of all."""
        try:
            self._act(work, stop)
        except DatastoreUnreadable as error:
            self._put_off(work, error.datastore_id, str(error))

    def _act(self, work: Work, stop: Event) -> None:
        may_try = self.attempts.holds.may_try
        match work.hint:
            case NotForUs(reason):
                self.tally.ignore(reason, len(work.messages))
                self.queue.delete(work.messages)
            case ImageSetHint(datastore_id) | DatastoreHint(datastore_id) if not self._is_followed(datastore_id):
                self.tally.ignore("an event of another data store", len(work.messages))
                self.queue.delete(work.messages)
            case ImageSetHint(datastore_id) | DatastoreHint(datastore_id) if not may_try(datastore_id):
                self._put_off(work, datastore_id, "its data store cannot be read")
            case DatastoreHint(datastore_id):
                self.catch_up(datastore_id, stop)
                self.queue.delete(work.messages)
            case ImageSetHint() as hint:
                self._update(hint, work)

    def _is_followed(self, datastore_id: str) -> bool:
        return self.datastore_ids is None or datastore_id in self.datastore_ids

    def _update(self, hint: ImageSetHint, work: Work) -> None:
        outcome = self.attempts.make(hint)
        is_unsettled = outcome is Outcome.ABSENT or (hint.deleted and outcome is Outcome.UNCHANGED)
        if outcome is Outcome.FAILED or (is_unsettled and work.received < _UNSETTLED_ATTEMPTS):
            return self._again(work, self._delay_seconds(work))
        self.progress.note_event()
        self.queue.delete(work.messages)
        return None

    def _put_off(self, work: Work, datastore_id: str, reason: str) -> None:
        """Have the messages come again when their data store may be tried; put them aside if they came too often."""
        if work.received < FAILURES:
            left_seconds = round(self.attempts.holds.seconds_left(datastore_id))
            return self._again(work, max(self._delay_seconds(work), left_seconds))
        if isinstance(work.hint, ImageSetHint):
            self.attempts.put_aside(work.hint, reason)
        else:
            log.error("event of an import job put aside datastore=%s reason=%s", datastore_id, reason)
        self.queue.delete(work.messages)
        return None

    def _delay_seconds(self, work: Work) -> int:
        return int(self.first_delay_seconds * 2 ** (work.received - 1))

    def _again(self, work: Work, seconds: int) -> None:
        """Have the messages come again in `seconds`; if that fails, they do so when they are no longer hidden."""
        try:
            self.queue.hide(work.messages, min(seconds, _LONGEST_DELAY_SECONDS))
        except ProxyError as error:
            log.warning("events not given back reason=%s", error)
