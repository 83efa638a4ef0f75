"""Searches among rows that may be wrong: what the image sets say of themselves takes the place of such rows."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ahi.retrieval.located_image_sets import LocatedImageSet
from ahi.retrieval.series_merge import preferred
from db.scope import Scope
from dicomweb.uids import absent
from qido.image_sets import results_from_metadata
from qido.image_sets.archive import Archive, Series, locate
from qido.image_sets.doubtful_studies import PATIENT, UNCHECKED, Doubts
from qido.image_sets.index_values import index_values
from qido.image_sets.matching import fulfils
from qido.parse.attributes import BY_TAG, INSTANCE_UID, MODALITIES_IN_STUDY, STUDY_UID, Level, Matching, SearchAttribute
from qido.parse.conditions import Condition
from qido.parse.query import Query
from qido.plan import doubtful_rows
from qido.results import Result, ResultPage, Value

_PATIENT_ID = BY_TAG["00100020"]


def search(archive: Archive, query: Query, doubts: Doubts, rest: Callable[[Query], ResultPage]) -> ResultPage:
    """The page of a query; `rest` finds what is not in doubt."""
    seen = results_from_metadata.in_order(
        query,
        results_from_metadata.results(
            archive,
            results_from_metadata.with_terms(query),
            results_from_metadata.views(archive, query, doubts.image_sets),
        ),
    )
    if doubts.alone:
        _check_path(query, doubts)
        page = seen[query.offset : query.offset + query.limit]
        more = max(0, len(seen) - query.offset - query.limit)
        found = ResultPage(
            tuple(results_from_metadata.without_terms(query, page)), more, len(seen) if query.counted else None
        )
    else:
        wider = replace(
            results_from_metadata.with_terms(_sure(query, doubts)), limit=query.offset + query.limit, offset=0
        )
        sure = rest(wider)
        listed = results_from_metadata.merge(query, sure.results, seen)[query.offset : query.offset + query.limit]
        more = max(0, len(sure.results) + len(seen) + sure.additional - query.offset - query.limit)
        total = None if sure.total is None else sure.total + len(seen)
        found = ResultPage(tuple(results_from_metadata.without_terms(query, listed)), more, total, sure.warnings)
    shown = tuple(_blanked(one) if one.keys.get(Level.PATIENT) in doubts.blank else one for one in found.results)
    return replace(found, results=shown, warnings=(*found.warnings, *doubts.warnings))


def count(archive: Archive, query: Query, doubts: Doubts, rest: Callable[[Query], int]) -> int:
    """The number of all results; `rest` counts those that are not in doubt."""
    seen = len(results_from_metadata.views(archive, query, doubts.image_sets))
    if doubts.alone:
        _check_path(query, doubts)
        return seen
    return seen + rest(_sure(query, doubts))


def verified(archive: Archive, query: Query, found: ResultPage) -> ResultPage:
    """What was found, as far as the image sets bear it out, each result with the patient and study of its own ones.

    Whoever has a filter, or some of several data stores only, sees nothing that the image sets do not bear out. For
    others this is done where patients of different data stores have the same ID, and so share a row. As in all
    searches, `max_image_sets` are looked at; rows beyond are believed, but for patients of different data stores.
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
            results += _borne_out(archive, query, one, sets)
    warnings = (UNCHECKED,) if unchecked else ()
    return replace(found, results=tuple(results), warnings=(*found.warnings, *warnings))


def _is_limited(archive: Archive, query: Query) -> bool:
    """Whether the caller may not see all that the index has, which must not show through rows that several share."""
    some = query.scope.datastore_ids is not None and archive.checks is not None and archive.checks.facts().datastores
    return some or bool(query.scope.filters)


def _in_datastores(archive: Archive, query: Query, found: ResultPage) -> set[int]:
    """The patients of results who have image sets in several data stores, if anything is told that they share."""
    keys = sorted({one.keys[Level.PATIENT] for one in found.results if one.keys})
    if not keys or archive.checks is None or PATIENT.isdisjoint(query.returned):
        return set()
    if not archive.checks.facts().datastores:
        return set()
    return {key for key, *_ in archive.database.rows(doubtful_rows.patients_in_datastores(keys))}


def _borne_out(archive: Archive, query: Query, result: Result, sets: Series) -> list[Result]:
    """The result as its image sets tell it, if they do."""
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
    """The result with what its image sets tell of patient and study; of a patient, what they all tell."""
    told = {key: index_values(key, speaking[0].shared_attributes) for key in result.values if _is_told(key)}
    if query.level is Level.PATIENT:
        alike = {
            key: all(index_values(key, one.shared_attributes) == values for one in speaking[1:])
            for key, values in told.items()
        }
        told = {key: values if alike[key] else () for key, values in told.items()}
    return replace(result, values={**result.values, **told})


def _is_told(attribute: SearchAttribute) -> bool:
    """Whether an image set tells it in place of the row of a patient or study."""
    counted = attribute.matching is Matching.NONE or attribute is MODALITIES_IN_STUDY
    return attribute.level <= Level.STUDY and not counted


def _is_of_image_set(condition: Condition) -> bool:
    """Whether an image set alone tells if it is fulfilled."""
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
    """A result without what may be of another patient than its own."""
    empty: dict[SearchAttribute, tuple[Value, ...]] = {key: () for key in result.values if key in PATIENT}
    return replace(result, values={**result.values, **empty})
