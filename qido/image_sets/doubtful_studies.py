"""The rows of the index that may be wrong for a search, and the image sets that take their place.

Rows of AWS's tables are in doubt if their writer may have put several patients, studies or series into one row, or has
lost a time that the search is for (`qido.plan.doubtful_rows`). `qido.image_sets.own_doubts` is of own tables. Nothing
of a study in doubt comes from the index.
"""

from collections.abc import Mapping, Sequence

from ahi.retrieval.located_image_sets import LocatedImageSet
from db.deleted_image_sets import DeletedRows
from db.index_kind import IndexKind
from dicomweb.errors import UpstreamBusy, UpstreamFailed
from qido.image_sets import own_doubts, results_from_metadata
from qido.image_sets.archive import Archive
from qido.image_sets.doubts import AT_ANY_TIME, LEFT_OUT, UNCHECKED, Doubts, of_study
from qido.image_sets.index_checks import IDENTITY, IndexChecks, PatientIdentity, known_text
from qido.image_sets.matching import values
from qido.image_sets.row_filters import AttributeFilter
from qido.image_sets.study_reading import read_studies
from qido.parse.attributes import BY_TAG, STUDY_UID, Level, Matching
from qido.parse.conditions import AnyOf, Equal
from qido.parse.query import Query
from qido.plan import doubtful_rows, statements

PATIENT = frozenset(one for one in BY_TAG.values() if one.level is Level.PATIENT and one.keyword != "PatientID")
"""The attributes that patients share if they share a row."""
_NOBODY = (None, None)


def find_doubts(archive: Archive, query: Query) -> Doubts | None:
    """Find what is in doubt for a query; None if nothing is."""
    checks = archive.checks
    if checks is None:
        return None
    study, series = results_from_metadata.names_study(query), results_from_metadata.names_series(query)
    if archive.database.index_kind is IndexKind.OWN:
        return own_doubts.find(archive, checks, query, study, series)
    facts, filtered = checks.facts(), bool(query.scope.filters)
    shared: Mapping[int, PatientIdentity] = {}
    if facts.datastores and study is None and series is None and _asks_of_patients(query):
        shared = checks.shared()
    at_all = facts.nameless or facts.several or shared
    if study is not None:
        right = not filtered and not (at_all and _is_in_doubt(archive, checks, query, study))
        if right and not _lacks_instances(archive, query, study, series) and not _at_unknown_times(archive, query):
            return None
        return of_study(checks, query, study)
    if series is not None:
        right = not filtered and not at_all
        if right and not _lacks_instances(archive, query, study, series) and not _at_unknown_times(archive, query):
            return None
        return Doubts(checks.studies.of_series(query.scope, series), alone=True)
    timed = _at_unknown_times(archive, query)
    if not at_all and not timed:
        return None
    try:
        return _anywhere(archive, checks, query, facts.nameless, shared, timed, archive.max_image_sets)
    except (UpstreamBusy, UpstreamFailed):  # AHI cannot be asked
        return _anywhere(archive, checks, query, facts.nameless, shared, timed, 0)


def _at_unknown_times(archive: Archive, query: Query) -> list[int]:
    """The keys of studies that match because a time is unknown, at most one more than may be read.

    The writer of AWS's tables loses a time with a fraction, so the image set may have one.
    """
    if not any(key.matching is Matching.TIME for condition in query.conditions for key in condition.keys):
        return []
    statement = statements.studies_at_unknown_times(query, archive.max_image_sets + 1)
    return [key for (key,) in archive.database.rows(statement)]


def _is_in_doubt(archive: Archive, checks: IndexChecks, query: Query, study: str) -> bool:
    """Whether rows of a study may be wrong, or lack some of its image sets."""
    named = AnyOf(STUDY_UID, (Equal(study),))
    rows = archive.database.rows(doubtful_rows.doubtful([named], query.scope, checks.by_image_set, most=1))
    return bool(rows) or not checks.studies.index_is_complete(query.scope, study)


def _lacks_instances(archive: Archive, query: Query, study: str | None, series: str | None) -> bool:
    """Whether other instances with the same SOP Instance UIDs have overwritten rows of the instances asked for."""
    return query.level is Level.INSTANCE and bool(archive.database.rows(doubtful_rows.miscounted(study, series)))


def _asks_of_patients(query: Query) -> bool:
    """Whether the results depend on attributes that patients share if they share a row."""
    asked = {key for condition in query.conditions for key in condition.keys}
    asked |= {one.attribute for one in query.order}
    asked |= {one.attribute for one in query.scope.filters if isinstance(one, AttributeFilter)}
    return query.level is Level.PATIENT or not asked.isdisjoint(PATIENT)


def _anywhere(
    archive: Archive,
    checks: IndexChecks,
    query: Query,
    nameless: frozenset[int],
    shared: Mapping[int, PatientIdentity],
    timed: Sequence[int],
    max_image_sets: int,
) -> Doubts:
    """Find what is in doubt for a search of the whole archive; reads up to `max_image_sets` image sets, twice.

    The studies of `timed` match because a time is unknown. They are left to the index if they cannot be read.
    """
    limited = query.scope.datastore_ids is not None or bool(query.scope.filters)
    most = doubtful_rows.MOST_STUDIES + 1 if limited else 2 * archive.max_image_sets + 1  # the bound is applied below
    statement = doubtful_rows.doubtful(query.conditions, query.scope, checks.by_image_set, sorted(shared), most)
    in_doubt = nameless or shared or checks.facts().several
    study_keys = [key for (key,) in archive.database.rows(statement)] if in_doubt else []
    all_known = limited and len(study_keys) < most
    timed_only = frozenset(timed) - frozenset(study_keys)
    most_read = len(study_keys) + len(timed) if all_known else archive.max_image_sets
    asked = list(dict.fromkeys((*study_keys, *timed)))
    read = read_studies(archive, asked, most_read, max_image_sets)
    unchecked = read.unchecked - timed_only
    image_sets = [
        image_set
        for study, of_study in read.by_study.items()
        for image_set in checks.studies.seen(query.scope, study, list(of_study.values()))
    ]
    if query.level is Level.PATIENT:  # a row that nobody shares is right
        wanted = {*shared.values(), _NOBODY}
        image_sets = [one for one in image_sets if (patient := _patient_of(one)) in wanted or patient[0] is None]
    if limited and not all_known:
        return Doubts(image_sets, alone=True, warnings=(LEFT_OUT,))
    warnings = [LEFT_OUT if limited else UNCHECKED] if unchecked else []
    warnings += [AT_ANY_TIME] if read.unchecked & timed_only else []
    warnings += [] if read.complete else [LEFT_OUT]
    blank = frozenset({*nameless, *shared})
    studies = (read.keys - (read.bare & timed_only)) | unchecked if limited else read.keys - read.bare
    hidden = DeletedRows(
        frozenset(key for study in studies for key in read.parts[study].rows),
        frozenset(key for study in studies for key in read.parts[study].series),
        studies,
        blank if limited or not (unchecked or read.bare) else frozenset(),
    )
    return Doubts(image_sets, hidden, blank=blank, warnings=tuple(dict.fromkeys(warnings)))


def _patient_of(one: LocatedImageSet) -> PatientIdentity:
    """The ID and issuer of the patient of an image set, None for what is absent."""
    return tuple(known_text(attribute, values(one.shared_attributes.get(attribute.tag, {}))) for attribute in IDENTITY)
