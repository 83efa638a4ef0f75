"""From a query to what the index holds: statements are run, and the index's oddities end here."""

import ast
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from db.engine import Database
from db.scope import Scope
from dicomweb.errors import NotFound
from qido import plan, plan_once, plan_results
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
from qido.image_sets import Archive, locate, with_lacking
from qido.plan_tables import Statement
from qido.query import Query
from qido.result import Found, Result, Value

COUNT_BOUND = 2_000
"""Results after a page are counted exactly up to this number, which stands for "as many or more"."""

FEW = 2_500
"""Fewer matches than this are gathered and put in order; where there are more, the newest studies soon have a page."""


def find(archive: Archive, query: Query, few: int = FEW) -> Found:
    """Search the index; NotFound if the study or series of the path does not exist. `few` changes the way only."""
    return _gather(archive, query, few) or _walk(archive, query, few)


def _gather(archive: Archive, query: Query, few: int) -> Found | None:
    """All that matches, put in order; None if that is not `few`."""
    if plan.is_open(query) or query.offset >= few:
        return None
    database = archive.database
    rows = database.rows(*plan_once.gathered(query, few))
    if not rows:
        check_scope(database, query)
        return Found((), 0, count(database, query) if query.counted else None)
    number = rows[0][0]
    if number >= few:
        return None
    results = tuple(_results(archive, query, [row[1:] for row in rows[: query.limit]]))
    return Found(results, max(0, number - query.offset - query.limit), number if query.counted else None)


def _walk(archive: Archive, query: Query, few: int) -> Found:
    """The page from the newest studies, or from all of them if these are not enough."""
    database, keys = archive.database, list[int]()
    for newest in plan.windows(query):
        keys = [key for (key,) in database.rows(plan.among_newest(query, newest))]
        if len(keys) > query.limit:
            break
    else:
        keys = [key for (key,) in database.rows(plan_once.sorted_through(query))]
    if not keys:
        check_scope(database, query)
    additional = _additional(database, query, few) if len(keys) > query.limit else 0
    return Found(_page(archive, query, keys), additional, count(database, query) if query.counted else None)


def _additional(database: Database, query: Query, few: int) -> int:
    """How many results there are after a page that was walked to."""
    if not plan.is_open(query) and query.offset + query.limit + COUNT_BOUND <= few:
        return COUNT_BOUND  # it was gathered before, and there were too many
    found: int = database.rows(plan_once.additional(query, COUNT_BOUND))[0][0]
    return found


def _page(archive: Archive, query: Query, keys: Sequence[int]) -> tuple[Result, ...]:
    return tuple(results_of(archive, query, keys[: query.limit])) if query.limit and keys else ()


def count(database: Database, query: Query) -> int:
    """The number of results, whatever the page."""
    found: int = database.rows(plan.count(query))[0][0]
    return found


def check_scope(database: Database, query: Query) -> None:
    """NotFound if the study or series of the path does not exist."""
    if query.study_uid and not database.rows(plan.scope(query)):
        raise NotFound("there is no such series in this study" if query.series_uid else "there is no such study")


def results_of(archive: Archive, query: Query, keys: Sequence[int]) -> list[Result]:
    """The results with these keys, in their order."""
    rows = {row[0]: row for row in archive.database.rows(plan_once.columns(query), {"keys": keys})}
    return _results(archive, query, [rows[key] for key in keys if key in rows])  # one may have gone meanwhile


def _results(archive: Archive, query: Query, rows: Sequence[Sequence[Any]]) -> list[Result]:
    """The results with these rows of `plan_results.columns`."""
    if not rows:
        return []
    stored = plan_results.stored(query)
    results = [_result(row, stored) for row in rows]
    if from_series := plan_results.FROM_SERIES.intersection(query.returned).difference(stored):
        results = _with_series(archive.database, query.scope, results, from_series)
    if STUDY_INSTANCES in query.returned:
        results = _with_count(
            archive, query.scope, results, STUDY_INSTANCES, plan_results.instances_of_studies, Level.STUDY
        )
    if SERIES_INSTANCES in query.returned:
        results = _with_count(
            archive, query.scope, results, SERIES_INSTANCES, plan_results.instances_of_series, Level.SERIES
        )
    if of_patients := plan_results.OF_PATIENTS.intersection(query.returned):
        results = _with_patient_counts(archive, query.scope, results, of_patients)
    return with_lacking(archive, query, results) if query.lacking or query.everything else results


def _result(row: Sequence[Any], stored: Sequence[Attribute]) -> Result:
    keys, raw_values = row[1 : len(row) - len(stored)], row[len(row) - len(stored) :]
    values = {attribute: _stored(attribute, raw) for attribute, raw in zip(stored, raw_values, strict=True)}
    return Result(dict(zip(plan_results.KEYED, keys, strict=False)), values)


