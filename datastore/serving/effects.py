"""Effects of faults on the answers of the data store. `serving.faults` has their text form."""

import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from datastore.serving.errors import STATUS
from datastore.serving.strange import STRANGE
from datastore.serving.waitress_adapter import ClientDisconnected


@dataclass(frozen=True)
class Refuse:
    """Answer with the error of AHI of this HTTP status."""

    status: int


@dataclass(frozen=True)
class Wait:
    """Answer so many seconds later."""

    seconds: float


@dataclass(frozen=True)
class Trickle:
    """Send the body slowly."""

    bytes_per_second: float


@dataclass(frozen=True)
class Cut:
    """Close the connection: before the answer begins, or half-way through the body."""

    in_body: bool


@dataclass(frozen=True)
class Corrupt:
    """Change one byte of the body: the one at `position` from 0, or the last; None for the one in the middle."""

    position: int | None = None


@dataclass(frozen=True)
class Half:
    """Answer with the first half of the body, as if that were all."""


@dataclass(frozen=True)
class Strange:
    """Answer with the strange body of this name."""

    name: str


@dataclass(frozen=True)
class Longer:
    """Announce so many bytes more than the body has, and close the connection after it."""

    more_bytes: int


@dataclass(frozen=True)
class Label:
    """Announce another Content-Type."""

    content_type: str


@dataclass(frozen=True)
class Limit:
    """Refuse calls above a rate: calls per second and burst, None for the rate of AHI for the operation."""

    rate: tuple[float, float] | None


Effect = Refuse | Wait | Trickle | Cut | Corrupt | Half | Strange | Longer | Label | Limit

_UNIT = {"ms": 0.001, "s": 1.0, "B/s": 1.0, "kB/s": 1000.0}
_NUMBER = r"(\d+(?:\.\d+)?)"
_EFFECTS: tuple[tuple[str, Callable[[re.Match[str]], Effect]], ...] = (
    (rf"({'|'.join(map(str, sorted(set(STATUS.values()))))})", lambda match: Refuse(int(match[1]))),
    (rf"latency={_NUMBER}(ms|s)", lambda match: Wait(float(match[1]) * _UNIT[match[2]])),
    (rf"trickle=(?!0+(?:\.0+)?k?B){_NUMBER}(k?B/s)", lambda match: Trickle(float(match[1]) * _UNIT[match[2]])),
    (r"cut(-body)?", lambda match: Cut(in_body=bool(match[1]))),
    (r"corrupt(?:=(\d{1,9}))?", lambda match: Corrupt(None if match[1] is None else int(match[1]))),
    (r"half", lambda match: Half()),
    (rf"body=({'|'.join(STRANGE)})", lambda match: Strange(match[1])),
    (r"longer=(\d{1,9})", lambda match: Longer(int(match[1]))),
    (r"type=([\w.+-]+/[\w.+-]+)", lambda match: Label(match[1])),
    (r"rate", lambda match: Limit(None)),
    (rf"rate={_NUMBER}/{_NUMBER}", lambda match: Limit((float(match[1]), float(match[2])))),
)


def parse_effect(text: str) -> Effect:
    """Parse the text form of an effect; ValueError."""
    for pattern, effect in _EFFECTS:
        if match := re.fullmatch(pattern, text, re.ASCII):
            return effect(match)
    raise ValueError(f"not an effect of a fault: {text!r}")


class ConnectionCut(ClientDisconnected):
    """Raised by a body to close the connection: the server takes it for a client that has gone, and is quiet."""


_PIECES_PER_SECOND = 20


def damaged(body: bytes, effects: Collection[Effect]) -> bytes:
    """The body after the effects that apply before its length is announced: replaced, halved, a byte changed."""
    for effect in effects:
        match effect:
            case Strange(name):
                body = STRANGE[name]()
            case Half():
                body = body[: len(body) // 2]
            case Corrupt(position) if body:
                at = len(body) // 2 if position is None else min(position, len(body) - 1)
                body = body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]
    return body


def announced_bytes(body: bytes, effects: Collection[Effect]) -> int:
    """The Content-Length of a damaged body."""
    return len(body) + sum(effect.more_bytes for effect in effects if isinstance(effect, Longer))


def announced_type(effects: Collection[Effect]) -> str | None:
    """The Content-Type if an effect changes it; a page of HTML has its own."""
    for effect in effects:
        match effect:
            case Label(content_type):
                return content_type
            case Strange("html"):
                return "text/html"
    return None


def sent(body: bytes, effects: Collection[Effect]) -> Iterator[bytes]:
    """The body as the effects send it: slowly, or ended by ConnectionCut half-way or before its announced length."""
    cut = Cut(in_body=True) in effects
    trickles = [effect for effect in effects if isinstance(effect, Trickle)]
    yield from _paced(body[: len(body) // 2] if cut else body, trickles)
    if cut or announced_bytes(body, effects) > len(body):
        raise ConnectionCut


def _paced(body: bytes, trickles: Sequence[Trickle]) -> Iterator[bytes]:
    if not trickles:
        yield body
        return
    bytes_per_second = min(trickle.bytes_per_second for trickle in trickles)
    size = max(1, int(bytes_per_second / _PIECES_PER_SECOND))
    for start in range(0, len(body), size):
        yield body[start : start + size]
        time.sleep(size / bytes_per_second)
