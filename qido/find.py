"""From a query to what the index holds: statements are run, and the index's oddities end here."""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date, time
from typing import Any

from db.engine import Database
from db.scope import Scope
from dicomweb.errors import NotFound
from qido import plan, plan_results
from qido.attributes import (
    MODALITIES_IN_STUDY,
    MODALITY,
    PATIENT_INSTANCES,
    PATIENT_SERIES,
    PATIENT_STUDIES,
    RELATED_INSTANCES,
    SERIES_INSTANCES,
    STUDY_INSTANCES,
    STUDY_SERIES,
    Attribute,
    Level,
)
from qido.plan_tables import Statement
from qido.query import Query

COUNT_BOUND = 2_000
"""Results after a page are counted exactly up to this number, which stands for "as many or more"."""

FEW = 2_500
"""Fewer matches than this are gathered and put in order; where there are more, the newest studies soon have a page."""

Value = str | int | date | time


@dataclass(frozen=True)
class Result:
    """One patient, study, series or instance: the values of each attribute asked for, none if it is unknown.

    `keys` are those of the index: its own and those above it, without that of an instance.
    """

    keys: Mapping[Level, int]
    values: Mapping[Attribute, tuple[Value, ...]]


@dataclass(frozen=True)
class Found:
    """A page of results in their order, how many more there are after it, and of how many it is, if that was asked."""

    results: tuple[Result, ...]
    additional: int
    total: int | None = None


def find(database: Database, query: Query, few: int = FEW) -> Found:
    """Search the index; NotFound if the study or series of the path does not exist. `few` changes the way only."""
    return _gather(database, query, few) or _walk(database, query, few)


def _gather(database: Database, query: Query, few: int) -> Found | None:
    """All that matches, put in order; None if that is not `few`."""
    if plan.is_open(query) or query.offset >= few:
        return None
    rows = database.rows(plan.gathered(query, few))
    if not rows:
        _check_scope(database, query)
        return Found((), 0, _count(database, query) if query.counted else None)
    number = rows[0][1]
    if number >= few:
        return None
    results = _page(database, query, [key for key, _ in rows])
    return Found(results, max(0, number - query.offset - query.limit), number if query.counted else None)


def _walk(database: Database, query: Query, few: int) -> Found:
    """The page from the newest studies, or from all of them if these are not enough."""
    keys: list[int] = []
    for newest in plan.windows(query):
        keys = [key for (key,) in database.rows(plan.among_newest(query, newest))]
        if len(keys) > query.limit:
            break
    else:
        keys = [key for (key,) in database.rows(plan.sorted_through(query))]
    if not keys:
        _check_scope(database, query)
    additional = _additional(database, query, few) if len(keys) > query.limit else 0
    return Found(_page(database, query, keys), additional, _count(database, query) if query.counted else None)


def _additional(database: Database, query: Query, few: int) -> int:
    """How many results there are after a page that was walked to."""
    if not plan.is_open(query) and query.offset + query.limit + COUNT_BOUND <= few:
        return COUNT_BOUND  # it was gathered before, and there were too many
    found: int = database.rows(plan.additional(query, COUNT_BOUND))[0][0]
    return found


def _page(database: Database, query: Query, keys: Sequence[int]) -> tuple[Result, ...]:
    return tuple(_results(database, query, keys[: query.limit])) if query.limit and keys else ()


def count(database: Database, query: Query) -> int:
    """The number of results, whatever the page; NotFound if the study or series of the path does not exist."""
    found = _count(database, query)
    if not found:
        _check_scope(database, query)
    return found


def _count(database: Database, query: Query) -> int:
    found: int = database.rows(plan.count(query))[0][0]
    return found


def _check_scope(database: Database, query: Query) -> None:
    if query.study_uid and not database.rows(plan.scope(query)):
        raise NotFound("there is no such series in this study" if query.series_uid else "there is no such study")


def _results(database: Database, query: Query, keys: Sequence[int]) -> list[Result]:
    stored = tuple(attribute for attribute in query.returned if attribute not in _FROM_SERIES | _OF_PATIENTS)
    rows = {row[0]: _result(row, stored) for row in database.rows(plan_results.columns(query, stored, keys))}
    results = [rows[key] for key in keys if key in rows]  # one may have gone since the page was found
    if from_series := _FROM_SERIES.intersection(query.returned):
        results = _with_series(database, query.scope, results, from_series)
    if STUDY_INSTANCES in query.returned:
        results = _with_count(
            database, query.scope, results, STUDY_INSTANCES, plan_results.instances_of_studies, Level.STUDY
        )
    if SERIES_INSTANCES in query.returned:
        results = _with_count(
            database, query.scope, results, SERIES_INSTANCES, plan_results.instances_of_series, Level.SERIES
        )
    if of_patients := _OF_PATIENTS.intersection(query.returned):
        results = _with_patient_counts(database, query.scope, results, of_patients)
    return results


