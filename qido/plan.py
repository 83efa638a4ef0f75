"""From a query to the statements that find its results. Nothing here touches the database.

A page is found first, as keys, with no more tables than the conditions and the order need; what its results hold is
then fetched for these keys only, as `qido.plan_results` says. Each statement says what its rows are.

There are two ways to a page. What matches is `gathered` and then put in order: right for what is rare, and hopeless for
half a million studies. Or only the newest studies are looked at (`among_newest`), and more of them if the page is not
full: right for what is common, and hopeless for three studies in a million. No database tells the two apart by itself;
`qido.find` does, by gathering up to a bound.
"""

from collections.abc import Iterable, Sequence, Set
from typing import Any

from sqlalchemy import Table, and_, case, func, not_, select
from sqlalchemy.sql import ColumnElement

from db import schema
from db.comparison import newest_first, number
from db.scope import EVERYTHING, Scope
from qido import plan_results
from qido.attributes import SERIES_UID, STUDY_UID, Attribute, Level, Matching
from qido.conditions import Condition
from qido.plan_conditions import (
    SIBLING,
    as_number,
    bare,
    holds,
    identical,
    is_empty,
    of_siblings,
    of_study,
)
from qido.plan_tables import TABLE, Statement, Truth, column_of, joined, key_of, table_of
from qido.query import Order, Query

_WINDOWS = (200, 2_000, 20_000)
ALL_ROWS = 2**31 - 2
"""The limit of a page that is the whole."""


def is_open(query: Query) -> bool:
    """Whether nothing limits what matches, so that it is the whole archive."""
    return not (query.conditions or query.study_uid) and query.scope == EVERYTHING


def gathered(query: Query, at_most: int) -> Statement:
    """Rows of the number of matches, then as of `plan_results.columns`: the page in its order, if there are fewer
    matches than `at_most`.

    The limit within keeps the database from having the order in mind when it looks for the matches, and the page within
    keeps it from fetching more than that of what the results hold.
    """
    base = TABLE[query.level]
    found = _found(query, at_most).limit(at_most).subquery("found")
    tables = joined(base, _tables_of_order(query)).join(found, key_of(base) == found.c[0])
    page = _page(query, select(key_of(base), func.count().over()).select_from(tables)).subquery("page")
    key, number_of_matches = page.c
    held = joined(base, _tables_of_order(query) | plan_results.tables(query)).join(page, key_of(base) == key)
    return select(number_of_matches, *plan_results.selected(query)).select_from(held).order_by(*_order(query))


def windows(query: Query) -> tuple[int, ...]:
    """How many of the newest studies to look at for the page, as one try after the other."""
    page_end = query.offset + query.limit + 1
    if query.order or query.study_uid or query.level is Level.PATIENT or page_end > _WINDOWS[-1]:
        return ()
    if is_open(query):
        return (page_end,) if query.level > Level.STUDY else ()
    return tuple(newest for newest in _WINDOWS if newest >= page_end)


def among_newest(query: Query, newest: int) -> Statement:
    """Rows of one key: the page in its order, if so many of the newest studies have all of it and one result more."""
    found = select(key_of(schema.study)).order_by(*_usual_order(Level.STUDY)).limit(newest).subquery("newest")
    tables = joined(TABLE[query.level], {*_tables_of(query.conditions), schema.study})
    statement = select(key_of(TABLE[query.level])).select_from(tables.join(found, key_of(schema.study) == found.c[0]))
    return _page(query, statement.where(*_hold(query.conditions, query.scope), *_visible(query.level, query.scope)))


def sorted_through(query: Query) -> Statement:
    """Rows of one key: the page in its order, whatever it takes."""
    return _page(query, _matching(query, query.conditions, _tables_of_order(query)))


def additional(query: Query, bound: int) -> Statement:
    """One row with the number of results after the page, counted up to `bound`."""
    rest = _found(query).offset(query.offset + query.limit).limit(bound).subquery()
    return select(func.count()).select_from(rest)


def count(query: Query) -> Statement:
    """One row with the number of all results, whatever the page."""
    return select(func.count()).select_from(_found(query).subquery())


def scope(query: Query) -> Statement:
    """A row if the study and the series of the path exist, belong together, and may be seen."""
    lowest = schema.series if query.series_uid else schema.study
    visible = query.scope.series() if query.series_uid else query.scope.studies()
    found = select(key_of(lowest)).select_from(joined(lowest, {schema.study}))
    return found.where(*_scope(query), *visible).limit(1)


def _page(query: Query, statement: Statement) -> Statement:
    """The rows of the page, and one more if there are more.

    The order is total: as the query says; patients that came last first, studies newest first, series and instances by
    their numbers; then as they came.
    """
    return statement.order_by(*_order(query)).limit(query.limit + 1).offset(query.offset)


def _found(query: Query, at_most: int | None = None) -> Statement:
    """The keys of all that matches, or of so many, each once, said so that the database may begin wherever it likes."""
    of_series = [truth for one in query.conditions if (truth := of_siblings(one)) is not None]
    rest = [condition for condition in query.conditions if of_siblings(condition) is None]
    beyond_datastores = query.scope.beyond_datastores
    if beyond_datastores and (query.level <= Level.STUDY or not of_series):
        return _with_image_set(query, rest, of_series, beyond_datastores)
    if not of_series:
        return _matching(query, rest)
    if not rest and not query.study_uid and query.scope == EVERYTHING and query.level <= Level.SERIES:
        return _of_studies_with(query.level, and_(*of_series), at_most)
    statement = _matching(query, rest, {schema.study})
    return statement.join(SIBLING, and_(of_study(query.scope), *of_series)).distinct()


