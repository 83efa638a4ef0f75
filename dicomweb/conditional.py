"""Conditional requests and byte ranges (RFC 9110 Sections 8.8.3, 13 and 14), by the values of headers."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from dicomweb.errors import RangeNotSatisfiable

_RANGE = re.compile(r"bytes\s*=\s*(?:(\d{1,18})\s*)?-\s*(?:(\d{1,18})\s*)?\Z", re.IGNORECASE | re.ASCII)
_TAG = re.compile(r'(?:W/)?("[^"]*")')
_STRONG_TAG = re.compile(r'(?:\A|,)\s*("[^"]*")')


@dataclass(frozen=True)
class ByteRange:
    """Bytes `start` to before `stop` of a representation of `length_bytes`."""

    start: int
    stop: int
    length_bytes: int

    @property
    def content_range(self) -> str:
        """The value of Content-Range."""
        return f"bytes {self.start}-{self.stop - 1}/{self.length_bytes}"


def entity_tag(*facts: object) -> str:
    """A strong entity tag: a hash of all facts that determine the bytes. `repr` must tell different facts apart."""
    return f'"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}"'


def digest(chunks: Iterable[bytes]) -> str:
    """A hash of a body, however it is divided: a fact for an entity tag if there is nothing simpler."""
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether the client has the representation, by weak comparison; `*` is any (RFC 9110 Section 13.1.2)."""
    text = (if_none_match or "").strip()
    return text == "*" or tag in _TAG.findall(text)


def is_other(if_match: str | None, tag: str) -> bool:
    """Whether the client requires another representation, by strong comparison (RFC 9110 Section 13.1.1)."""
    text = (if_match or "*").strip()
    return text != "*" and tag not in _STRONG_TAG.findall(text)


def parse_range(text: str | None, if_range: str | None, tag: str, length_bytes: int) -> ByteRange | None:
    """Parse a Range header; None means the whole representation.

    Several ranges, other units, ill-formed values and an If-Range of another representation get the whole of it, since
    a server may ignore the header (RFC 9110 Section 14.2). RangeNotSatisfiable if the range lies beyond the end.
    """
    found = _RANGE.match((text or "").strip())
    if found is None or (if_range is not None and if_range.strip() != tag):
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, length_bytes - int(last))
    stop = min(length_bytes, int(last) + 1) if first and last else length_bytes
    if start >= length_bytes or start >= stop:
        raise RangeNotSatisfiable(length_bytes)
    return ByteRange(start, stop, length_bytes)
