"""The rule that says what an error is about: one image set, its data store, or all of them, which is an outage.

An error that may be about one image set is so only if AHI and the index answer something else meanwhile. Nothing is
concluded from its kind alone, for a cut connection may be due to a proxy that dislikes one answer, and a server that
restarts refuses the statement of an image set as it would any other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from dicomweb.errors import (
    NotFound,
    ProxyError,
    UpstreamDenied,
    UpstreamLocked,
    UpstreamRefused,
    UpstreamThrottled,
)


class Blame(Enum):
    """The thing that an error is about."""

    ALL = auto()  # AHI or the index is away, refuses all of us, or has no room: wait
    DATASTORE = auto()  # AHI answers, but cannot be asked about this data store
    IMAGE_SET = auto()  # all else is well


@dataclass(frozen=True)
class BlameRule:
    """`ask_ahi` asks AHI about a data store, None for the list of all; `ask_index` reads something in the index.

    Both raise ProxyError if there is no answer, the first one NotFound if AHI does not have the data store.
    """

    ask_ahi: Callable[[str | None], object]
    ask_index: Callable[[], object]

    def blame(self, error: ProxyError, datastore_id: str) -> Blame:
        """The thing that an error is about, which came while something of a data store was read or written."""
        match error:
            case UpstreamLocked():
                return Blame.IMAGE_SET
            case UpstreamRefused() | UpstreamThrottled():
                return Blame.ALL
        try:
            self.ask_index()
        except ProxyError:
            return Blame.ALL
        if isinstance(error, UpstreamDenied):
            return Blame.DATASTORE
        try:
            self.ask_ahi(datastore_id)
        except UpstreamRefused:
            return Blame.ALL
        except NotFound:
            return Blame.DATASTORE
        except ProxyError:
            return self._of_one_or_all()
        return Blame.IMAGE_SET

    def _of_one_or_all(self) -> Blame:
        try:
            self.ask_ahi(None)
        except ProxyError:
            return Blame.ALL
        return Blame.DATASTORE