_FROM_SERIES = frozenset({MODALITIES_IN_STUDY, STUDY_SERIES})
"""What is gathered from the series of a study, so that it is right whatever the index says."""

_OF_PATIENTS = frozenset({PATIENT_STUDIES, PATIENT_SERIES, PATIENT_INSTANCES})
"""What is gathered from the studies of a patient: the index has no column for it."""


def _result(row: Sequence[Any], stored: Sequence[Attribute]) -> Result:
    keys, raw_values = row[1 : len(row) - len(stored)], row[len(row) - len(stored) :]
    values = {attribute: _values(attribute, raw) for attribute, raw in zip(stored, raw_values, strict=True)}
    return Result(dict(zip(plan_results.KEYED, keys, strict=False)), values)


def _with_series(database: Database, scope: Scope, results: Sequence[Result], wanted: Set[Attribute]) -> list[Result]:
    modalities: defaultdict[int, set[str]] = defaultdict(set)
    counts: defaultdict[int, int] = defaultdict(int)
    study_keys = {of.keys[Level.STUDY] for of in results}
    for study_key, modality, number in database.rows(plan_results.series_of_studies(study_keys, scope)):
        modalities[study_key].update(map(str, _values(MODALITY, modality)))
        counts[study_key] += number

    def gathered(key: int) -> Mapping[Attribute, tuple[Value, ...]]:
        found: dict[Attribute, tuple[Value, ...]] = {
            MODALITIES_IN_STUDY: tuple(sorted(modalities[key])),
            STUDY_SERIES: (counts[key],),
        }
        return {attribute: found[attribute] for attribute in wanted}

    return [_with(result, gathered(result.keys[Level.STUDY])) for result in results]


def _with_patient_counts(
    database: Database, scope: Scope, results: Sequence[Result], wanted: Set[Attribute]
) -> list[Result]:
    """The results, with what belongs to their patients counted. Instances are unknown if those of one study are."""
    patient_keys = {of.keys[Level.PATIENT] for of in results}
    studies: defaultdict[int, dict[int, int]] = defaultdict(dict)  # by patient: instances by study, 0 if unknown
    for patient_key, study_key, number in database.rows(plan_results.studies_of_patients(patient_keys, scope)):
        studies[patient_key][study_key] = number or 0
    study_keys = {study_key for of in studies.values() for study_key in of}
    uncounted = {study_key for of in studies.values() for study_key, number in of.items() if not number}
    series: defaultdict[int, int] = defaultdict(int)
    for study_key, _, number in database.rows(plan_results.series_of_studies(study_keys, scope)) if study_keys else ():
        series[study_key] += number
    rows = database.rows(plan_results.instances_of_studies(uncounted, scope)) if uncounted else ()
    instances: dict[int, int] = {study_key: number for study_key, number in rows}

    def counted(key: int) -> Mapping[Attribute, tuple[Value, ...]]:
        numbers = [number or instances.get(study_key, 0) for study_key, number in studies[key].items()]
        found: dict[Attribute, tuple[Value, ...]] = {
            PATIENT_STUDIES: (len(numbers),),
            PATIENT_SERIES: (sum(series[study_key] for study_key in studies[key]),),
            PATIENT_INSTANCES: (sum(numbers),) if all(numbers) else (),
        }
        return {attribute: found[attribute] for attribute in wanted}

    return [_with(result, counted(result.keys[Level.PATIENT])) for result in results]


def _with_count(
    database: Database,
    scope: Scope,
    results: Sequence[Result],
    attribute: Attribute,
    statement: Callable[[Iterable[int], Scope], Statement],
    level: Level,
) -> list[Result]:
    """The results, with the instances counted where the index has no count. None found is unknown, not 0."""
    uncounted = {of.keys[level] for of in results if not of.values[attribute]}
    if not uncounted:
        return list(results)
    counts = {key: (number,) for key, number in database.rows(statement(uncounted, scope))}
    return [_with(of, {attribute: of.values[attribute] or counts.get(of.keys[level], ())}) for of in results]


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
