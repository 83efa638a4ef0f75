"""The rows of the index that may be wrong for a search, and the image sets that take their place.

Rows are in doubt if the writer of the index may have put several patients, studies or series into one row
(`qido.plan.doubtful_rows`). Nothing of a study in doubt comes from the index.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.located_image_sets import LocatedImageSet
from db import schema
from db.deleted_image_sets import DeletedRows
from dicomweb.errors import UpstreamBusy, UpstreamFailed
from qido.image_sets import results_from_metadata
from qido.image_sets.archive import Archive
from qido.image_sets.index_checks import IDENTITY, IndexChecks, PatientIdentity, known_text
from qido.image_sets.matching import values
from qido.image_sets.row_filters import AttributeFilter
from qido.parse.attributes import BY_TAG, STUDY_UID, Level
from qido.parse.conditions import AnyOf, Equal
from qido.parse.query import Query
from qido.plan import doubtful_rows

UNCHECKED = "Some results could not be checked, and lack what may be of others. Ask for fewer results at once."
LEFT_OUT = "Results that could not be checked have been left out. Ask for fewer results at once."
PATIENT = frozenset(one for one in BY_TAG.values() if one.level is Level.PATIENT and one.keyword != "PatientID")
"""The attributes that patients share if they share a row."""
_NOBODY = (None, None)


@dataclass(frozen=True)
class Doubts:
    """The image sets, all in scope, that take the place of the `hidden` rows; if `alone`, of all rows.

    Attributes of the patients in `blank` must not come from the index. `warnings` tell what could not be checked.
    """

    image_sets: Sequence[LocatedImageSet]
    hidden: DeletedRows = field(default_factory=DeletedRows)
    alone: bool = False
    blank: frozenset[int] = frozenset()
    warnings: tuple[str, ...] = ()


def find_doubts(archive: Archive, query: Query) -> Doubts | None:
    """Find what is in doubt for a query; None if nothing is."""
    checks = archive.checks
    if checks is None:
        return None
    facts, filtered = checks.facts(), bool(query.scope.filters)
    study, series = results_from_metadata.names_study(query), results_from_metadata.names_series(query)
    shared: Mapping[int, PatientIdentity] = {}
    if facts.datastores and study is None and series is None and _asks_of_patients(query):
        shared = checks.shared()
    at_all = facts.nameless or facts.several or shared
    if study is not None:
        right = not filtered and not (at_all and _is_in_doubt(archive, checks, query, study))
        if right and not _lacks_instances(archive, query, study, series):
            return None
        readable = checks.studies.find_readable(query.scope, study)
        return Doubts(readable.image_sets, alone=True, warnings=(LEFT_OUT,) if readable.errors else ())
    if series is not None:
        if not filtered and not at_all and not _lacks_instances(archive, query, study, series):
            return None
        return Doubts(checks.studies.of_series(query.scope, series), alone=True)
    if not at_all:
        return None
    try:
        return _anywhere(archive, checks, query, facts.nameless, shared, archive.max_image_sets)
    except (UpstreamBusy, UpstreamFailed):  # AHI cannot be asked
        return _anywhere(archive, checks, query, facts.nameless, shared, 0)


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


@dataclass
class _Parts:
    """The parts of a study in the index: keys of series, keys of image-set rows, and the image sets themselves."""

    series: set[int] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)
    image_sets: list[ImageSetKey] = field(default_factory=list)


@dataclass(frozen=True)
class _ReadStudies:
    """Studies in doubt whose image sets have been read.

    `by_study` has the image sets by the UIDs of studies; `keys` are the studies read. `unchecked` are the keys
    of studies with too many image sets, `bare` those without any image set. `complete` is false if some cannot be read.
    """

    parts: Mapping[int, _Parts]
    by_study: Mapping[str, Mapping[ImageSetKey, LocatedImageSet]]
    keys: frozenset[int]
    unchecked: frozenset[int]
    bare: frozenset[int]
    complete: bool


def _anywhere(
    archive: Archive,
    checks: IndexChecks,
    query: Query,
    nameless: frozenset[int],
    shared: Mapping[int, PatientIdentity],
    max_image_sets: int,
) -> Doubts:
    """Find what is in doubt for a search of the whole archive; reads up to `max_image_sets` image sets, twice."""
    limited = query.scope.datastore_ids is not None or bool(query.scope.filters)
    most = doubtful_rows.MOST_STUDIES + 1 if limited else 2 * archive.max_image_sets + 1  # the bound is applied below
    statement = doubtful_rows.doubtful(query.conditions, query.scope, checks.by_image_set, sorted(shared), most)
    study_keys = [key for (key,) in archive.database.rows(statement)]
    all_known = limited and len(study_keys) < most
    read = _read(archive, study_keys, len(study_keys) if all_known else archive.max_image_sets, max_image_sets)
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
    warnings = [LEFT_OUT if limited else UNCHECKED] if read.unchecked else []
    warnings += [] if read.complete else [LEFT_OUT]
    blank = frozenset({*nameless, *shared})
    studies = read.keys | read.unchecked if limited else read.keys - read.bare
    hidden = DeletedRows(
        frozenset(key for study in studies for key in read.parts[study].rows),
        frozenset(key for study in studies for key in read.parts[study].series),
        studies,
        blank if limited or not (read.unchecked or read.bare) else frozenset(),
    )
    return Doubts(image_sets, hidden, blank=blank, warnings=tuple(dict.fromkeys(warnings)))


def _read(archive: Archive, study_keys: Sequence[int], max_studies: int, max_image_sets: int) -> _ReadStudies:
    """Read the image sets of studies, then those of the studies that these image sets name."""
    parts = _parts(archive, study_keys[:max_studies])
    chosen, left = _affordable(parts, max_image_sets)
    left |= {*study_keys} - parts.keys()
    located, complete = _located(archive, parts, chosen)
    by_study = _by_study(located)
    own = _keys_of(archive, by_study)
    parts |= _parts(archive, sorted(own.keys() - parts.keys()))
    more, beyond = _affordable({key: parts[key] for key in own if key not in chosen}, max_image_sets)
    located, more_complete = _located(archive, parts, more)
    for study, image_sets in _by_study(located).items():
        by_study[study] |= image_sets
    for key in beyond:
        by_study.pop(own[key], None)
    bare = frozenset(key for key in chosen if key not in own and not parts[key].image_sets)
    unchecked = frozenset(left | beyond) - {*more}
    return _ReadStudies(parts, by_study, frozenset({*chosen, *more}), unchecked, bare, complete and more_complete)


def _parts(archive: Archive, study_keys: Sequence[int]) -> dict[int, _Parts]:
    found = {key: _Parts() for key in study_keys}
    rows = archive.database.rows(doubtful_rows.parts_of(study_keys)) if study_keys else ()
    for study_key, series_key, row_key, *image_set in rows:
        of = found[study_key]
        if series_key is not None:
            of.series.add(series_key)
        if row_key is not None:
            of.rows.add(row_key)
            of.image_sets.append(ImageSetKey(*image_set))
    return found


def _affordable(parts: Mapping[int, _Parts], most: int) -> tuple[list[int], set[int]]:
    """The first studies with at most `most` image sets together, and the rest."""
    chosen: list[int] = []
    rest: set[int] = set()
    for key, of in parts.items():
        most -= len(of.image_sets)
        if most < 0:
            rest.add(key)
        else:
            chosen.append(key)
    return chosen, rest


def _located(
    archive: Archive, parts: Mapping[int, _Parts], studies: Iterable[int]
) -> tuple[list[LocatedImageSet], bool]:
    """The image sets of studies that can be read, and whether all of them can be."""
    keys = dict.fromkeys(key for study in studies for key in parts[study].image_sets)
    if not keys:
        return [], True
    located, errors = archive.described.locate_readable(list(keys))
    return list(located.values()), not errors


def _by_study(image_sets: Iterable[LocatedImageSet]) -> defaultdict[str, dict[ImageSetKey, LocatedImageSet]]:
    found: defaultdict[str, dict[ImageSetKey, LocatedImageSet]] = defaultdict(dict)
    for one in image_sets:
        found[one.prepared.study_instance_uid][one.key] = one
    return found


def _keys_of(archive: Archive, uids: Iterable[str]) -> dict[int, str]:
    """The UIDs of studies by their keys; parts of these studies may belong to the rows of others."""
    by_column = {held: uid for uid in uids for held in schema.held_uids(uid)}
    rows = archive.database.rows(doubtful_rows.studies_named(sorted(by_column))) if by_column else ()
    return {key: by_column[uid] for key, uid in rows if uid in by_column}


def _patient_of(one: LocatedImageSet) -> PatientIdentity:
    """The ID and issuer of the patient of an image set, None for what is absent."""
    return tuple(known_text(attribute, values(one.shared_attributes.get(attribute.tag, {}))) for attribute in IDENTITY)
