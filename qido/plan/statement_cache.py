"""Statements that are built once for all queries of one shape, because building one takes longer than running it.

Queries of one shape differ in the texts of UIDs, IDs and codes only. A shape has a `Parameter` in the place of these
texts, so the cache holds nothing that a client wrote.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from qido.parse.attributes import Matching
from qido.parse.conditions import AnyOf, Condition, Equal, Parameter
from qido.parse.query import Query
from qido.plan import result_columns, statements
from qido.plan.sql_conditions import parameter_values
from qido.plan.tables import Statement

_MAX_STATEMENTS = 64  # of each kind
_EXACT = frozenset({Matching.UID, Matching.CODE, Matching.ID})

_Parameters = Mapping[str, Sequence[str]]


def by_identifier(query: Query, at_most: int) -> tuple[statements.IdentifierStatement, _Parameters] | None:
    """`statements.by_identifier` with the values of its parameters; None if more than IDs and UIDs is to match."""
    if not statements.names_few(query) or not all(map(_is_exact, query.conditions)):
        return None
    shape, parameters = _shape(query)
    return _by_identifier(replace(shape, limit=0, offset=0), at_most), parameters


def collect_and_sort(query: Query, at_most: int) -> tuple[Statement, _Parameters]:
    """`statements.collect_and_sort` with the values of its parameters."""
    if not all(map(_is_exact, query.conditions)):
        return statements.collect_and_sort(query, at_most), {}
    shape, parameters = _shape(query)
    return _collect_and_sort(shape, at_most), parameters


def columns(query: Query) -> Statement:
    """`result_columns.columns`."""
    return _columns(replace(_without_texts(query), conditions=(), study_uid=None, series_uid=None, limit=0, offset=0))


def sort_all(query: Query) -> Statement:
    """`statements.sort_all`, built once for pages of the whole archive."""
    return _sort_all(_without_texts(query)) if statements.is_open(query) else statements.sort_all(query)


def count_further(query: Query, bound: int) -> Statement:
    """`statements.count_further`, built once for pages of the whole archive."""
    return (
        _count_further(_without_texts(query), bound)
        if statements.is_open(query)
        else statements.count_further(query, bound)
    )


_by_identifier = lru_cache(_MAX_STATEMENTS)(statements.by_identifier)
_collect_and_sort = lru_cache(_MAX_STATEMENTS)(statements.collect_and_sort)
_sort_all = lru_cache(_MAX_STATEMENTS)(statements.sort_all)
_count_further = lru_cache(_MAX_STATEMENTS)(statements.count_further)
_columns = lru_cache(_MAX_STATEMENTS)(result_columns.columns)


def _is_exact(condition: Condition) -> bool:
    """Whether a condition compares exactly with texts, none of which means "absent" in the index."""
    match condition:
        case AnyOf(attribute, matches) if attribute.matching in _EXACT:
            return all(isinstance(match, Equal) and match.value not in attribute.placeholders for match in matches)
    return False


def _shape(query: Query) -> tuple[Query, _Parameters]:
    """The query with parameters in the place of texts, and the values of these parameters."""
    values: dict[str, Sequence[str]] = {}

    def parameter_for(texts: Sequence[str]) -> Parameter:
        parameter = Parameter(f"texts{len(values)}")
        values.update(parameter_values(parameter, texts))
        return parameter

    study_uid, series_uid = ([*query.path_uids, None, None])[:2]
    shape = replace(
        _without_texts(query),
        study_uid=parameter_for([study_uid]) if study_uid else None,
        series_uid=parameter_for([series_uid]) if series_uid else None,
        conditions=tuple(_with_parameters(condition, parameter_for) for condition in query.conditions),
    )
    return shape, values


def _with_parameters(condition: Condition, parameter_for: Callable[[Sequence[str]], Parameter]) -> Condition:
    match condition:
        case AnyOf(attribute, matches):
            texts = [str(match.value) for match in matches if isinstance(match, Equal)]
            return AnyOf(attribute, (Equal(parameter_for(texts)),))
    return condition


def _without_texts(query: Query) -> Query:
    """The query without what no statement depends on."""
    return replace(query, warnings=(), unindexed=(), unindexed_conditions=(), counted=False, everything=False)
