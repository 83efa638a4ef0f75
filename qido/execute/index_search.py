"""From a query to what the index holds: statements are run, and the index's oddities end here."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from db.engine import Database
from db.scope import Scope
from dicomweb.uids import absent
from qido.execute.column_values import parse_list
from qido.image_sets.archive import Archive, locate, with_unindexed
from qido.image_sets.truncated_uids import with_long_uids
from qido.parse.attributes import (
    MODALITIES_IN_STUDY,
    MODALITY,
    PATIENT_INSTANCES,
    PATIENT_SERIES,
    PATIENT_STUDIES,
    RELATED_INSTANCES,
    SERIES_INSTANCES,
    STUDY_INSTANCES,
    STUDY_SERIES,
    UIDS,
    Level,
    SearchAttribute,
)
from qido.parse.query import Query
from qido.plan import result_columns, statement_cache, statements
from qido.plan.sort_order import in_order
from qido.plan.tables import Statement
from qido.results import Result, ResultPage, Value

COUNT_BOUND = 2_000
"""Results after a page are counted exactly up to this number, which stands for "as many or more"."""

FEW = 2_100
"""Fewer matches than this are gathered and put in order; where there are more, the newest studies soon have a page."""

_LEVELS = tuple(Level)
_HANDFUL = 101
"""Of what IDs and UIDs name, fewer than this are asked for at once."""


def find(archive: Archive, query: Query, few: int = FEW) -> ResultPage:
    """Search the index; NotFound if the study or series of the path does not exist. `few` changes the way only."""
    return _named(archive, query, min(few, _HANDFUL)) or _gather(archive, query, few) or _walk(archive, query, few)


def _named(archive: Archive, query: Query, few: int) -> ResultPage | None:
    """All that IDs and UIDs name, put in order; None if something else is asked for, or if that is not `few`."""
    if not (made := statement_cache.by_identifier(query, few)):
        return None
    named, parameters = made
    rows = [row for (row,) in archive.database.rows(named.statement, parameters)]
    number = len(rows)
    if number >= few:
        return None
    if not number:
        check_scope(archive.database, query)
    page = in_order(rows, named.terms)[query.offset : query.offset + query.limit]
    additional = max(0, number - query.offset - query.limit)
    return ResultPage(tuple(_results(archive, query, page)), additional, number if query.counted else None)


def _gather(archive: Archive, query: Query, few: int) -> ResultPage | None:
    """All that matches, put in order; None if that is not `few`."""
    if statements.is_open(query) or query.offset >= few:
        return None
    database = archive.database
    rows = database.rows(*statement_cache.collect_and_sort(query, few))
    if not rows:
        check_scope(database, query)
        return ResultPage((), 0, count(database, query) if query.counted else None)
    number = rows[0][0]
    if number >= few:
        return None
    results = tuple(_results(archive, query, [row for _, row in rows[: query.limit]]))
    return ResultPage(results, max(0, number - query.offset - query.limit), number if query.counted else None)


def _walk(archive: Archive, query: Query, few: int) -> ResultPage:
    """The page from the newest studies, or from all of them if these are not enough."""
    database, keys = archive.database, list[int]()
    newest = statements.next_window(query)
    while newest and len(keys) <= query.limit:
        keys = [key for (key,) in database.rows(statements.scan_newest(query, newest))]
        newest = statements.next_window(query, newest, query.offset + len(keys) if keys else 0)
    if len(keys) <= query.limit:
        keys = [key for (key,) in database.rows(statement_cache.sort_all(query))]
    if not keys:
        check_scope(database, query)
    additional = _additional(database, query, few) if len(keys) > query.limit else 0
    return ResultPage(_page(archive, query, keys), additional, count(database, query) if query.counted else None)


def _additional(database: Database, query: Query, few: int) -> int:
    """How many results there are after a page that was walked to."""
    if not statements.is_open(query) and query.offset + query.limit + COUNT_BOUND <= few:
        return COUNT_BOUND  # it was gathered before, and there were too many
    found: int = database.rows(statement_cache.count_further(query, COUNT_BOUND))[0][0]
    return found


def _page(archive: Archive, query: Query, keys: Sequence[int]) -> tuple[Result, ...]:
    return tuple(results_of(archive, query, keys[: query.limit])) if query.limit and keys else ()


def count(database: Database, query: Query) -> int:
    """The number of results, whatever the page."""
    found: int = database.rows(statements.count(query))[0][0]
    return found


def check_scope(database: Database, query: Query) -> None:
    """NotFound if the study or series of the path does not exist."""
    if query.study_uid and not database.rows(statements.scope(query)):
        what = "there is no such series in this study" if query.series_uid else "there is no such study"
        raise absent(what, *query.path_uids)


def results_of(archive: Archive, query: Query, keys: Sequence[int]) -> list[Result]:
    """The results with these keys, in their order."""
    rows = {row[query.level]: row for (row,) in archive.database.rows(statement_cache.columns(query), {"keys": keys})}
    return _results(archive, query, [rows[key] for key in keys if key in rows])  # one may have gone meanwhile


def _results(archive: Archive, query: Query, rows: Sequence[Sequence[Any]]) -> list[Result]:
    """The results with these lists of `result_columns.columns`."""
    read = [one for one in map(_reader(query), rows) if _has_uids(query, one)]
    if not read:
        return []
    results = with_long_uids(archive, query, read)
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
    """Whether a result has the UIDs by which it is retrieved; a row without them cannot be shown."""
    return all(result.values[uid] for uid in UIDS if uid.level <= query.level)


def _reader(query: Query) -> Callable[[Sequence[Any]], Result]:
    """What makes a result of a list, which may have more than `result_columns.columns`."""
    attributes, first, from_series = result_columns.stored(query), query.level + 1, result_columns.has_series(query)
    wanted = result_columns.FROM_SERIES.intersection(query.returned)

    def read(row: Sequence[Any]) -> Result:
        values = {attribute: _values(attribute, raw) for attribute, raw in zip(attributes, row[first:], strict=False)}
        if from_series:
            texts = row[first + len(attributes)]
            values |= _of_series(wanted, [] if texts is None else texts.split("\n"))
        return Result(dict(zip(_LEVELS, row[:first], strict=False)), values)

    return read


def _of_series(wanted: Set[SearchAttribute], modalities: Sequence[str]) -> Mapping[SearchAttribute, tuple[Value, ...]]:
    """What is said of a study whose series have these modalities; several in one have a backslash between them."""
    found: dict[SearchAttribute, tuple[Value, ...]] = {
        MODALITIES_IN_STUDY: tuple(sorted({one for of in set(modalities) for one in _modalities(of)})),
        STUDY_SERIES: (len(modalities),),
    }
    return {attribute: found[attribute] for attribute in wanted}


def _modalities(text: str | None) -> set[str]:
    """Those of one series."""
    return {str(value) for part in (text or "").split("\\") for value in _values(MODALITY, part)}


def _with_series(
    database: Database, scope: Scope, results: Sequence[Result], wanted: Set[SearchAttribute]
) -> list[Result]:
    modalities: defaultdict[int, list[str]] = defaultdict(list)
    study_keys = list({of.keys[Level.STUDY] for of in results})
    for study_key, modality, number in database.rows(result_columns.series_of_studies(scope), {"keys": study_keys}):
        modalities[study_key] += [modality or ""] * number
    return [_with(result, _of_series(wanted, modalities[result.keys[Level.STUDY]])) for result in results]


def _with_patient_counts(
    archive: Archive, scope: Scope, results: Sequence[Result], wanted: Set[SearchAttribute]
) -> list[Result]:
    """The results, with what belongs to their patients counted. Instances are unknown if those of one study are."""
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


def _with(result: Result, values: Mapping[SearchAttribute, tuple[Value, ...]], truncated: bool = False) -> Result:
    return replace(result, values={**result.values, **values}, truncated=result.truncated or truncated)


def _values(attribute: SearchAttribute, raw: Any) -> tuple[Value, ...]:
    """The values of a column, without what the writer of the index puts there for "absent" or "several"."""
    if raw is None or (raw == 0 and attribute in RELATED_INSTANCES):
        return ()
    if not isinstance(raw, str):
        return (raw,)
    text = raw.strip()
    is_list = text.startswith("[") and attribute not in UIDS
    texts = [one.strip() for one in parse_list(text)] if is_list else [text]
    return tuple([one for one in texts if one not in attribute.placeholders])
