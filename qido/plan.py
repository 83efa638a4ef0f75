"""From a query to statements. Nothing here touches the database, and all that a client sent is a bound parameter.

A page is found first, as keys, with no more tables than the conditions and the order need; columns, modalities and
counts are then fetched for these keys only. Each statement says what its rows are.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import reduce
from typing import Any

from sqlalchemy import Column, FromClause, Select, Table, and_, case, exists, false, func, literal, not_, or_, select
from sqlalchemy.sql import ColumnElement

from db import schema
from db.comparison import exactly, like, like_folded, may_begin_with, newest_first, number
from db.fuzzy import has_word_like
from qido.attributes import (
    MODALITIES_IN_STUDY,
    MODALITY,
    SERIES_UID,
    STUDY_UID,
    Attribute,
    Level,
    Matching,
)
from qido.conditions import AnyOf, Between, Condition, Empty, Equal, Fuzzy, Like, Match, Period
from qido.names import EMPTY_ENDS, fuzzy_words, group_patterns, literal_start
from qido.query import Order, Query

Statement = Select[Any]
Truth = ColumnElement[bool]

KEYED = (Level.PATIENT, Level.STUDY, Level.SERIES)
"""The levels whose keys come with each result: counts are gathered by them."""

ALL_ROWS = 2**31 - 2
"""The limit of a page that is the whole."""

_CHAIN = (schema.instance, schema.series, schema.study, schema.patient, schema.issuer)
"""The tables from the lowest to the highest; each row has the key of the one above."""

_TABLE = {
    Level.PATIENT: schema.patient,
    Level.STUDY: schema.study,
    Level.SERIES: schema.series,
    Level.INSTANCE: schema.instance,
}


def page(query: Query) -> Statement:
    """Rows of one key: the results of the page in their order, and one more if there are more.

    The order is total: as the query says; patients that came last first, studies newest first, series and instances by
    their numbers; then as they came.
    """
    return _matching(query).order_by(*_order(query)).limit(query.limit + 1).offset(query.offset)


def additional(query: Query, bound: int) -> Statement:
    """One row with the number of results after the page, counted up to `bound`."""
    rest = _matching(query).offset(query.offset + query.limit).limit(bound).subquery()
    return select(func.count()).select_from(rest)


def count(query: Query) -> Statement:
    """One row with the number of all results, whatever the page."""
    return select(func.count()).select_from(_matching(query).subquery())


def scope(query: Query) -> Statement:
    """A row if the study and the series of the path exist, and belong together."""
    lowest = schema.series if query.series_uid else schema.study
    return select(_key(lowest)).select_from(_joined(lowest, {schema.study})).where(*_scope(query)).limit(1)


def columns(query: Query, attributes: Sequence[Attribute], keys: Iterable[int]) -> Statement:
    """For each key its row: key, then the keys of `KEYED` down to the level of the query, then the attributes."""
    base = _TABLE[query.level]
    of_patient = _key(schema.patient) if query.level is Level.PATIENT else schema.study.c.patient_pkey
    keyed = (of_patient, _key(schema.study), _key(schema.series))[: query.level + 1]
    tables = {column.table for column in keyed} | {_table(attribute) for attribute in attributes}
    selected = (column.label(None) for column in (_key(base), *keyed, *map(_column, attributes)))
    return select(*selected).select_from(_joined(base, tables)).where(_key(base).in_(keys))


def studies_of_patients(patient_keys: Iterable[int]) -> Statement:
    """Rows of patient key, study key, and the number of instances that the index gives for the study."""
    table = schema.study.c
    selected = (table.patient_pkey, table.study_pkey, table.numberofstudyrelatedinstances)
    return select(*selected).where(table.patient_pkey.in_(patient_keys))


def series_of_studies(study_keys: Iterable[int]) -> Statement:
    """Rows of study key, modality, and the number of series that have it."""
    table = schema.series.c
    grouped = (table.study_pkey, table.modality)
    return select(*grouped, func.count()).where(table.study_pkey.in_(study_keys)).group_by(*grouped)


def instances_of_studies(study_keys: Iterable[int]) -> Statement:
    """Rows of study key and number of instances; no row for a study of which the index has none."""
    joined = schema.series.join(schema.instance)
    key = schema.series.c.study_pkey
    return select(key, func.count()).select_from(joined).where(key.in_(study_keys)).group_by(key)


def instances_of_series(series_keys: Iterable[int]) -> Statement:
    """Rows of series key and number of instances; no row for a series of which the index has none."""
    key = schema.instance.c.series_pkey
    return select(key, func.count()).where(key.in_(series_keys)).group_by(key)


def _matching(query: Query) -> Statement:
    base = _TABLE[query.level]
    tables = {_table(attribute) for condition in query.conditions for attribute in condition.keys}
    tables |= {_table(attribute) for attribute, _ in _uids(query)} | {_TABLE[level] for level in _open_levels(query)}
    tables |= {_table(order.attribute) for order in query.order}
    conditions = map(_condition, query.conditions)
    return select(_key(base)).select_from(_joined(base, tables)).where(*_scope(query), *conditions)


def _open_levels(query: Query) -> list[Level]:
    """The levels whose usual order the results have, the upper one first: those that the path does not fix."""
    if query.level is Level.PATIENT:
        return [Level.PATIENT]
    fixed = max((attribute.level for attribute, _ in _uids(query)), default=Level.PATIENT)
    return [level for level in _TABLE if fixed < level <= query.level]


def _uids(query: Query) -> list[tuple[Attribute, str]]:
    """The UIDs of the path."""
    return [(name, uid) for name, uid in ((STUDY_UID, query.study_uid), (SERIES_UID, query.series_uid)) if uid]


def _joined(base: Table, tables: set[Table]) -> FromClause:
    """`base` and the tables above it, up to the highest of `tables`."""
    above = _CHAIN[_CHAIN.index(base) :]
    highest = max(above.index(table) for table in tables | {base})
    joined: FromClause = base
    return reduce(lambda left, right: left.join(right), above[1 : highest + 1], joined)


def _order(query: Query) -> tuple[ColumnElement[Any], ...]:
    study, series, instance = schema.study.c, schema.series.c, schema.instance.c
    number_of_series = number(series.seriesnumber)
    by_level = {
        Level.PATIENT: (schema.patient.c.patient_pkey.desc(),),
        Level.STUDY: (newest_first(study.studydate), newest_first(study.studytime), study.study_pkey.desc()),
        Level.SERIES: (number_of_series.is_(None), number_of_series, series.series_pkey),
        Level.INSTANCE: (instance.instancenumber.is_(None), instance.instancenumber, instance.instance_pkey),
    }
    asked = [term for order in query.order for term in _ordered(order)]
    return (*asked, *(term for level in _open_levels(query) for term in by_level[level]))


def _ordered(order: Order) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Unknown values last; numbers as numbers, what is matched exactly so, other text without regard to case."""
    column = _column(order.attribute)
    value: ColumnElement[Any]
    match order.attribute.matching:
        case Matching.DATE | Matching.TIME:
            value = column
        case Matching.NUMBER:
            value = _as_number(column)
        case Matching.NAME | Matching.DESCRIPTION:
            value = case((not_(_empty(order.attribute, column)), func.lower(func.trim(column))))
        case _:
            value = case((not_(_empty(order.attribute, column)), _bare(column)))
    return value.is_(None), value.desc() if order.descending else value


