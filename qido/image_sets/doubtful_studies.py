"""What of an index may be wrong for a search, and the image sets that tell what is right.

Rows are in doubt where the writer of the index may have put several patients, studies or series into one:
`qido.plan.doubtful_rows` says which. Nothing of a study that is in doubt comes from the index; all else does, as
without doubts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ahi.cache.timed import cached_for
from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.located_image_sets import LocatedImageSet
from ahi.retrieval.studies import Studies
from db import schema
from db.deleted_image_sets import DeletedRows
from db.engine import Database
from dicomweb.errors import UpstreamBusy, UpstreamFailed
from qido.image_sets import results_from_metadata
from qido.image_sets.archive import Archive
from qido.image_sets.matching import values
from qido.image_sets.row_filters import AttributeFilter
from qido.parse.attributes import BY_TAG, STUDY_UID, Level, SearchAttribute
from qido.parse.conditions import AnyOf, Equal
from qido.parse.query import Query
from qido.plan import doubtful_rows
from runtime.single_flight import SingleFlight, ended

UNCHECKED = "Some results could not be checked, and lack what may be of others. Ask for fewer results at once."
LEFT_OUT = "Results that could not be checked have been left out. Ask for fewer results at once."

PATIENT = frozenset(one for one in BY_TAG.values() if one.level is Level.PATIENT and one.keyword != "PatientID")
"""What patients who share a row share with it."""

_FACTS_SECONDS = 2.0
_SHARED_SECONDS = 120.0  # a million image sets take the index some seconds
_PATIENCE_SECONDS = 3.0
_IDENTITY = (BY_TAG["00100020"], BY_TAG["00100021"])
_NOBODY = (None, None)

_Who = tuple[str | None, ...]


@dataclass(frozen=True)
class Facts:
    """What of an index may be wrong: patients without ID, by their keys; series of several image sets; data stores."""

    nameless: frozenset[int]
    several: bool
    datastores: bool


class Checks:
    """What is in doubt at all; believed for two seconds, and for two minutes where it takes the index long to tell."""

    def __init__(self, database: Database, studies: Studies) -> None:
        self._database = database
        self.studies = studies
        self.by_image_set = database.kind == "sqlite"  # small; nobody may have noted conflicts in it
        self._facts = cached_for(_FACTS_SECONDS, self._look)
        self._shared = SingleFlight(self._look_for_shared)
        self._shared_lately: Mapping[int, _Who] = {}

    def facts(self) -> Facts:
        """What is in doubt."""
        return self._facts()

    def shared(self) -> Mapping[int, _Who]:
        """The ID and issuer of patients who have image sets in several data stores, by their keys.

        Of some minutes ago, or none yet, where the index does not tell soon: what is found is held to its image sets
        all the same (`verified_search.verified`), and what is not found is what the index has lost.
        """
        flight = self._shared.latest(_SHARED_SECONDS)
        if ended(flight, _PATIENCE_SECONDS) and not flight.exception():
            self._shared_lately = flight.result()
        return self._shared_lately

    def _look(self) -> Facts:
        several, first, last = self._database.rows(doubtful_rows.facts(self.by_image_set))[0]
        nameless = frozenset(key for (key,) in self._database.rows(doubtful_rows.nameless()))
        return Facts(nameless, bool(several), first != last)

    def _look_for_shared(self) -> Mapping[int, _Who]:
        rows = self._database.rows(doubtful_rows.patients_in_datastores())
        return {key: tuple(map(_told, _IDENTITY, ([patient_id], [issuer]))) for key, patient_id, issuer in rows}


@dataclass(frozen=True)
class Doubts:
    """What takes the place of rows: the image sets, all in scope, of what is in `hidden`, or, if `alone`, of all.

    Of the patients in `blank` nothing else may be told; `warnings` say what could not be checked.
    """

    image_sets: Sequence[LocatedImageSet]
    hidden: DeletedRows = field(default_factory=DeletedRows)
    alone: bool = False
    blank: frozenset[int] = frozenset()
    warnings: tuple[str, ...] = ()


def find_doubts(archive: Archive, query: Query) -> Doubts | None:
    """What is in doubt of all that a query asks for; None for nothing."""
    checks = archive.checks
    if checks is None:
        return None
    facts, filtered = checks.facts(), bool(query.scope.filters)
    study, series = results_from_metadata.names_study(query), results_from_metadata.names_series(query)
    shared: Mapping[int, _Who] = {}
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
    except (UpstreamBusy, UpstreamFailed):  # nothing can be checked at the moment
        return _anywhere(archive, checks, query, facts.nameless, shared, 0)


def _is_in_doubt(archive: Archive, checks: Checks, query: Query, study: str) -> bool:
    """Whether rows of a study may be wrong, or lack some of its image sets."""
    named = AnyOf(STUDY_UID, (Equal(study),))
    rows = archive.database.rows(doubtful_rows.doubtful([named], query.scope, checks.by_image_set, most=1))
    return bool(rows) or not checks.studies.index_is_complete(query.scope, study)


def _lacks_instances(archive: Archive, query: Query, study: str | None, series: str | None) -> bool:
    """Whether rows of instances that are asked for have been overwritten: others have the same SOP Instance UIDs."""
    return query.level is Level.INSTANCE and bool(archive.database.rows(doubtful_rows.miscounted(study, series)))


def _asks_of_patients(query: Query) -> bool:
    """Whether results follow from what patients who share a row share with it."""
    asked = {key for condition in query.conditions for key in condition.keys}
    asked |= {one.attribute for one in query.order}
    asked |= {one.attribute for one in query.scope.filters if isinstance(one, AttributeFilter)}
    return query.level is Level.PATIENT or not asked.isdisjoint(PATIENT)


@dataclass
class _Parts:
    """Of a study, in the index: keys of series, of rows of image sets, and the image sets themselves."""

    series: set[int] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)
    image_sets: list[ImageSetKey] = field(default_factory=list)


def _anywhere(
    archive: Archive,
    checks: Checks,
    query: Query,
    nameless: frozenset[int],
    shared: Mapping[int, _Who],
    max_image_sets: int,
) -> Doubts:
    """The doubts of a search whose results may be anywhere; `max_image_sets` are read at most, then as many more."""
    limited = query.scope.datastore_ids is not None or bool(query.scope.filters)
    most = doubtful_rows.MOST_STUDIES + 1 if limited else 2 * archive.max_image_sets + 1  # more are checked below
    statement = doubtful_rows.doubtful(query.conditions, query.scope, checks.by_image_set, sorted(shared), most)
    rows = [key for (key,) in archive.database.rows(statement)]
    told_apart = limited and len(rows) < most
    parts = _parts(archive, rows if told_apart else rows[: archive.max_image_sets])
    chosen, left = _affordable(parts, max_image_sets)
    left |= {*rows} - parts.keys()
    located, readable = _located(archive, parts, chosen)
    by_study = _by_study(located)
    own = _keys_of(archive, by_study)
    parts |= _parts(archive, sorted(own.keys() - parts.keys()))
    more, beyond = _affordable({key: parts[key] for key in own if key not in chosen}, max_image_sets)
    located, more_readable = _located(archive, parts, more)
    for study, of in _by_study(located).items():
        by_study[study] |= of
    for key in beyond:
        by_study.pop(own[key], None)
    image_sets = [
        one for study, of in by_study.items() for one in checks.studies.seen(query.scope, study, list(of.values()))
    ]
    if query.level is Level.PATIENT:  # rows of patients who share theirs with nobody are their own
        wanted = {*shared.values(), _NOBODY}
        image_sets = [one for one in image_sets if _who(one) in wanted or _who(one)[0] is None]
    unchecked = (left | beyond) - {*more}
    warnings = (LEFT_OUT if limited else UNCHECKED,) if unchecked else ()
    if not (readable and more_readable):
        warnings = tuple(dict.fromkeys((*warnings, LEFT_OUT)))
    if limited and not told_apart:
        return Doubts(image_sets, alone=True, warnings=(LEFT_OUT,))
    blank = frozenset({*nameless, *shared})
    bare = {key for key in chosen if key not in own and not parts[key].image_sets}
    studies = {*chosen, *more, *unchecked} if limited else {*chosen, *more} - bare
    hidden = DeletedRows(
        frozenset(key for study in studies for key in parts[study].rows),
        frozenset(key for study in studies for key in parts[study].series),
        frozenset(studies),
        blank if limited or not (unchecked or bare) else frozenset(),
    )
    return Doubts(image_sets, hidden, blank=blank, warnings=warnings)


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
    """The first studies whose image sets are `most` together, and the rest."""
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
    """The image sets of studies that can be read, and whether all can be."""
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
    """The UIDs of studies by their keys: what is theirs may hang on rows of others."""
    by_column = {held: uid for uid in uids for held in schema.held_uids(uid)}
    rows = archive.database.rows(doubtful_rows.studies_named(sorted(by_column))) if by_column else ()
    return {key: by_column[uid] for key, uid in rows if uid in by_column}


def _who(one: LocatedImageSet) -> _Who:
    """The ID and issuer of the patient of an image set, None for what is absent."""
    return tuple(_told(attribute, values(one.shared_attributes.get(attribute.tag, {}))) for attribute in _IDENTITY)


def _told(attribute: SearchAttribute, found: Sequence[object]) -> str | None:
    """What an attribute says; None for the texts with which the index says "absent"."""
    texts = [str(value).strip() for value in found if value is not None]
    return next((text for text in texts if text not in attribute.placeholders), None)
