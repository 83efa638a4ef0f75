"""What can become of an object of an answer, and the words in which clients and the log are told."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote

from dicomweb.errors import ProxyError
from dicomweb.transfer_syntax import FrameEncoding
from runtime.file_piece import Chunk
from wado.locate import LocatedInstance

log = logging.getLogger(__name__)

_MOST_NAMED = 5  # in a header
_MOST_TOLD = 10_000  # at the end of an answer


class Item(Protocol):
    """What is sent or left out as a whole: a file, a frame, a value."""

    @property
    def instance(self) -> LocatedInstance:
        """The instance that it is of."""

    @property
    def path(self) -> str:
        """Its path below the service root."""

    @property
    def form(self) -> FrameEncoding:
        """The form of its frames."""

    @property
    def frame_numbers(self) -> Sequence[int]:
        """The frames of the instance that are needed for it, from 1; none for what is no pixel data."""


ItemT = TypeVar("ItemT", bound=Item)


@dataclass(frozen=True)
class Deliverable(Generic[ItemT]):
    """An item as it was agreed on, with its frames."""

    item: ItemT
    frames: Iterator[Chunk]


@dataclass(frozen=True)
class AsStored(Generic[ItemT]):
    """An item as stored, with its frames: as agreed on it cannot be had, and the client takes it so."""

    item: ItemT
    frames: Iterator[Chunk]
    reason: ProxyError


@dataclass(frozen=True)
class LeftOut(Generic[ItemT]):
    """An item that cannot be had."""

    item: ItemT
    reason: ProxyError


Outcome = Deliverable[ItemT] | AsStored[ItemT] | LeftOut[ItemT]

LEFT_OUT, AS_STORED = "left out", "sent as stored"
_WORDS: dict[type, str] = {LeftOut: LEFT_OUT, AsStored: AS_STORED}


@dataclass(frozen=True)
class ItemReport:
    """One item that is not sent as asked for: what became of it, in words, and why."""

    what: str
    path: str
    reason: ProxyError

    @classmethod
    def of(cls, outcome: "AsStored[ItemT] | LeftOut[ItemT]") -> "ItemReport":
        """What is told of an outcome."""
        return cls(_WORDS[type(outcome)], quote(outcome.item.path, safe="/%"), outcome.reason)


def warnings_of(told: Sequence[ItemReport], count: int) -> list[str]:
    """The texts of Warning headers; `count` is the number of all items."""
    of_kind = ([one for one in told if one.what == what] for what in _WORDS.values())
    return [_warning(alike, count) for alike in of_kind if alike]


def _warning(told: Sequence[ItemReport], count: int) -> str:
    names = [one.path.partition("/instances/")[2] for one in told[:_MOST_NAMED]]
    more = f" and {len(told) - _MOST_NAMED} more" if len(told) > _MOST_NAMED else ""
    return f"{len(told)} of {count} {told[0].what}: {', '.join(names)}{more}: {told[0].reason}"


def report_of(told: Sequence[ItemReport]) -> bytes:
    """A line of ASCII for each item; nothing where all are sent as asked for."""
    lines = (f"{one.what}: {one.path}: {one.reason}\r\n" for one in told)
    return "".join(islice(lines, _MOST_TOLD)).encode("ascii", "replace")


def log_told(told: Sequence[ItemReport], count: int) -> None:
    """One line for an answer that lacks something."""
    if told:
        left_out = sum(one.what == LEFT_OUT for one in told)
        log.warning(
            "not all can be sent as asked for left_out=%d as_stored=%d of=%d first=%s reason=%s",
            left_out,
            len(told) - left_out,
            count,
            told[0].path,
            told[0].reason,
        )
