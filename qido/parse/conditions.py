"""Conditions of a search (PS3.4 Section C.2.2.2), and the parser for the values of match keys."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Generic, TypeVar

from dicomweb.errors import BadRequest
from dicomweb.uids import parse_uid
from qido.parse.attributes import Matching, SearchAttribute
from qido.parse.bounds import CHARACTERS
from qido.parse.dt_ranges import parse_dt_range
from qido.parse.unindexed import Key, UnindexedAttribute

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
A = TypeVar("A", bound=Key)

_LARGEST_INTEGER = 2**31 - 1  # PS3.5 Section 6.2, IS
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}\Z")
_DECIMAL = re.compile(r"[+-]?([0-9]{1,16}(\.[0-9]{0,16})?|\.[0-9]{1,16})([eE][+-]?[0-9]{1,3})?\Z")
_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})\Z")
_TIME = re.compile(r"([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:\.([0-9]{1,6}))?)?)?\Z")


@dataclass(frozen=True)
class Parameter:
    """The name of a statement's parameter, in the place of the texts in which queries of one statement differ."""

    name: str


@dataclass(frozen=True)
class Equal:
    """Single value matching; also one of a list (PS3.4 Sections C.2.2.2.1, C.2.2.2.2)."""

    value: str | int | float | Parameter


@dataclass(frozen=True)
class Like:
    """Wildcard matching: `*` and `?` (PS3.4 Section C.2.2.2.4)."""

    pattern: str


@dataclass(frozen=True)
class Between:
    """Range matching, both ends inclusive; an open end is None (PS3.4 Section C.2.2.2.5).

    A single date or time is the range of its precision: `10` is 10:00:00 to 10:59:59.999999. The ends for an attribute
    of VR DT are of type datetime, with a time zone where the key has one.
    """

    first: date | time | None
    last: date | time | None


@dataclass(frozen=True)
class Empty:
    """Empty value matching: absent or of no length (PS3.4 Section C.2.2.2.7)."""


@dataclass(frozen=True)
class Fuzzy:
    """Fuzzy semantic matching of a name (PS3.18 Section 8.3.4.2): literally, or each of its words by sound or start."""

    value: str


Match = Equal | Like | Between | Empty | Fuzzy


@dataclass(frozen=True)
class AnyOf(Generic[A]):
    """A condition on one attribute: at least one of `matches` fits it."""

    attribute: A
    matches: tuple[Match, ...]

    @property
    def keys(self) -> tuple[A, ...]:
        """The attributes of the condition."""
        return (self.attribute,)


@dataclass(frozen=True)
class Period(Generic[A]):
    """A condition on a date and a time together: an instant between two, inclusive; an open end is None."""

    date: A
    time: A
    first: datetime | None
    last: datetime | None

    @property
    def keys(self) -> tuple[A, ...]:
        """The attributes of the condition. Both belong to the same table, or to the same item of a sequence."""
        return (self.date, self.time)


Condition = AnyOf[SearchAttribute] | Period[SearchAttribute]
"""A condition on attributes that the index has."""

UnindexedCondition = AnyOf[UnindexedAttribute] | Period[UnindexedAttribute]
"""A condition on attributes that only the image sets have."""


def parse_matches(
    attribute: Key, text: str, *, empty_values: bool = False, value_lists: bool = False, fuzzy: bool = False
) -> tuple[Match, ...]:
    """Parse the value of a match key: one of the matches must fit; an empty tuple means universal matching.

    With `empty_values`, `""` means "absent or empty". With `value_lists`, a backslash means "or". With `fuzzy`, names
    are matched fuzzily. BadRequest, which names the attribute, if the value is ill-formed.
    """
    if _CONTROLS.search(text):
        raise BadRequest(f"{attribute.keyword} has a control character in its value")
    if empty_values and text.strip() == '""':
        return (Empty(),)
    values = [value for part in _separated(attribute, text, value_lists) if (value := part.strip())]
    universal = "*=" if attribute.matching is Matching.NAME else "*"
    if any(value.strip(universal) == "" for value in values):
        return ()
    for value in values:
        if len(value) > CHARACTERS.most:
            raise BadRequest(f"{attribute.keyword} has a value of more than {CHARACTERS.most} characters")
    if fuzzy and attribute.matching is Matching.NAME:
        return tuple(map(Fuzzy, values))
    return tuple(_PARSERS[attribute.matching](attribute, value) for value in values)


