"""Statements that find the results of a query.

The keys of a page are found first, with no more tables than the conditions and the order need. The values of its
results are then fetched for these keys only (`qido.plan.result_columns`). There are three ways to a page:

- `by_identifier` fetches the matches of IDs and UIDs unsorted; they are sorted afterwards. It is for few matches.
- `collect_and_sort` collects all matches, then sorts them. It is for rare matches, and too slow for half a million.
- `scan_newest` looks at the newest studies only, and at more of them if the page is not full. It is for common matches,
  and too slow for three studies in a million.

No database chooses the right way by itself. `qido.execute.index_search` does, by trying up to a bound.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from sqlalchemy import Table, and_, func, or_, select

from db import schema
from db.json_row import json_row
from db.scope import EVERYTHING, Scope
from qido.parse.attributes import ATTRIBUTES, UIDS, Level
from qido.parse.conditions import AnyOf, Condition, Equal, Parameter
from qido.parse.query import Query
from qido.plan import result_columns
from qido.plan.sort_order import order, tables_of_order, uids_of_path, usual_order, usual_terms
from qido.plan.sql_conditions import SIBLING, has_unknown_time, holds, identical, of_siblings, of_study
from qido.plan.tables import TABLE, Statement, Truth, column_of, joined, key_of, table_of

_NAMING = frozenset({*UIDS, *(one for one in ATTRIBUTES if one.keyword in ("PatientID", "AccessionNumber"))})
_WINDOWS = (200, 2_000, 20_000)
ALL_ROWS = 2**31 - 2
"""The limit for a page that has all results."""


def is_open(query: Query) -> bool:
    """Whether the whole archive matches."""
    return not (query.conditions or query.study_uid) and query.scope == EVERYTHING


def names_few(query: Query) -> bool:
    """Whether a key or the path has a whole ID or UID, so that there are most likely few results."""
    if query.order or query.level is Level.INSTANCE or query.scope.datastore_ids is not None:
        return False
    named = (one.matches for one in query.conditions if isinstance(one, AnyOf) and one.attribute in _NAMING)
    return query.study_uid is not None or any(all(isinstance(of, Equal) for of in matches) for matches in named)


@dataclass(frozen=True)
class IdentifierStatement:
    """A statement with unsorted rows, which begin like those of `result_columns.columns`.

    `terms` are the arguments of `qido.plan.sort_order.in_order`, which sorts them.
    """

    statement: Statement
    terms: tuple[tuple[int, bool], ...]


def by_identifier(query: Query, at_most: int) -> IdentifierStatement:
    """All matches, up to `at_most`, unsorted: sorting would cost the database a temporary table."""
    selected, terms = result_columns.selected(query), usual_terms(query)
    selected += [term.value for term in terms if not any(term.value is one for one in selected)]
    places = (next(at for at, one in enumerate(selected) if one is term.value) for term in terms)
    found = _matching(query, query.conditions, result_columns.tables(query) | tables_of_order(query))
    statement = found.with_only_columns(json_row(selected)).limit(at_most)
    return IdentifierStatement(statement, tuple((at, term.descending) for at, term in zip(places, terms, strict=True)))


def collect_and_sort(query: Query, at_most: int) -> Statement:
    """Rows of the number of matches, and a list of `result_columns.columns`: the page in order.

    It is right if there are fewer matches than `at_most`. The inner limit keeps the database from using the order in
    the search for matches. The inner page keeps it from fetching values of other results.
    """
    base = TABLE[query.level]
    found = _found(query, at_most).limit(at_most).subquery("found")
    tables = joined(base, tables_of_order(query)).join(found, key_of(base) == found.c[0])
    page = _page(query, select(key_of(base), func.count().over()).select_from(tables)).subquery("page")
    key, number_of_matches = page.c
    held = joined(base, tables_of_order(query) | result_columns.tables(query)).join(page, key_of(base) == key)
    return select(number_of_matches, json_row(result_columns.selected(query))).select_from(held).order_by(*order(query))


def next_window(query: Query, looked_at: int = 0, found: int = 0) -> int | None:
    """The number of newest studies to look at for the page; None for all studies, or if a scan is not possible.

    `looked_at` studies had only `found` results of the page and those before it. Matches are assumed to be as common
    among the next studies.
    """
    page_end = query.offset + query.limit + 1
    if query.order or query.study_uid or query.level is Level.PATIENT or page_end > _WINDOWS[-1]:
        return None
    if is_open(query):
        return page_end if query.level > Level.STUDY and not looked_at else None
    if not looked_at:
        return next(newest for newest in _WINDOWS if newest >= page_end)
    if looked_at >= _WINDOWS[-1]:
        return None
    wanted = looked_at * page_end * 3 // (found * 2) if found else 10 * looked_at
    return min(max(wanted, 2 * looked_at), 10 * looked_at, _WINDOWS[-1])


def scan_newest(query: Query, newest: int) -> Statement:
    """Rows of one key: the page in order, and one more result, among so many of the newest studies."""
    found = select(key_of(schema.study)).order_by(*usual_order(Level.STUDY)).limit(newest).subquery("newest")
    tables = joined(TABLE[query.level], {*_tables_of(query.conditions), schema.study})
    statement = select(key_of(TABLE[query.level])).select_from(tables.join(found, key_of(schema.study) == found.c[0]))
    return _page(query, statement.where(*_hold(query.conditions, query.scope), *_visible(query.level, query.scope)))


def sort_all(query: Query) -> Statement:
    """Rows of one key: the page in order, among all matches."""
    return _page(query, _matching(query, query.conditions, tables_of_order(query)))


def count_further(query: Query, bound: int) -> Statement:
    """One row with the number of results after the page, counted up to `bound`."""
    rest = _found(query).offset(query.offset + query.limit).limit(bound).subquery()
    return select(func.count()).select_from(rest)


def count(query: Query) -> Statement:
    """One row with the number of all results, regardless of the page."""
    return select(func.count()).select_from(_found(query).subquery())


def scope(query: Query) -> Statement:
    """A row if the study and the series of the path exist, belong together, and are in scope."""
    lowest = schema.series if query.series_uid else schema.study
    visible = query.scope.series() if query.series_uid else query.scope.studies()
    found = select(key_of(lowest)).select_from(joined(lowest, {schema.study}))
    return found.where(*_scope(query), *visible).limit(1)


def _page(query: Query, statement: Statement) -> Statement:
    """The rows of the page in order, and one more if there are more."""
    return statement.order_by(*order(query)).limit(query.limit + 1).offset(query.offset)


def studies_at_unknown_times(query: Query, at_most: int) -> Statement:
    """Rows of study key: the studies of matches whose unknown time decides, the latest in the index first."""
    unknown = or_(*(truth for one in query.conditions if (truth := has_unknown_time(one)) is not None))
    found = _found(query, tables={schema.study}).with_only_columns(key_of(schema.study)).where(unknown)
    return found.distinct().order_by(key_of(schema.study).desc()).limit(at_most)


def _found(query: Query, at_most: int | None = None, tables: Set[Table] = frozenset()) -> Statement:
    """The keys of all matches, each once, or of `at_most`; the database may begin with any table.

    `tables` are joined too, if there is a condition that is not on ModalitiesInStudy.
    """
    of_series = [truth for one in query.conditions if (truth := of_siblings(one)) is not None]
    rest = [condition for condition in query.conditions if of_siblings(condition) is None]
    beyond_datastores = query.scope.beyond_datastores
    if beyond_datastores and (query.level <= Level.STUDY or not of_series):
        return _with_image_set(query, rest, of_series, beyond_datastores, tables)
    if not of_series:
        return _matching(query, rest, tables)
    if not rest and not query.study_uid and query.scope == EVERYTHING and query.level <= Level.SERIES:
        return _of_studies_with(query.level, and_(*of_series), at_most)
    statement = _matching(query, rest, {schema.study, *tables})
    return statement.join(SIBLING, and_(of_study(query.scope), *of_series)).distinct()


def _of_studies_with(level: Level, of_series: Truth, at_most: int | None) -> Statement:
    """The keys of studies that have such a series, or of their series; of `at_most` studies, if that is a number.

    The studies are collected from the series alone, because MariaDB would otherwise look for the series of each study.
    Each study has at least one series, so `at_most` studies are enough for `at_most` series.
    """
    studies = select(SIBLING.c.study_pkey).where(of_series).distinct().limit(at_most)
    if level is Level.STUDY:
        return studies
    of = studies.subquery("of")
    return select(key_of(schema.series)).join(of, schema.series.c.study_pkey == of.c.study_pkey)


def _with_image_set(
    query: Query, conditions: Sequence[Condition], of_series: Sequence[Truth], visible: Scope, tables: Set[Table]
) -> Statement:
    """The keys of all matches with an image set in the data stores of the scope, each once.

    The image sets are joined, so that the database can begin with them and stop early. With a subquery MariaDB would
    first make a table of the whole data store, which takes 15 s for a million studies.
    """
    statement = _matching(query, conditions, tables, visible)
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
    """The keys of all below the path that fulfil the conditions; `tables` are joined too.

    `visible` is the scope, if it is not that of the query.
    """
    base = TABLE[query.level]
    needed = {*tables, *_tables_of(conditions), *(table_of(attribute) for attribute, _ in uids_of_path(query))}
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


def _scope(query: Query) -> list[Truth]:
    return [
        identical(column_of(attribute), uid if isinstance(uid, Parameter) else [uid])
        for attribute, uid in uids_of_path(query)
    ]