def _of_studies_with(level: Level, of_series: Truth, at_most: int | None) -> Statement:
    """The keys of the studies that have such a series, or of their series: so many at most, if that is said.

    The studies are gathered from the series alone: MariaDB would go through all studies and look for the series of
    each, were it allowed to. Each study has a series at least, so that as many studies are enough for as many series.
    """
    studies = select(SIBLING.c.study_pkey).where(of_series).distinct().limit(at_most)
    if level is Level.STUDY:
        return studies
    of = studies.subquery("of")
    return select(key_of(schema.series)).join(of, schema.series.c.study_pkey == of.c.study_pkey)


def _with_image_set(
    query: Query, conditions: Sequence[Condition], of_series: Sequence[Truth], visible: Scope
) -> Statement:
    """The keys of all that matches, each once, of what has an image set in the data stores of the scope.

    The image sets are joined, so that the database may begin with them, and stop when it has enough. Of a list of all
    that is in a data store MariaDB first makes a table, for 15 s if it is most of a million studies.
    """
    statement = _matching(query, conditions, visible=visible)
    match query.level:
        case Level.PATIENT | Level.STUDY:
            if query.level is Level.PATIENT:
                statement = statement.join(schema.study)
            statement = statement.join(SIBLING, and_(SIBLING.c.study_pkey == schema.study.c.study_pkey, *of_series))
            statement = statement.join(schema.imageset, schema.imageset.c.series_pkey == SIBLING.c.series_pkey)
        case Level.SERIES:
            statement = statement.join(schema.imageset, schema.imageset.c.series_pkey == key_of(schema.series))
        case Level.INSTANCE:
            statement = statement.join(schema.imageset, key_of(schema.imageset) == schema.instance.c.imageset_pkey)
    return statement.where(*query.scope.in_datastores()).distinct()


def _matching(
    query: Query, conditions: Sequence[Condition], tables: Set[Table] = frozenset(), visible: Scope | None = None
) -> Statement:
    """The keys of what is below the path and fulfils the conditions; `tables` are joined too.

    All of the scope is visible, unless `visible` says what is.
    """
    base = TABLE[query.level]
    needed = {*tables, *_tables_of(conditions), *(table_of(attribute) for attribute, _ in _uids(query))}
    found = select(key_of(base)).select_from(joined(base, needed))
    shown = _visible(query.level, visible or query.scope)
    return found.where(*_scope(query), *_hold(conditions, query.scope), *shown)


def _hold(conditions: Iterable[Condition], scope: Scope) -> list[Truth]:
    return [holds(condition, scope) for condition in conditions]


def _visible(level: Level, scope: Scope) -> list[Truth]:
    by_level = {
        Level.PATIENT: scope.patients,
        Level.STUDY: scope.studies,
        Level.SERIES: scope.series,
        Level.INSTANCE: scope.instances,
    }
    return by_level[level]()


def _tables_of(conditions: Iterable[Condition]) -> set[Table]:
    return {table_of(attribute) for condition in conditions for attribute in condition.keys}


def _tables_of_order(query: Query) -> frozenset[Table]:
    return frozenset(
        {TABLE[level] for level in _open_levels(query)} | {table_of(order.attribute) for order in query.order}
    )


def _open_levels(query: Query) -> list[Level]:
    """The levels whose usual order the results have, the upper one first: those that the path does not fix."""
    if query.level is Level.PATIENT:
        return [Level.PATIENT]
    fixed = max((attribute.level for attribute, _ in _uids(query)), default=Level.PATIENT)
    return [level for level in TABLE if fixed < level <= query.level]


def _uids(query: Query) -> list[tuple[Attribute, str]]:
    """The UIDs of the path."""
    return [(name, uid) for name, uid in ((STUDY_UID, query.study_uid), (SERIES_UID, query.series_uid)) if uid]


def _order(query: Query) -> tuple[ColumnElement[Any], ...]:
    asked = [term for order in query.order for term in _ordered(order)]
    return (*asked, *(term for level in _open_levels(query) for term in _usual_order(level)))


def _usual_order(level: Level) -> tuple[ColumnElement[Any], ...]:
    study, series, instance = schema.study.c, schema.series.c, schema.instance.c
    match level:
        case Level.PATIENT:
            return (schema.patient.c.patient_pkey.desc(),)
        case Level.STUDY:
            return (newest_first(study.studydate), newest_first(study.studytime), newest_first(study.study_pkey))
        case Level.SERIES:
            number_of_series = number(series.seriesnumber)
            return (number_of_series.is_(None), number_of_series, series.series_pkey)
        case Level.INSTANCE:
            return (instance.instancenumber.is_(None), instance.instancenumber, instance.instance_pkey)


def _ordered(order: Order) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Unknown values last; numbers as numbers, what is matched exactly so, other text without regard to case."""
    column = column_of(order.attribute)
    value: ColumnElement[Any]
    match order.attribute.matching:
        case Matching.DATE | Matching.TIME:
            value = column
        case Matching.NUMBER:
            value = as_number(column)
        case Matching.NAME | Matching.DESCRIPTION:
            value = case((not_(is_empty(order.attribute, column)), func.lower(func.trim(column))))
        case _:
            value = case((not_(is_empty(order.attribute, column)), bare(column)))
    return value.is_(None), value.desc() if order.descending else value


def _scope(query: Query) -> list[Truth]:
    return [identical(column_of(attribute), [uid]) for attribute, uid in _uids(query)]