def _stored(attribute: Attribute, raw: Any) -> tuple[Value, ...]:
    return tuple(sorted(_modalities(raw))) if attribute is MODALITIES_IN_STUDY else _values(attribute, raw)


def _modalities(texts: str | None) -> set[str]:
    """Those of several series, or of one, with backslashes between them."""
    return {str(value) for text in (texts or "").split("\\") for value in _values(MODALITY, text)}


def _with_series(database: Database, scope: Scope, results: Sequence[Result], wanted: Set[Attribute]) -> list[Result]:
    modalities: defaultdict[int, set[str]] = defaultdict(set)
    counts: defaultdict[int, int] = defaultdict(int)
    study_keys = list({of.keys[Level.STUDY] for of in results})
    for study_key, modality, number in database.rows(plan_results.series_of_studies(scope), {"keys": study_keys}):
        modalities[study_key].update(_modalities(modality))
        counts[study_key] += number

    def gathered(key: int) -> Mapping[Attribute, tuple[Value, ...]]:
        found: dict[Attribute, tuple[Value, ...]] = {
            MODALITIES_IN_STUDY: tuple(sorted(modalities[key])),
            STUDY_SERIES: (counts[key],),
        }
        return {attribute: found[attribute] for attribute in wanted}

    return [_with(result, gathered(result.keys[Level.STUDY])) for result in results]


def _with_patient_counts(
    archive: Archive, scope: Scope, results: Sequence[Result], wanted: Set[Attribute]
) -> list[Result]:
    """The results, with what belongs to their patients counted. Instances are unknown if those of one study are."""
    database = archive.database
    patient_keys = list({of.keys[Level.PATIENT] for of in results})
    studies: defaultdict[int, dict[int, int]] = defaultdict(dict)  # by patient: instances by study, 0 if unknown
    studies_of = plan_results.studies_of_patients(scope)
    for patient_key, study_key, number in database.rows(studies_of, {"keys": patient_keys}):
        studies[patient_key][study_key] = number or 0
    study_keys = [study_key for of in studies.values() for study_key in of]
    uncounted = [study_key for of in studies.values() for study_key, number in of.items() if not number]
    series: defaultdict[int, int] = defaultdict(int)
    series_of = plan_results.series_of_studies(scope)
    for study_key, _, number in database.rows(series_of, {"keys": study_keys}) if study_keys else ():
        series[study_key] += number
    instances, beyond = _counts(archive, scope, Level.STUDY, uncounted, plan_results.instances_of_studies)

    def counted(result: Result) -> Result:
        of = studies[result.keys[Level.PATIENT]]
        numbers = [number or instances.get(study_key, 0) for study_key, number in of.items()]
        found: dict[Attribute, tuple[Value, ...]] = {
            PATIENT_STUDIES: (len(numbers),),
            PATIENT_SERIES: (sum(series[study_key] for study_key in of),),
            PATIENT_INSTANCES: (sum(numbers),) if all(numbers) else (),
        }
        return _with(result, {attribute: found[attribute] for attribute in wanted}, not beyond.isdisjoint(of))

    return list(map(counted, results))


def _with_count(
    archive: Archive,
    scope: Scope,
    results: Sequence[Result],
    attribute: Attribute,
    statement: Callable[[Scope], Statement],
    level: Level,
) -> list[Result]:
    """The results, with the instances counted where the index has no count. None found is unknown, not 0."""
    uncounted = list(dict.fromkeys(of.keys[level] for of in results if not of.values[attribute]))
    if not uncounted:
        return list(results)
    counts, beyond = _counts(archive, scope, level, uncounted, statement)

    def counted(of: Result) -> Result:
        number = counts.get(of.keys[level])
        found = of.values[attribute] or ((number,) if number else ())
        return _with(of, {attribute: found}, of.keys[level] in beyond)

    return list(map(counted, results))


def _counts(
    archive: Archive,
    scope: Scope,
    level: Level,
    keys: Sequence[int],
    statement: Callable[[Scope], Statement],
) -> tuple[dict[int, int], frozenset[int]]:
    """How many instances the studies or series have, by the rows of the index, else by their image sets; and of which
    these are too many.
    """
    if not keys:
        return {}, frozenset()
    counts: dict[int, int] = {key: number for key, number in archive.database.rows(statement(scope), {"keys": keys})}
    rest = [key for key in keys if key not in counts]
    if not rest:
        return counts, frozenset()
    series = locate(archive, scope, level, rest, whole=True, most=archive.max_image_sets)
    return counts | {key: len(series.instances(key)) for key in rest}, series.beyond


def _with(result: Result, values: Mapping[Attribute, tuple[Value, ...]], curtailed: bool = False) -> Result:
    return replace(result, values={**result.values, **values}, curtailed=result.curtailed or curtailed)


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
