"""What the client takes: Accept values as DICOMweb clients really write them (PS3.18 Section 8.7)."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from dicomweb.transfer_syntax import OLD_SPELLINGS

# One parameter: quoted values may hold any separator; unquoted ones may hold `/` (type=application/dicom) and `*`.
_PARAMETER = re.compile(r'\s*;\s*([\w.+-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;,\s"]*))')
_TYPE = re.compile(r"\s*([\w.+*-]+/[\w.+*-]+)\s*")
_SKIP = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,"]|")*?(?:,|\Z)')


@dataclass(frozen=True)
class MediaRange:
    """One acceptable media type.

    For multipart/related `media_type` is that of the parts (its `type` parameter, `*/*` without one). `multipart` is
    None for a bare `*/*`, which says nothing of it. `transfer_syntax` is a UID, `*`, or None where none is named.
    """

    media_type: str
    multipart: bool | None
    transfer_syntax: str | None
    quality: float

    def covers(self, media_type: str) -> bool:
        """Whether the type lies in this range."""
        kind, _, name = self.media_type.partition("/")
        wanted_kind, _, wanted_name = media_type.lower().partition("/")
        return kind in ("*", wanted_kind) and name in ("*", wanted_name)

    @property
    def specificity(self) -> int:
        """0 for `*/*`, 1 for `image/*`, 2 for a full type (RFC 9110 Section 12.5.1)."""
        return 2 - self.media_type.count("*")


ANYTHING = (MediaRange("*/*", None, None, 1.0),)


@lru_cache(64)  # clients send the same few, again and again
def parse_accept(text: str | None) -> tuple[MediaRange, ...]:
    """The ranges of an Accept value, best first; a missing or blank one takes anything."""
    ranges = [media_range for media_range in _ranges(text or "") if media_range.quality > 0]
    if not ranges:
        return () if _TYPE.match(text or "") else ANYTHING
    return tuple(sorted(ranges, key=lambda r: (-r.quality, -r.specificity)))


def _ranges(text: str) -> Iterator[MediaRange]:
    position = 0
    while position < len(text):
        start = _TYPE.match(text, position)
        if start:
            parameters = []
            end = start.end()
            while found := _PARAMETER.match(text, end):
                parameters.append((found[1].lower(), found[3] if found[2] is None else found[2]))
                end = found.end()
            yield _media_range(start[1].lower(), parameters)
            position = end
        rest = _SKIP.match(text, position)  # a stray `;`, or what we cannot read: on to the next comma
        position = rest.end() if rest and rest.end() > position else len(text)


def _media_range(name: str, parameters: Iterable[tuple[str, str]]) -> MediaRange:
    values = dict(reversed(list(parameters)))  # the first of a repeated parameter counts
    multipart: bool | None = None if name == "*/*" else name == "multipart/related"
    if multipart:
        name = values.get("type", "*/*").strip().lower() or "*/*"
    return MediaRange(
        OLD_SPELLINGS.get(name, name), multipart, values.get("transfer-syntax") or None, _quality(values.get("q", "1"))
    )


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 1.0
