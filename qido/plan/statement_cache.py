"""Statements that are made once for all queries of one shape: only texts of UIDs, IDs and codes differ.

To make a small statement takes longer than to run it. A shape has a `Slot` for all texts of an attribute, so that
nothing a client wrote is kept, however many there are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from qido.parse.attributes import Matching
from qido.parse.conditions import AnyOf, Condition, Equal
from qido.parse.query import Query
from qido.plan import result_columns, statements
from qido.plan.sql_conditions import Slot
from qido.plan.tables import Statement

_KEPT = 64  # statements of each kind; that of a page is one
_EXACT = frozenset({Matching.UID, Matching.CODE, Matching.ID})

_Filled = Callable[[Sequence[str]], Slot]
_Parameters = Mapping[str, Sequence[str]]


def by_identifier(query: Query, at_most: int) -> tuple[statements.IdentifierStatement, _Parameters] | None:
    """As `statements.by_identifier`, with the values of its parameters; None if more than IDs and UIDs is to match."""
    if not statements.names_few(query) or not all(map(_is_exact, query.conditions)):
        return None
    shape, parameters = _shape(query)
    return _named(replace(shape, limit=0, offset=0), at_most), parameters


def collect_and_sort(query: Query, at_most: int) -> tuple[Statement, _Parameters]:
    """As `qido.plan.statements.collect_and_sort`, and the values of its parameters."""
    if not all(map(_is_exact, query.conditions)):
        return statements.collect_and_sort(query, at_most), {}
    shape, parameters = _shape(query)
    return _gathered(shape, at_most), parameters


def columns(query: Query) -> Statement:
    """As `qido.plan.result_columns.columns`."""
    return _columns(replace(_without_words(query), conditions=(), study_uid=None, series_uid=None, limit=0, offset=0))


def sort_all(query: Query) -> Statement:
    """As `qido.plan.statements.sort_all`; made once for a page of the whole archive."""
    return _sorted_through(_without_words(query)) if statements.is_open(query) else statements.sort_all(query)


def count_further(query: Query, bound: int) -> Statement:
    """As `qido.plan.statements.count_further`; made once for a page of the whole archive."""
    return (
        _additional(_without_words(query), bound)
        if statements.is_open(query)
        else statements.count_further(query, bound)
    )


_named = lru_cache(_KEPT)(statements.by_identifier)
_gathered = lru_cache(_KEPT)(statements.collect_and_sort)
_sorted_through = lru_cache(_KEPT)(statements.sort_all)
_additional = lru_cache(_KEPT)(statements.count_further)
_columns = lru_cache(_KEPT)(result_columns.columns)


def _is_exact(condition: Condition) -> bool:
    """Whether texts are looked for that are not those for "absent", to the last character."""
    match condition:
        case AnyOf(attribute, matches) if attribute.matching in _EXACT:
            return all(isinstance(of, Equal) and of.value not in attribute.placeholders for of in matches)
    return False


def _shape(query: Query) -> tuple[Query, _Parameters]:
    """The query with slots, and what is in them."""
    parameters: dict[str, Sequence[str]] = {}

    def slot(texts: Sequence[str]) -> Slot:
        slot = Slot(f"texts{len(parameters)}")
        parameters.update(slot.parameters(texts))
        return slot

    shape = replace(
        _without_words(query),
        study_uid=query.study_uid and slot([query.study_uid]),
        series_uid=query.series_uid and slot([query.series_uid]),
        conditions=tuple(_with_slots(condition, slot) for condition in query.conditions),
    )
    return shape, parameters


def _with_slots(condition: Condition, slot: _Filled) -> Condition:
    match condition:
        case AnyOf(attribute, matches):
            return AnyOf(attribute, (Equal(slot([str(of.value) for of in matches if isinstance(of, Equal)])),))
    return condition


def _without_words(query: Query) -> Query:
    """The query without what no statement says."""
    return replace(query, warnings=(), unindexed=(), unindexed_conditions=(), counted=False, everything=False)
