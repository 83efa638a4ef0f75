"""Questions of web processes about the queue of the forwarder: pages of its entries, and whether one is cancelled.

Forwarder.waiting(...)    WaitingRequest  →  WaitingPage
Forwarder.cancel(name)    CancelRequest   →  Cancelled, or a ProxyError
"""

from dataclasses import dataclass
from enum import Enum

from store.outcome import Sender

MOST_STUDIES = 100
"""The studies that are named of one entry: a request may have thousands."""


@dataclass(frozen=True)
class WaitingRequest:
    """A message: `most` entries after the first `first` ones, of these AE titles; None for those of all."""

    first: int
    most: int
    ae_titles: frozenset[str] | None = None


@dataclass(frozen=True)
class CancelRequest:
    """A message: an operator does not want an entry that waits."""

    entry: str


class Cancelled(Enum):
    """What has become of a wish to cancel."""

    NOW = "the entry is deleted"
    AFTER_ATTEMPT = "the entry is being sent; it is deleted if it cannot be stored now"


class WaitingState(Enum):
    """What an entry of the queue waits for."""

    GATHERING = "gathering"
    """More instances of its series may come."""
    SENDING = "sending"
    """It is being sent, or its rows are being written."""
    AGAIN = "again"
    """An attempt has failed; the next one comes later."""


@dataclass(frozen=True)
class WaitingEntry:
    """An entry that waits. `left` is the number of instances without an outcome.

    `attempts` have failed, the last one for the reason `error`. The next one comes in `next_seconds`, 0 for at once.
    `studies` has at most MOST_STUDIES UIDs.
    """

    name: str
    sender: Sender
    received_at: float
    instances: int
    left: int
    size_bytes: int
    studies: tuple[str, ...]
    state: WaitingState
    attempts: int = 0
    next_seconds: float = 0.0
    error: str = ""
    is_to_be_cancelled: bool = False


@dataclass(frozen=True)
class WaitingPage:
    """Entries of the queue, oldest first, and how many there are in all. The rate is that of the last minute."""

    entries: tuple[WaitingEntry, ...] = ()
    total: int = 0
    instances_per_second: float = 0.0
