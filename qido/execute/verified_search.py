"""Searches where rows may be wrong: image sets take the place of such rows, and results are compared with them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ahi.retrieval.located_image_sets import LocatedImageSet
from ahi.retrieval.series_merge import preferred
from db.index_kind import IndexKind
from db.scope import Scope
from dicomweb.uids import absent
from qido.image_sets import result_order, results_from_metadata
from qido.image_sets.archive import Archive
from qido.image_sets.doubtful_studies import PATIENT
from qido.image_sets.doubts import UNCHECKED, Doubts
from qido.image_sets.index_values import index_values
from qido.image_sets.located_series import LocatedSeries, locate
from qido.image_sets.matching import fulfils
from qido.parse.attributes import BY_TAG, INSTANCE_UID, MODALITIES_IN_STUDY, STUDY_UID, Level, Matching, SearchAttribute
from qido.parse.conditions import Condition
from qido.parse.query import Query
from qido.plan import doubtful_rows
from qido.results import Result, ResultPage, Value

_PATIENT_ID = BY_TAG["00100020"]


def search(archive: Archive, query: Query, doubts: Doubts, rest: Callable[[Query], ResultPage]) -> ResultPage:
    """Search for the page of a query; `rest` searches what is not in doubt."""
    seen = result_order.in_order(
        query,
        results_from_metadata.results(
            archive,
            result_order.with_terms(query),
            results_from_metadata.views(archive, query, doubts.image_sets),
        ),
    )
    if doubts.alone:
        _check_path(query, doubts)
        page = seen[query.offset : query.offset + query.limit]
        more = max(0, len(seen) - query.offset - query.limit)
        found = ResultPage(tuple(result_order.without_terms(query, page)), more, len(seen) if query.counted else None)
    else:
        wider = replace(result_order.with_terms(_sure(query, doubts)), limit=query.offset + query.limit, offset=0)
        sure = rest(wider)
        listed = result_order.merge(query, sure.results, seen)[query.offset : query.offset + query.limit]
        more = max(0, len(sure.results) + len(seen) + sure.additional - query.offset - query.limit)
        total = None if sure.total is None else sure.total + len(seen)
        found = ResultPage(tuple(result_order.without_terms(query, listed)), more, total, sure.warnings)
    shown = tuple(_blanked(one) if one.keys.get(Level.PATIENT) in doubts.blank else one for one in found.results)
    return replace(found, results=shown, warnings=(*found.warnings, *doubts.warnings))


def count(archive: Archive, query: Query, doubts: Doubts, rest: Callable[[Query], int]) -> int:
    """Count all results; `rest` counts those that are not in doubt."""
    seen = len(results_from_metadata.views(archive, query, doubts.image_sets))
    if doubts.alone:
        _check_path(query, doubts)
        return seen
    return seen + rest(_sure(query, doubts))


def verified(archive: Archive, query: Query, found: ResultPage) -> ResultPage:
    """The results that their image sets confirm, each with the patient and study that these name.

    All results of callers with a filter, or with some of several data stores, are compared. For other callers, results
    are compared if patients of different data stores have the same ID and so share a row. Up to `max_image_sets` image
    sets are read; rows beyond count as right, except for patients of different data stores.
    """
    shared = _in_datastores(archive, query, found)
    limited = _is_limited(archive, query)
    in_question = [one for one in found.results if one.keys and (limited or _patient(one) in shared)]
    if archive.checks is None or not in_question:
        return found
    level = min(query.level, Level.SERIES)
    keys = list(dict.fromkeys(one.keys[level] for one in in_question))
    sets = locate(archive, query.scope, level, keys, whole=True, most=archive.max_image_sets)
    results: list[Result] = []
    unchecked = 0
    for one in found.results:
        if one.keys.get(level) not in sets.by_key and one.keys.get(level) not in sets.beyond:
            results.append(one)
        elif one.keys[level] in sets.beyond:
            unchecked += _patient(one) in shared
            results.append(_blanked(one) if _patient(one) in shared else one)
        else:
            results += _confirmed(archive, query, one, sets)
    warnings = (UNCHECKED,) if unchecked else ()
    return replace(found, results=tuple(results), warnings=(*found.warnings, *warnings))


def _is_limited(archive: Archive, query: Query) -> bool:
    """Whether the caller may see only a part of the index; shared rows must not show the rest.

    Rows of own tables are of one data store.
    """
    if archive.database.index_kind is IndexKind.OWN:
        return bool(query.scope.filters)
    some = query.scope.datastore_ids is not None and archive.checks is not None and archive.checks.facts().datastores
    return some or bool(query.scope.filters)


def _in_datastores(archive: Archive, query: Query, found: ResultPage) -> set[int]:
    """The patients of results with image sets in several data stores, if attributes that they share are returned."""
    keys = sorted({one.keys[Level.PATIENT] for one in found.results if one.keys})
    if not keys or archive.checks is None or PATIENT.isdisjoint(query.returned):
        return set()
    if archive.database.index_kind is IndexKind.OWN:
        return set()
    if not archive.checks.facts().datastores:
        return set()
    return {key for key, *_ in archive.database.rows(doubtful_rows.patients_in_datastores(keys))}


def _confirmed(archive: Archive, query: Query, result: Result, sets: LocatedSeries) -> list[Result]:
    """The result with the values of its image sets; none if they do not confirm it."""
    image_sets = [one for of in sets.by_key[result.keys[min(query.level, Level.SERIES)]] for one in of]
    if query.level is Level.INSTANCE:
        uid = str(result.values[INSTANCE_UID][0])
        image_sets = [one for one in image_sets if uid in one.prepared.by_uid]
    if query.level is Level.PATIENT and (own_id := result.values.get(_PATIENT_ID)):
        image_sets = [one for one in image_sets if index_values(_PATIENT_ID, one.shared_attributes) == own_id]
    if not image_sets and not _is_limited(archive, query):
        return [_blanked(result)]
    if archive.checks and query.scope.asks_of_series and query.level >= Level.STUDY:
        image_sets = archive.checks.studies.seen(query.scope, str(result.values[STUDY_UID][0]), image_sets)
    conditions = [one for one in query.conditions if _is_of_image_set(one)]
    speaking = [one for one in preferred(image_sets) if fulfils(one.shared_attributes, conditions)]
    return [_with_patient(query, result, speaking)] if speaking else []


def _with_patient(query: Query, result: Result, speaking: Sequence[LocatedImageSet]) -> Result:
    """The result with patient and study of its image sets; a patient has the values that all image sets share."""
    replaced = {key: index_values(key, speaking[0].shared_attributes) for key in result.values if _is_replaced(key)}
    if query.level is Level.PATIENT:
        alike = {
            key: all(index_values(key, one.shared_attributes) == values for one in speaking[1:])
            for key, values in replaced.items()
        }
        replaced = {key: values if alike[key] else () for key, values in replaced.items()}
    return replace(result, values={**result.values, **replaced})


def _is_replaced(attribute: SearchAttribute) -> bool:
    """Whether the value of an image set replaces that of the row of a patient or study."""
    counted = attribute.matching is Matching.NONE or attribute is MODALITIES_IN_STUDY
    return attribute.level <= Level.STUDY and not counted


def _is_of_image_set(condition: Condition) -> bool:
    """Whether one image set is enough to check the condition."""
    return all(key.level is not Level.INSTANCE and key is not MODALITIES_IN_STUDY for key in condition.keys)


def _patient(result: Result) -> int | None:
    return result.keys.get(Level.PATIENT)


def _check_path(query: Query, doubts: Doubts) -> None:
    """NotFound if the study or series of the path does not exist."""
    if query.study_uid is None:
        return
    series = {one.prepared.series_instance_uid for one in doubts.image_sets}
    if not series or (query.series_uid and query.series_uid not in series):
        what = "there is no such series in this study" if query.series_uid else "there is no such study"
        raise absent(what, *query.path_uids)


def _sure(query: Query, doubts: Doubts) -> Query:
    return replace(query, scope=query.scope & Scope(hidden=doubts.hidden))


def _blanked(result: Result) -> Result:
    """The result without the attributes that may be of another patient."""
    empty: dict[SearchAttribute, tuple[Value, ...]] = {key: () for key in result.values if key in PATIENT}
    return replace(result, values={**result.values, **empty})