def _scope(query: Query) -> list[Truth]:
    return [_identical(_column(attribute), [uid]) for attribute, uid in _uids(query)]


def _key(table: Table) -> Column[Any]:
    return table.c[f"{table.name}_pkey"]


def _table(attribute: Attribute) -> Table:
    return schema.metadata.tables[attribute.table]


def _column(attribute: Attribute) -> Column[Any]:
    return _table(attribute).c[attribute.column]


def _condition(condition: Condition) -> Truth:
    match condition:
        case AnyOf(attribute, matches) if attribute == MODALITIES_IN_STUDY:
            return _some_series(matches)
        case AnyOf(attribute, matches):
            return _any_of(attribute, _column(attribute), matches)
        case Period(date, time, first, last):
            return and_(*_period(_column(date), _column(time), first, last))


def _some_series(matches: tuple[Match, ...]) -> Truth:
    """ModalitiesInStudy: at least one series has a modality that matches (PS3.4 Section C.3.4); empty: none has one."""
    sibling = schema.series.alias("sibling")
    modality = sibling.c[MODALITY.column]
    of_study = sibling.c.study_pkey == schema.study.c.study_pkey
    wanted = tuple(match for match in matches if match != Empty())
    found = exists().where(of_study, _any_of(MODALITY, modality, wanted)).correlate(schema.study)
    if Empty() not in matches:
        return found
    return or_(found, ~exists().where(of_study, not_(_empty(MODALITY, modality))).correlate(schema.study))


def _period(day: Column[Any], clock: Column[Any], first: datetime | None, last: datetime | None) -> list[Truth]:
    """An unknown time may be any time of its day: the index loses every time that has a fraction."""
    found: list[Truth] = []
    if first:
        found += [
            day >= first.date(),
            or_(day > first.date(), clock >= first.time(), clock.is_(None)),
        ]
    if last:
        found += [
            day <= last.date(),
            or_(day < last.date(), clock <= last.time(), clock.is_(None)),
        ]
    return found


