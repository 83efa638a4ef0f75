"""From a query to what the index holds: statements are run, and the index's oddities end here."""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date, time
from typing import Any

from db.engine import Database
from dicomweb.errors import NotFound
from qido import plan
from qido.attributes import (
    MODALITIES_IN_STUDY,
    MODALITY,
    RELATED_INSTANCES,
    SERIES_INSTANCES,
    STUDY_INSTANCES,
    STUDY_SERIES,
    Attribute,
)
from qido.query import Query

COUNT_BOUND = 10_000
"""Results after a page are counted exactly up to this number, which stands for "as many or more"."""

Value = str | int | date | time


@dataclass(frozen=True)
class Result:
    """One study, series or instance: the values of each attribute that was asked for, none if it is unknown.

    The keys are those of the index; a study has no `series_key`.
    """

    study_key: int
    series_key: int | None
    values: Mapping[Attribute, tuple[Value, ...]]


@dataclass(frozen=True)
class Found:
    """A page of results in their order, and how many more there are after it."""

    results: tuple[Result, ...]
    additional: int


def find(database: Database, query: Query) -> Found:
    """Search the index; NotFound if the study or series of the path does not exist."""
    keys = [key for (key,) in database.rows(plan.page(query))]
    if not keys and query.study_uid and not database.rows(plan.scope(query)):
        raise NotFound("there is no such series in this study" if query.series_uid else "there is no such study")
    more = len(keys) > query.limit
    additional = database.rows(plan.additional(query, COUNT_BOUND))[0][0] if more else 0
    results = _results(database, query, keys[: query.limit]) if query.limit and keys else []
    return Found(tuple(results), additional)


def _results(database: Database, query: Query, keys: Sequence[int]) -> list[Result]:
    stored = tuple(attribute for attribute in query.returned if attribute not in _FROM_SERIES)
    rows = {row[0]: _result(row, stored) for row in database.rows(plan.columns(query, stored, keys))}
    results = [rows[key] for key in keys if key in rows]  # one may have gone since the page was found
    if from_series := _FROM_SERIES.intersection(query.returned):
        results = _with_series(database, results, from_series)
    if STUDY_INSTANCES in query.returned:
        results = _with_count(database, results, STUDY_INSTANCES, plan.instances_of_studies, lambda of: of.study_key)
    if SERIES_INSTANCES in query.returned:
        results = _with_count(database, results, SERIES_INSTANCES, plan.instances_of_series, lambda of: of.series_key)
    return results


_FROM_SERIES = frozenset({MODALITIES_IN_STUDY, STUDY_SERIES})
"""What is gathered from the series of a study, so that it is right whatever the index says."""


def _result(row: Sequence[Any], stored: Sequence[Attribute]) -> Result:
    keys, raw_values = row[1 : len(row) - len(stored)], row[len(row) - len(stored) :]
    values = {attribute: _values(attribute, raw) for attribute, raw in zip(stored, raw_values, strict=True)}
    return Result(keys[0], keys[1] if len(keys) > 1 else None, values)


def _with_series(database: Database, results: Sequence[Result], wanted: Set[Attribute]) -> list[Result]:
    modalities: defaultdict[int, set[str]] = defaultdict(set)
    counts: defaultdict[int, int] = defaultdict(int)
    for study_key, modality, count in database.rows(plan.series_of_studies({of.study_key for of in results})):
        modalities[study_key].update(map(str, _values(MODALITY, modality)))
        counts[study_key] += count

    def gathered(key: int) -> Mapping[Attribute, tuple[Value, ...]]:
        found: dict[Attribute, tuple[Value, ...]] = {
            MODALITIES_IN_STUDY: tuple(sorted(modalities[key])),
            STUDY_SERIES: (counts[key],),
        }
        return {attribute: found[attribute] for attribute in wanted}

    return [_with(result, gathered(result.study_key)) for result in results]


def _with_count(
    database: Database,
    results: Sequence[Result],
    attribute: Attribute,
    statement: Callable[[Iterable[int]], plan.Statement],
    key_of: Callable[[Result], int | None],
) -> list[Result]:
    """The results, with the instances counted where the index has no count. None found is unknown, not 0."""
    uncounted = {key for of in results if not of.values[attribute] and (key := key_of(of)) is not None}
    if not uncounted:
        return list(results)
    counts = {key: (count,) for key, count in database.rows(statement(uncounted))}
    return [_with(of, {attribute: of.values[attribute] or counts.get(key_of(of), ())}) for of in results]


def _with(result: Result, values: Mapping[Attribute, tuple[Value, ...]]) -> Result:
    return replace(result, values={**result.values, **values})


def _values(attribute: Attribute, raw: Any) -> tuple[Value, ...]:
    """The values of a column, without what the writer of the index puts there for "absent" or "several"."""
    if raw is None or (raw == 0 and attribute in RELATED_INSTANCES):
        return ()
    if not isinstance(raw, str):
        return (raw,)
    texts = (text.strip() for text in _listed(raw.strip()))
    return tuple(text for text in texts if text not in attribute.placeholders)


def _listed(text: str) -> Sequence[str]:
    """The values in the text of a Python list, which is how the index holds several."""
    if not text.startswith(("['", '["')):
        return [text]
    try:
        return [str(value) for value in ast.literal_eval(text) if value is not None]
    except (SyntaxError, ValueError):  # cut off where the column ends
        return []