def _separated(attribute: Key, text: str, value_lists: bool) -> Sequence[str]:
    if attribute.matching in (Matching.UID, Matching.CODE):
        return re.split(r"[,\\]", text)
    return text.split("\\") if value_lists else (text,)


def _parse_uid(attribute: Key, text: str) -> Match:
    return Equal(parse_uid(text, attribute.keyword))


def _parse_text(_attribute: Key, text: str) -> Match:
    return Like(re.sub(r"\*+", "*", text)) if set(text) & {"*", "?"} else Equal(text)


def _parse_number(attribute: Key, text: str) -> Match:
    if not _INTEGER.match(text) or abs(int(text)) > _LARGEST_INTEGER:
        raise BadRequest(f"{attribute.keyword} is not an integer")
    return Equal(int(text))


def _parse_decimal(attribute: Key, text: str) -> Match:
    if not _DECIMAL.match(text):
        raise BadRequest(f"{attribute.keyword} is not a number")
    return Equal(float(text))


def _parse_date_times(attribute: Key, text: str) -> Match:
    try:
        return Between(*parse_dt_range(text))
    except ValueError:
        raise BadRequest(f"{attribute.keyword} is not a date and time YYYYMMDDHHMMSS or a range of them") from None


def _parse_dates(attribute: Key, text: str) -> Match:
    first, last = _ends(attribute, text, "a date YYYYMMDD or a range of dates")
    return Between(
        _parse_date(attribute, first) if first else None,
        _parse_date(attribute, last) if last else None,
    )


def _parse_times(attribute: Key, text: str) -> Match:
    first, last = _ends(attribute, text, "a time HHMMSS or a range of times")
    return Between(
        _parse_time(attribute, first, "0") if first else None,
        _parse_time(attribute, last, "9") if last else None,
    )


def _ends(attribute: Key, text: str, expected: str) -> tuple[str | None, str | None]:
    first, dash, last = (part.strip() for part in text.partition("-"))
    if not dash:
        return first, first
    if not first and not last:
        raise BadRequest(f"{attribute.keyword} is a dash alone: {expected} is expected")
    return first or None, last or None


def _parse_date(attribute: Key, text: str) -> date:
    try:
        if found := _DATE.match(text):
            return date(*map(int, found.groups()))
    except ValueError:
        pass  # digits that are no date, which is said below
    raise BadRequest(f"{attribute.keyword} is not a date YYYYMMDD or a range of dates")


def _parse_time(attribute: Key, text: str, filler: str) -> time:
    """Parse a time: its first microsecond with `filler` 0, its last with 9. A leap second counts as the 59th."""
    if found := _TIME.match(text):
        hours, minutes, seconds, fraction = found.groups()
        rest = "59" if filler == "9" else "00"
        seconds = "59" if seconds == "60" else seconds or rest
        microseconds = int((fraction or "").ljust(6, filler))
        try:
            return time(int(hours), int(minutes or rest), int(seconds), microseconds)
        except ValueError:
            pass  # an hour of 24, which is said below
    raise BadRequest(f"{attribute.keyword} is not a time HHMMSS or a range of times")


_PARSERS: dict[Matching, Callable[[Key, str], Match]] = {
    Matching.UID: _parse_uid,
    Matching.CODE: _parse_text,
    Matching.ID: _parse_text,
    Matching.DESCRIPTION: _parse_text,
    Matching.NAME: _parse_text,
    Matching.DATE: _parse_dates,
    Matching.TIME: _parse_times,
    Matching.NUMBER: _parse_number,
    Matching.DECIMAL: _parse_decimal,
    Matching.DATE_TIME: _parse_date_times,
}