def _any_of(attribute: Attribute, column: ColumnElement[Any], matches: tuple[Match, ...]) -> Truth:
    """Whether one of `matches` holds; `column` is the attribute's, or an alias of it."""
    equal = [match.value for match in matches if isinstance(match, Equal)]
    found = [_one_of(attribute, column, equal)] if equal else []
    found += [_one(attribute, column, match) for match in matches if not isinstance(match, Equal)]
    return or_(false(), *found)


def _one_of(attribute: Attribute, column: ColumnElement[Any], values: list[Any]) -> Truth:
    match attribute.matching:
        case Matching.NUMBER:
            return _as_number(column).in_(values)
        case Matching.NAME | Matching.DESCRIPTION:
            return or_(*(_TEXT[attribute.matching](attribute, column, value) for value in values))
        case _:
            present = [value for value in values if value not in attribute.placeholders]
            return _identical(column, present) if present else false()


def _one(attribute: Attribute, column: ColumnElement[Any], match: Match) -> Truth:
    match match:
        case Equal(value):
            return _one_of(attribute, column, [value])
        case Like(pattern):
            return _TEXT[attribute.matching](attribute, column, pattern)
        case Between(first, last):
            return _between(attribute, column, first, last)
        case Empty():
            return _empty(attribute, column)
        case Fuzzy(value):
            return or_(_name(attribute, column, value), _sounds_like(attribute, column, value))


def _between(attribute: Attribute, column: ColumnElement[Any], first: Any, last: Any) -> Truth:
    ends = ([column >= first] if first is not None else []) + ([column <= last] if last is not None else [])
    if attribute.matching is Matching.DATE:
        return and_(*ends)
    over_midnight = first is not None and last is not None and first > last
    return or_(column.is_(None), or_(*ends) if over_midnight else and_(*ends))


def _empty(attribute: Attribute, column: ColumnElement[Any]) -> Truth:
    if attribute.matching in (Matching.DATE, Matching.TIME) or _is_integer(column):
        return column.is_(None)
    return or_(column.is_(None), _bare(column).in_(sorted(attribute.placeholders)))


def _as_number(column: ColumnElement[Any]) -> ColumnElement[int]:
    return column if _is_integer(column) else number(column)


def _is_integer(column: ColumnElement[Any]) -> bool:
    return column.type.python_type is int


def _identical(column: ColumnElement[str], values: Sequence[str]) -> Truth:
    """One of `values` to the last character, but for blanks after it; an index of the column can find it."""
    padded = [text for value in values for text in (value, f"{value} ")]  # PS3.5 Section 6.2: to an even length
    return and_(column.in_(padded), _bare(column).in_(values))


def _text_exactly(attribute: Attribute, column: ColumnElement[str], pattern: str) -> Truth:
    begins = _begins(column, literal_start(pattern))
    return and_(like(func.trim(column), pattern), *begins, _no_placeholder(attribute, column))


def _text_folded(attribute: Attribute, column: ColumnElement[str], pattern: str) -> Truth:
    return and_(like_folded(func.trim(column), pattern), _no_placeholder(attribute, column))


def _name(attribute: Attribute, column: ColumnElement[str], pattern: str) -> Truth:
    """Whether a component group of the name matches, or several in a row."""
    patterns, start = group_patterns(pattern)
    groups = literal("=") + func.trim(column) + literal("=")
    for delimiters in EMPTY_ENDS:
        groups = func.replace(groups, delimiters, "=")
    found = or_(false(), *(like_folded(groups, wanted) for wanted in patterns))
    indexed = isinstance(column, Column) and column.index  # else to narrow only means to trust the column's collation
    return and_(found, *(_begins(column, start) if indexed else []), _no_placeholder(attribute, column))


def _sounds_like(attribute: Attribute, column: ColumnElement[str], text: str) -> Truth:
    """Whether the name has each word of `text`, in any group and order; wildcards count only at the ends of words."""
    words = fuzzy_words(text)
    if not words:
        return false()
    return and_(_no_placeholder(attribute, column), *(has_word_like(column, word) for word in words))


def _begins(column: ColumnElement[str], start: str) -> list[Truth]:
    return [may_begin_with(column, start)] if start else []


def _no_placeholder(attribute: Attribute, column: ColumnElement[str]) -> Truth:
    """Keeps a pattern from matching the texts that mean "absent"."""
    return _bare(column).not_in(sorted(attribute.placeholders))


def _bare(column: ColumnElement[str]) -> ColumnElement[str]:
    """The stored text without blanks around it, for a comparison to the last character."""
    return exactly(func.trim(column))


_TEXT: dict[Matching, Callable[[Attribute, ColumnElement[str], str], Truth]] = {
    Matching.CODE: _text_exactly,
    Matching.ID: _text_exactly,
    Matching.DESCRIPTION: _text_folded,
    Matching.NAME: _name,
}
