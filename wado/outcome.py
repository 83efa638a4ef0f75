"""The outcome of each item of an answer, and how clients and the log are told. Runs in the web processes."""

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
_MOST_REPORTED = 10_000  # at the end of an answer


class Item(Protocol):
    """A file, a frame or a bulk value: it is sent, or left out, as a whole."""

    @property
    def instance(self) -> LocatedInstance:
        """The instance that it belongs to."""

    @property
    def path(self) -> str:
        """Its path below the service root."""

    @property
    def form(self) -> FrameEncoding:
        """The encoding of its frames."""

    @property
    def frame_numbers(self) -> Sequence[int]:
        """The frames that it needs, counted from 1; none if it is not pixel data."""


ItemT = TypeVar("ItemT", bound=Item)


@dataclass(frozen=True)
class Deliverable(Generic[ItemT]):
    """An item that is sent as agreed on, with its frames."""

    item: ItemT
    frames: Iterator[Chunk]


@dataclass(frozen=True)
class AsStored(Generic[ItemT]):
    """An item that is sent as stored, with its frames: it cannot be had as agreed on, and the client takes it so."""

    item: ItemT
    frames: Iterator[Chunk]
    reason: ProxyError


@dataclass(frozen=True)
class LeftOut(Generic[ItemT]):
    """An item that cannot be sent."""

    item: ItemT
    reason: ProxyError


Outcome = Deliverable[ItemT] | AsStored[ItemT] | LeftOut[ItemT]

LEFT_OUT, AS_STORED = "left out", "sent as stored"
_WORDS: dict[type, str] = {LeftOut: LEFT_OUT, AsStored: AS_STORED}


@dataclass(frozen=True)
class ItemReport:
    """One item that is not sent as requested: `outcome` in words, and the reason."""

    outcome: str
    path: str
    reason: ProxyError

    @classmethod
    def of(cls, outcome: "AsStored[ItemT] | LeftOut[ItemT]") -> "ItemReport":
        """The report of an outcome."""
        return cls(_WORDS[type(outcome)], quote(outcome.item.path, safe="/%"), outcome.reason)


def warning_texts(reports: Sequence[ItemReport], count: int) -> list[str]:
    """The texts of Warning headers, one for each outcome; `count` is the number of all items."""
    of_outcome = ([report for report in reports if report.outcome == outcome] for outcome in _WORDS.values())
    return [_warning(alike, count) for alike in of_outcome if alike]


def _warning(reports: Sequence[ItemReport], count: int) -> str:
    names = [report.path.partition("/instances/")[2] for report in reports[:_MOST_NAMED]]
    more = f" and {len(reports) - _MOST_NAMED} more" if len(reports) > _MOST_NAMED else ""
    return f"{len(reports)} of {count} {reports[0].outcome}: {', '.join(names)}{more}: {reports[0].reason}"


def encode_report(reports: Sequence[ItemReport]) -> bytes:
    """The reports as lines of ASCII; empty where all items are sent as requested."""
    lines = (f"{report.outcome}: {report.path}: {report.reason}\r\n" for report in reports)
    return "".join(islice(lines, _MOST_REPORTED)).encode("ascii", "replace")


def log_reports(reports: Sequence[ItemReport], count: int) -> None:
    """Log one line for an answer in which not all is as requested; `count` is the number of all items."""
    if reports:
        left_out = sum(report.outcome == LEFT_OUT for report in reports)
        log.warning(
            "not all can be sent as asked for left_out=%d as_stored=%d of=%d first=%s reason=%s",
            left_out,
            len(reports) - left_out,
            count,
            reports[0].path,
            reports[0].reason,
        )
