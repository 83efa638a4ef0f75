"""The order of results that the database has not sorted."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, time
from functools import cmp_to_key, partial

from db.comparison import fold
from qido.parse.attributes import (
    BY_TAG,
    Level,
    Matching,
    SearchAttribute,
)
from qido.parse.query import Query
from qido.results import Result

_USUAL = (
    (Level.STUDY, BY_TAG["00080020"], True),
    (Level.STUDY, BY_TAG["00080030"], True),
    (Level.SERIES, BY_TAG["00200011"], False),
    (Level.INSTANCE, BY_TAG["00200013"], False),
)


def terms(query: Query) -> list[tuple[SearchAttribute, bool]]:
    """The sort attributes, and whether they descend: those of the query, then the usual ones."""
    fixed = Level.SERIES if query.series_uid else Level.STUDY if query.study_uid else Level.PATIENT
    usual = [(attribute, descending) for level, attribute, descending in _USUAL if fixed < level <= query.level]
    return [*((one.attribute, one.descending) for one in query.order), *usual]


def with_terms(query: Query) -> Query:
    """The query with its sort attributes among the returned ones."""
    wanted = {*query.returned, *(attribute for attribute, _ in terms(query))}
    return replace(query, returned=tuple(sorted(wanted, key=lambda one: one.tag)))


def in_order(query: Query, found: Iterable[Result]) -> list[Result]:
    """Sort the results."""
    return sorted(found, key=cmp_to_key(partial(_compare, terms(query))))


def merge(query: Query, some: Sequence[Result], others: Sequence[Result]) -> list[Result]:
    """Merge two sorted lists of results; each list keeps its own order."""
    asked, merged_list, at = terms(query), list[Result](), 0
    for one in some:
        while at < len(others) and _compare(asked, others[at], one) < 0:
            merged_list.append(others[at])
            at += 1
        merged_list.append(one)
    return [*merged_list, *others[at:]]


def _compare(asked: Sequence[tuple[SearchAttribute, bool]], one: Result, other: Result) -> int:
    """Below 0 if one comes before the other, above 0 if after it. A result without a value comes last."""
    for attribute, descending in asked:
        mine, theirs = _order_key(attribute, one), _order_key(attribute, other)
        if mine == theirs:
            continue
        if mine is None or theirs is None:
            return 1 if mine is None else -1
        before = str(mine) < str(theirs) if isinstance(mine, str) or isinstance(theirs, str) else mine < theirs
        return -1 if before is not descending else 1
    return 0


def _order_key(attribute: SearchAttribute, result: Result) -> str | float | None:
    found = result.values.get(attribute, ())
    if not found:
        return None
    value = found[0]
    match attribute.matching:
        case Matching.NUMBER:
            try:
                return float(str(value))
            except ValueError:
                return None
        case Matching.NAME | Matching.DESCRIPTION:
            return fold(str(value))
    return value.isoformat() if isinstance(value, date | time) else str(value)


def without_terms(query: Query, found: Iterable[Result]) -> list[Result]:
    """The results with the returned attributes of the query only."""
    return [replace(one, values={key: one.values[key] for key in query.returned}) for one in found]
