"""The results of a page, made of rows of the index."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from db.engine import Database
from db.index_kind import IndexKind
from db.scope import Scope
from qido.execute.column_values import column_values
from qido.image_sets.archive import Archive
from qido.image_sets.located_series import locate
from qido.image_sets.truncated_uids import with_whole_uids
from qido.image_sets.unindexed_values import with_unindexed
from qido.parse.attributes import (
    MODALITIES_IN_STUDY,
    MODALITY,
    PATIENT_INSTANCES,
    PATIENT_SERIES,
    PATIENT_STUDIES,
    SERIES_INSTANCES,
    STUDY_INSTANCES,
    STUDY_SERIES,
    UIDS,
    Level,
    SearchAttribute,
)
from qido.parse.query import Query
from qido.plan import result_columns, statement_cache
from qido.plan.tables import Statement
from qido.results import Result, Value

_LEVELS = tuple(Level)


def results_of(archive: Archive, query: Query, keys: Sequence[int]) -> list[Result]:
    """Fetch the results with these keys, in their order."""
    rows = {row[query.level]: row for (row,) in archive.database.rows(statement_cache.columns(query), {"keys": keys})}
    return read_rows(
        archive, query, [rows[key] for key in keys if key in rows]
    )  # a row may have been deleted meanwhile


def read_rows(archive: Archive, query: Query, rows: Sequence[Sequence[Any]]) -> list[Result]:
    """Make results of rows of `result_columns.columns`, and fetch what these lack."""
    kind = archive.database.index_kind
    read = [one for one in map(_reader(query, kind), rows) if _has_uids(query, one)]
    if not read:
        return []
    results = with_whole_uids(archive, query, read) if kind is IndexKind.LEGACY else read
    wanted = result_columns.FROM_SERIES.intersection(query.returned)
    if wanted and not result_columns.has_series(query):
        results = _with_series(archive.database, query.scope, results, wanted)
    if STUDY_INSTANCES in query.returned:
        results = _with_count(
            archive, query.scope, results, STUDY_INSTANCES, result_columns.instances_of_studies, Level.STUDY
        )
    if SERIES_INSTANCES in query.returned:
        results = _with_count(
            archive, query.scope, results, SERIES_INSTANCES, result_columns.instances_of_series, Level.SERIES
        )
    if of_patients := result_columns.OF_PATIENTS.intersection(query.returned):
        results = _with_patient_counts(archive, query.scope, results, of_patients)
    return with_unindexed(archive, query, results) if query.unindexed or query.everything else results


def _has_uids(query: Query, result: Result) -> bool:
    """Whether a result has the UIDs by which it can be retrieved; rows without them are left out."""
    return all(result.values[uid] for uid in UIDS if uid.level <= query.level)


def _reader(query: Query, kind: IndexKind) -> Callable[[Sequence[Any]], Result]:
    """A function that makes a result of a row, which may have more than `result_columns.columns`."""
    attributes, first, from_series = result_columns.stored(query), query.level + 1, result_columns.has_series(query)
    wanted = result_columns.FROM_SERIES.intersection(query.returned)

    def read(row: Sequence[Any]) -> Result:
        values = {
            attribute: column_values(kind, attribute, raw)
            for attribute, raw in zip(attributes, row[first:], strict=False)
        }
        if from_series:
            texts = row[first + len(attributes)]
            values |= _of_series(kind, wanted, [] if texts is None else texts.split("\n"))
        return Result(dict(zip(_LEVELS, row[:first], strict=False)), values)

    return read


def _of_series(
    kind: IndexKind, wanted: Set[SearchAttribute], modalities: Sequence[str]
) -> Mapping[SearchAttribute, tuple[Value, ...]]:
    """The attributes of a study whose series have these modalities; a backslash separates several of one series."""
    found: dict[SearchAttribute, tuple[Value, ...]] = {
        MODALITIES_IN_STUDY: tuple(sorted({one for of in set(modalities) for one in _modalities(kind, of)})),
        STUDY_SERIES: (len(modalities),),
    }
    return {attribute: found[attribute] for attribute in wanted}


def _modalities(kind: IndexKind, text: str | None) -> set[str]:
    """The modalities of one series."""
    return {str(value) for part in (text or "").split("\\") for value in column_values(kind, MODALITY, part)}


def _with_series(
    database: Database, scope: Scope, results: Sequence[Result], wanted: Set[SearchAttribute]
) -> list[Result]:
    modalities: defaultdict[int, list[str]] = defaultdict(list)
    study_keys = list({of.keys[Level.STUDY] for of in results})
    for study_key, modality, number in database.rows(result_columns.series_of_studies(scope), {"keys": study_keys}):
        modalities[study_key] += [modality or ""] * number
    kind = database.index_kind
    return [_with(result, _of_series(kind, wanted, modalities[result.keys[Level.STUDY]])) for result in results]


def _with_patient_counts(
    archive: Archive, scope: Scope, results: Sequence[Result], wanted: Set[SearchAttribute]
) -> list[Result]:
    """The results with the counts of their patients. Instances are unknown if those of one study are unknown."""
    database = archive.database
    patient_keys = list({of.keys[Level.PATIENT] for of in results})
    studies: defaultdict[int, dict[int, int]] = defaultdict(dict)  # by patient: instances by study, 0 if unknown
    studies_of = result_columns.studies_of_patients(scope)
    for patient_key, study_key, number in database.rows(studies_of, {"keys": patient_keys}):
        studies[patient_key][study_key] = number or 0
    study_keys = [study_key for of in studies.values() for study_key in of]
    uncounted = [study_key for of in studies.values() for study_key, number in of.items() if not number]
    series: defaultdict[int, int] = defaultdict(int)
    series_of = result_columns.series_of_studies(scope)
    for study_key, _, number in database.rows(series_of, {"keys": study_keys}) if study_keys else ():
        series[study_key] += number
    instances, beyond = _counts(archive, scope, Level.STUDY, uncounted, result_columns.instances_of_studies)

    def counted(result: Result) -> Result:
        of = studies[result.keys[Level.PATIENT]]
        numbers = [number or instances.get(study_key, 0) for study_key, number in of.items()]
        found: dict[SearchAttribute, tuple[Value, ...]] = {
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
    attribute: SearchAttribute,
    statement: Callable[[Scope], Statement],
    level: Level,
) -> list[Result]:
    """The results with their instances counted if the index has no count. No instances means unknown, not 0."""
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
    """The numbers of instances of studies or series, by rows of the index, else by their image sets.

    Also the keys whose image sets are too many to be read.
    """
    if not keys:
        return {}, frozenset()
    counts: dict[int, int] = {key: number for key, number in archive.database.rows(statement(scope), {"keys": keys})}
    rest = [key for key in keys if key not in counts]
    if not rest:
        return counts, frozenset()
    series = locate(archive, scope, level, rest, whole=True, most=archive.max_image_sets)
    return counts | {key: len(series.instances(key)) for key in rest}, series.beyond


def _with(result: Result, values: Mapping[SearchAttribute, tuple[Value, ...]], truncated: bool = False) -> Result:
    return replace(result, values={**result.values, **values}, truncated=result.truncated or truncated)
