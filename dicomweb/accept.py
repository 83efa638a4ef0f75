"""What the client takes: Accept values as DICOMweb clients really write them (PS3.18 Section 8.7)."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from dicomweb.errors import BadRequest
from dicomweb.texts import parse_decimal, split_list
from dicomweb.transfer_syntax import OLD_SPELLINGS

# One parameter: quoted values may hold any separator; unquoted ones may hold `/` (type=application/dicom) and `*`.
_PARAMETER = re.compile(r'\s*;\s*([\w.+-]+)\s*=\s*(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^;,\s"]*))')
_TYPE = re.compile(r"\s*([\w.+*-]+/[\w.+*-]+)\s*")

MOST_RANGES = 200
"""Media types that a client names, at most: each is held against all that there is to offer."""


@dataclass(frozen=True)
class MediaRange:
    """One acceptable media type.

    For multipart/related `media_type` is that of the parts (its `type` parameter, `*/*` without one). `multipart` is
    None for a bare `*/*`, which says nothing of it. `transfer_syntax` is a UID, `*`, or None where none is named.
    `refused` are types, or kinds as in `image/*`, within the range that the same value gives a quality of 0.
    """

    media_type: str
    multipart: bool | None
    transfer_syntax: str | None
    quality: float
    refused: frozenset[str] = frozenset()

    def covers(self, media_type: str) -> bool:
        """Whether the type lies in this range."""
        kind, _, name = self.media_type.partition("/")
        wanted_kind, _, wanted_name = media_type.lower().partition("/")
        if {f"{wanted_kind}/{wanted_name}", f"{wanted_kind}/*"} & self.refused:
            return False
        return kind in ("*", wanted_kind) and name in ("*", wanted_name)

    @property
    def specificity(self) -> int:
        """0 for `*/*`, 1 for `image/*`, 2 for a full type (RFC 9110 Section 12.5.1)."""
        return sum(word != "*" for word in self.media_type.split("/", 1))


ANYTHING = (MediaRange("*/*", None, None, 1.0),)


@lru_cache(64)  # clients send the same few, again and again
def parse_accept(text: str | None) -> tuple[MediaRange, ...]:
    """The ranges of an Accept value, best first; a missing or blank one takes anything.

    BadRequest where it names more than MOST_RANGES.
    """
    named = list(islice(_ranges(text or ""), MOST_RANGES + 1))
    if len(named) > MOST_RANGES:
        raise BadRequest(f"more than {MOST_RANGES} media types are named")
    if not named:
        return ANYTHING
    none = [one for one in named if not one.quality > 0]
    within = [frozenset(one.media_type for one in none if one.specificity > specificity) for specificity in range(3)]
    ranges = [replace(one, refused=within[one.specificity]) for one in named if one.quality > 0]
    return tuple(sorted(ranges, key=lambda r: (-r.quality, -r.specificity)))


def _ranges(text: str) -> Iterator[MediaRange]:
    for entry in split_list(text):
        if start := _TYPE.match(entry):
            parameters = []
            end = start.end()
            while found := _PARAMETER.match(entry, end):
                parameters.append((found[1].lower(), found[3] if found[2] is None else found[2]))
                end = found.end()
            yield _media_range(start[1].lower(), parameters)  # a stray `;`, or what we cannot read, may follow


def _media_range(name: str, parameters: Iterable[tuple[str, str]]) -> MediaRange:
    values = dict(reversed(list(parameters)))  # the first of a repeated parameter counts
    multipart: bool | None = None if name == "*/*" else name in ("multipart/related", "multipart/*")
    if multipart:
        name, _, within = values.get("type", "").strip("' ").partition(";")
        values = {**_syntax_within(within), **values}
        name = name.strip().lower()
        name = "*/*" if name in ("", "*") else name
    return MediaRange(
        OLD_SPELLINGS.get(name, name), multipart, values.get("transfer-syntax") or None, _quality(values.get("q", "1"))
    )


def _syntax_within(text: str) -> dict[str, str]:
    """The transfer syntax that clients write into the quotes of a type: `type="image/jpeg; transfer-syntax=..."`."""
    name, _, value = text.partition("=")
    return {"transfer-syntax": value.strip()} if name.strip().lower() == "transfer-syntax" else {}


def _quality(text: str) -> float:
    try:
        return min(max(parse_decimal(text), 0.0), 1.0)
    except ValueError:
        return 1.0
