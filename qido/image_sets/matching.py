"""Matching of data sets in the DICOM JSON Model (PS3.4 Section C.2.2.2); `qido.plan.sql_conditions` does it in SQL.

An attribute with several values matches if one of them does. An absent attribute matches only "absent or empty".
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from fnmatch import translate
from functools import lru_cache
from typing import Any

from db.comparison import fold, fold_name
from db.fuzzy import word_pattern
from dicomweb.attribute_paths import Path, items_of, private_tag
from dicomweb.dates import read_date, read_time
from dicomweb.dicom_json import DataSet, Element
from qido.parse.attributes import Matching
from qido.parse.conditions import (
    AnyOf,
    Between,
    Condition,
    Empty,
    Equal,
    Fuzzy,
    Like,
    Match,
    Parameter,
    Period,
    UnindexedCondition,
)
from qido.parse.dt_ranges import compare_as, parse_dt
from qido.parse.person_names import fuzzy_words, group_patterns
from qido.parse.unindexed import Key

Value = str | int | float
AnyCondition = Condition | UnindexedCondition

_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def fulfils(data_set: DataSet, conditions: Iterable[AnyCondition]) -> bool:
    """Whether a data set fulfils all conditions; those on attributes of one sequence must hold in the same item."""
    return _fulfils(data_set, [(condition.keys[0].path, condition) for condition in conditions])


def _fulfils(data_set: DataSet, wanted: Iterable[tuple[Path, AnyCondition]]) -> bool:
    in_items: defaultdict[str, list[tuple[Path, AnyCondition]]] = defaultdict(list)
    for path, condition in wanted:
        if len(path) > 1:
            in_items[path[0]].append((path[1:], condition))
        elif not _holds(data_set, condition):
            return False
    return all(
        any(_fulfils(item, inner) for item in (*items_of(data_set, tag),) or ({},)) for tag, inner in in_items.items()
    )


def _holds(data_set: DataSet, condition: AnyCondition) -> bool:
    match condition:
        case AnyOf(attribute, matches):
            element = _element(data_set, attribute)
            found = values(element)
            return any(
                not (found or _is_binary(element))
                if wanted == Empty()
                else _matches_any(attribute.matching, wanted, found)
                for wanted in matches
            )
        case Period(day, clock, first, last):
            return _in_period(values(_element(data_set, day)), values(_element(data_set, clock)), first, last)


def _element(data_set: DataSet, attribute: Key) -> Element:
    tag = attribute.path[-1]
    at = private_tag(data_set, tag, attribute.creator) if attribute.creator else tag
    return data_set.get(at or "", {})


def values(element: Element) -> list[Value]:
    """The non-empty values of an attribute: text without blanks around it, numbers, person names as DICOM text."""
    found = [_plain(value) for value in element.get("Value", ())]
    return [value for value in found if value != ""]


def _plain(value: Any) -> Value:
    if isinstance(value, dict):
        return "=".join(str(value.get(group, "")).strip() for group in _GROUPS).rstrip("=")
    if value is None:
        return ""
    return value if isinstance(value, int | float) else str(value).strip()


def _is_binary(element: Element) -> bool:
    return "InlineBinary" in element or "BulkDataURI" in element


def _matches_any(matching: Matching, match: Match, found: list[Value]) -> bool:
    """Whether one of the values matches."""
    match match:
        case Equal(wanted):
            return any(_equal(matching, wanted, value) for value in found)
        case Like(pattern):
            return any(_like(matching, pattern, str(value)) for value in found)
        case Between(first, last):
            read = (_READERS[matching](str(value)) for value in found)
            return any(value is not None and _between(value, first, last) for value in read)
        case Fuzzy(text):
            return any(_name(text, str(value)) or _sounds_like(text, str(value)) for value in found)
        case Empty():
            return not found


def _equal(matching: Matching, wanted: Value | Parameter, value: Value) -> bool:
    if matching in (Matching.NUMBER, Matching.DECIMAL):
        try:
            return float(value) == wanted
        except ValueError:
            return False
    if matching in (Matching.NAME, Matching.DESCRIPTION):
        return _like(matching, str(wanted), str(value))
    return str(value) == wanted


def _like(matching: Matching, pattern: str, text: str) -> bool:
    match matching:
        case Matching.NAME:
            return _name(pattern, text)
        case Matching.DESCRIPTION:
            return _fits(fold(pattern), fold(text))
        case _:
            return _fits(pattern, text)


def _fits(pattern: str, text: str) -> bool:
    """Whether a text fits a pattern with `*` and `?`. The time does not grow with the number of wildcards."""
    return _glob(pattern).match(text) is not None


@lru_cache(256)  # fnmatch itself would keep 32,768 of them
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.replace("[", "[[]")))


def _name(pattern: str, text: str) -> bool:
    groups = fold_name(text)
    patterns, _ = group_patterns(pattern)
    return any(_fits(fold(wanted), groups) for wanted in patterns)


def _sounds_like(wanted: str, text: str) -> bool:
    words, folded = fuzzy_words(wanted), fold(text)
    return bool(words) and all(re.search(word_pattern(word), folded) for word in words)


def _between(value: Any, first: Any, last: Any) -> bool:
    if isinstance(value, datetime):
        after = first is None or compare_as(value, first) >= first
        return after and (last is None or compare_as(value, last) <= last)
    after, before = first is None or value >= first, last is None or value <= last
    if isinstance(value, time) and first is not None and last is not None and first > last:
        return after or before  # over midnight
    return after and before


def _in_period(days: list[Value], clocks: list[Value], first: datetime | None, last: datetime | None) -> bool:
    """Whether the instant is in the period. One whose time is unknown is, if its whole day is."""
    day = read_date(str(days[0])) if days else None
    clock = read_time(str(clocks[0])) if clocks else None
    if day is None:
        return False
    earliest = datetime.combine(day, clock or time.min)
    latest = datetime.combine(day, clock if clock is not None else time.max)
    return (first is None or earliest >= first) and (last is None or latest <= last)


def _read_date_time(text: str) -> datetime | None:
    try:
        return parse_dt(text)
    except ValueError:
        return None


_READERS: dict[Matching, Callable[[str], date | time | None]] = {
    Matching.DATE: read_date,
    Matching.TIME: read_time,
    Matching.DATE_TIME: _read_date_time,
}
