"""Attempts at image sets: one that fails is recorded, tried again later, and put aside after FAILURES attempts.

An outage is no failure of an image set. Whoever meets one waits and tries the same again, however long it takes.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from dicomweb.errors import ProxyError, UpstreamBroken, UpstreamBusy, UpstreamLocked, UpstreamRefused
from index.follow.changed import Outcome
from index.follow.events import ImageSetHint
from index.follow.tally import Tally
from index.writing.writer import IndexWriter

log = logging.getLogger(__name__)

FAILURES = 10
"""The failed attempts after which an image set is put aside. The dead-letter queue has the same number."""


@dataclass(frozen=True)
class Attempts:
    """`update` brings an image set up to date; `ask` asks AHI whether it has this data store, and gives its clock.

    Both raise ProxyError.
    """

    update: Callable[[ImageSetHint], Outcome]
    ask: Callable[[str], float | None]
    writer: IndexWriter
    tally: Tally

    def make(self, hint: ImageSetHint) -> Outcome:
        """Try once; ProxyError only for an outage."""
        try:
            outcome = self.update(hint)
        except ProxyError as error:
            if self._is_outage(error, hint.datastore_id):
                raise
            outcome = self._failed(hint, str(error))
        except Exception as error:  # noqa: BLE001 - metadata may be anything
            log.debug("image set not indexed", exc_info=True)  # the text of the error may hold patient data
            outcome = self._failed(hint, f"the metadata cannot be indexed: {type(error).__name__}")
        self.tally.done(outcome)
        return outcome

    def _failed(self, hint: ImageSetHint, reason: str) -> Outcome:
        failures = self.writer.note_failure(hint.datastore_id, hint.image_set_id, reason)
        named = (hint.datastore_id, hint.image_set_id, failures, reason)
        if failures < FAILURES:
            log.warning("image set not indexed datastore=%s image_set=%s failures=%d reason=%s", *named)
            return Outcome.FAILED
        log.error("image set put aside datastore=%s image_set=%s failures=%d reason=%s", *named)
        return Outcome.ASIDE

    def _is_outage(self, error: ProxyError, datastore_id: str) -> bool:
        """Whether something is away, refuses all of us, or has no room.

        AHI that answers again and again with an error may do so for one image set alone; so it is asked something else.
        """
        if isinstance(error, UpstreamLocked):
            return False
        if not isinstance(error, UpstreamBroken):
            return isinstance(error, UpstreamBusy | UpstreamRefused)
        try:
            self.ask(datastore_id)
        except ProxyError:
            return True
        return False
