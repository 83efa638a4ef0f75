"""Attempts at image sets: one that fails is recorded, tried again later, and put aside after FAILURES attempts.

An outage is no failure of an image set. Whoever meets one waits and tries the same again, however long it takes.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

from dicomweb.errors import ProxyError, UnusableAnswer, UpstreamBusy, UpstreamLocked
from index.follow.blame import Blame, BlameRule
from index.follow.changed import Outcome, Trial
from index.follow.events import ImageSetHint
from index.follow.holds import FAILURES, DatastoreHolds
from index.follow.tally import Tally
from index.writing.writer import IndexWriter

log = logging.getLogger(__name__)


class DatastoreUnreadable(UpstreamBusy):
    """A data store cannot be read, while AHI and the index answer. `is_refused`: it is no outage that passes."""

    def __init__(self, datastore_id: str, cause: ProxyError) -> None:
        super().__init__(f"data store {datastore_id}: {cause}")
        self.datastore_id = datastore_id
        self.is_refused = not isinstance(cause, UpstreamBusy)


class _AboutOne(Exception):
    """An error, its cause, is about one image set."""


@dataclass(frozen=True)
class Attempts:
    """`update` brings an image set up to date, and raises ProxyError.

    `ask` asks AHI whether it has this data store, None for the list of all, and gives its clock. Its errors are those
    of `AhiClient.ping`. `holds` are the data stores that could not be read lately.
    """

    update: Callable[[ImageSetHint, Trial], Outcome]
    ask: Callable[[str | None], float | None]
    writer: IndexWriter
    tally: Tally
    holds: DatastoreHolds = field(default_factory=DatastoreHolds)

    def make(self, hint: ImageSetHint) -> Outcome:
        """Try; DatastoreUnreadable if the data store is away alone, another ProxyError for an outage of all."""
        trial = Trial()
        try:
            outcome = self._update(hint, trial)
        except _AboutOne as failure:
            outcome = self._failed(hint, str(failure.__cause__), trial)
        except ProxyError:
            raise
        except Exception as error:  # noqa: BLE001 - metadata may be anything
            log.debug("image set not indexed", exc_info=True)  # the text of the error may hold patient data
            outcome = self._failed(hint, f"the metadata cannot be indexed: {type(error).__name__}", trial)
        else:
            self.holds.succeeded(hint.datastore_id)
        self.tally.done(outcome)
        return outcome

    def put_aside(self, hint: ImageSetHint, reason: str) -> None:
        """Record that an image set is not tried again before a repair, or before a new version of it."""
        self.writer.note_failure(hint.datastore_id, hint.image_set_id, reason, at_least=FAILURES)
        log.error("image set put aside datastore=%s image_set=%s reason=%s", *_ids(hint), reason)
        self.tally.done(Outcome.ASIDE)

    def raise_for_datastore(self, error: ProxyError, datastore_id: str) -> NoReturn:
        """Raise what an error means that came while image sets of a data store were listed: as `make`."""
        if self._blame(error, datastore_id) is Blame.ALL:
            raise error
        self.holds.failed(datastore_id, str(error))
        raise DatastoreUnreadable(datastore_id, error) from error

    def _update(self, hint: ImageSetHint, trial: Trial) -> Outcome:
        """Update; _AboutOne for a failure of this image set, otherwise as `make`.

        What AHI or the index did not answer is tried again at once if both answer by now: they were away for all. So is
        an answer that may have been broken on its way.
        """
        try:
            return self.update(hint, trial)
        except ProxyError as error:
            self._raise_unless_about_one(error, hint.datastore_id)
            if isinstance(error, UpstreamLocked) or not isinstance(error, UpstreamBusy | UnusableAnswer):
                raise _AboutOne from error
        try:
            return self.update(hint, trial)
        except ProxyError as error:
            self._raise_unless_about_one(error, hint.datastore_id)
            raise _AboutOne from error

    def _raise_unless_about_one(self, error: ProxyError, datastore_id: str) -> None:
        """Raise for an outage. One image set may be denied to us while others are not: that is a failure of its own."""
        blame = self._blame(error, datastore_id)
        if blame is Blame.ALL:
            raise error
        if blame is Blame.DATASTORE:
            is_held = self.holds.failed(datastore_id, str(error))
            if is_held or isinstance(error, UpstreamBusy):
                raise DatastoreUnreadable(datastore_id, error) from error

    def _blame(self, error: ProxyError, datastore_id: str) -> Blame:
        return BlameRule(self.ask, partial(self.writer.recorded, datastore_id, [""])).blame(error, datastore_id)

    def _failed(self, hint: ImageSetHint, reason: str, trial: Trial) -> Outcome:
        failures = self.writer.note_failure(hint.datastore_id, hint.image_set_id, reason, tried=trial.revision)
        if failures < FAILURES:
            log.warning(
                "image set not indexed datastore=%s image_set=%s failures=%d reason=%s", *_ids(hint), failures, reason
            )
            return Outcome.FAILED
        log.error("image set put aside datastore=%s image_set=%s failures=%d reason=%s", *_ids(hint), failures, reason)
        return Outcome.ASIDE


def _ids(hint: ImageSetHint) -> tuple[str, str]:
    return hint.datastore_id, hint.image_set_id
