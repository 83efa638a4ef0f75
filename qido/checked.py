"""Searches among rows that may be wrong: what the image sets say of themselves takes the place of such rows.

Rows are in doubt where the writer of the index may have put several patients, studies or series into one: `plan_doubt`
says which. Nothing of a study that is in doubt comes from the index; all else does, as without doubts.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from ahi.image_set import ImageSetKey
from ahi.merged import preferred
from ahi.store import LocatedImageSet
from ahi.studies import Brief, Studies
from db.engine import Database
from db.hidden import Hidden
from db.scope import Scope
from dicomweb.dicom_json import DataSet
from dicomweb.uids import absent
from qido import plan_doubt, views
from qido.attributes import BY_TAG, STUDY_UID, Attribute, Level
from qido.conditions import AnyOf, Equal
from qido.image_sets import Archive, Series, locate
from qido.matching import fulfils, values
from qido.query import Query
from qido.result import Found, Result, Value

UNCHECKED = "Some results could not be checked, and lack what may be of others. Ask for fewer results at once."
LEFT_OUT = "Results that could not be checked have been left out. Ask for fewer results at once."

_FACTS_SECONDS = 2.0
_PATIENT_ID = BY_TAG["00100020"]
_PATIENT = frozenset(one for one in BY_TAG.values() if one.level is Level.PATIENT and one.keyword != "PatientID")
_OF_PATIENTS = ("patient", "issuer")


@dataclass(frozen=True)
class Facts:
    """What of an index may be wrong: patients without ID, by their keys; series of several image sets; data stores."""

    nameless: frozenset[int]
    several: bool
    datastores: bool


class Checks:
    """How doubtful rows are checked. What is in doubt at all is believed for two seconds."""

    def __init__(self, database: Database, studies: Studies) -> None:
        self._database = database
        self.studies = studies
        self.by_image_set = database.kind == "sqlite"  # small; nobody may have noted conflicts in it
        self._facts: Brief[None, Facts] = Brief(_FACTS_SECONDS)

    def facts(self) -> Facts:
        """What is in doubt."""
        return self._facts.get(None, self._look)

    def _look(self) -> Facts:
        several, first, last = self._database.rows(plan_doubt.facts(self.by_image_set))[0]
        nameless = frozenset(key for (key,) in self._database.rows(plan_doubt.nameless()))
        return Facts(nameless, bool(several), first != last)


@dataclass(frozen=True)
class Doubts:
    """What takes the place of rows: the image sets, all in scope, of what is in `hidden`, or, if `alone`, of all.

    Of the patients in `nameless` nothing else may be told; `warnings` say what could not be checked.
    """

    image_sets: Sequence[LocatedImageSet]
    hidden: Hidden = field(default_factory=Hidden)
    alone: bool = False
    nameless: frozenset[int] = frozenset()
    warnings: tuple[str, ...] = ()


def find_doubts(archive: Archive, query: Query) -> Doubts | None:
    """What is in doubt of all that a query asks for; None for nothing."""
    checks = archive.checks
    if checks is None:
        return None
    facts, of_patients = checks.facts(), any(one.table.name in _OF_PATIENTS for one in query.scope.filters)
    if not (facts.nameless or facts.several or of_patients):
        return None
    study, series = views.names_study(query), views.names_series(query)
    if study is not None:
        named = AnyOf(STUDY_UID, (Equal(study),))
        statement = plan_doubt.doubtful([named], query.scope, checks.by_image_set, whole_scope=False)
        if not of_patients and not archive.database.rows(statement) and checks.studies.is_sound(query.scope, study):
            return None
        return Doubts(checks.studies.find(query.scope, study), alone=True)
    if series is not None:
        return Doubts(checks.studies.of_series(query.scope, series), alone=True)
    return _anywhere(archive, checks, query, facts, of_patients)


def _anywhere(archive: Archive, checks: Checks, query: Query, facts: Facts, of_patients: bool) -> Doubts:
    limited = query.scope.datastore_ids is not None or bool(query.scope.filters)
    statement = plan_doubt.doubtful(query.conditions, query.scope, checks.by_image_set, whole_scope=of_patients)
    rows = archive.database.rows(statement)
    parts = _parts(archive, [row[0] for row in rows])
    chosen, left = _affordable(parts, archive.max_image_sets)
    found = _located(archive, parts, chosen)
    own = _others(archive, {one.prepared.study_instance_uid for one in found})
    more, bare = own - set(chosen), {key for key in chosen if key not in own and not parts[key].image_sets}
    parts |= _parts(archive, sorted(more - parts.keys()))
    by_study: defaultdict[str, dict[ImageSetKey, LocatedImageSet]] = defaultdict(dict)
    for one in (*found, *_located(archive, parts, more)):
        by_study[one.prepared.study_instance_uid][one.key] = one
    shown = [
        one for study, of in by_study.items() for one in checks.studies.seen(query.scope, study, list(of.values()))
    ]
    if query.level is Level.PATIENT:  # rows of patients who have an ID are their own
        shown = [one for one in shown if _is_nameless(one)]
    unchecked = left - more - {row[0] for row in rows if row[2]}
    warnings = (LEFT_OUT if limited else UNCHECKED,) if unchecked else ()
    if limited and len(rows) > plan_doubt.MOST_STUDIES:
        return Doubts(shown, alone=True, warnings=(LEFT_OUT,))
    studies = {*chosen, *more, *unchecked} if limited else {*chosen, *more} - bare
    hidden = Hidden(
        frozenset(key for study in studies for key in parts[study].rows),
        frozenset(key for study in studies for key in parts[study].series),
        frozenset(studies),
        facts.nameless if limited or not (unchecked or bare) else frozenset(),
    )
    return Doubts(shown, hidden, nameless=facts.nameless, warnings=warnings)


@dataclass
class _Parts:
    """Of a study, in the index: keys of series, of rows of image sets, and the image sets themselves."""

    series: set[int] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)
    image_sets: list[ImageSetKey] = field(default_factory=list)


def _is_nameless(one: LocatedImageSet) -> bool:
    """Whether the index files an image set under a patient without ID."""
    return {str(value) for value in values(one.upper.get(_PATIENT_ID.tag, {}))} <= _PATIENT_ID.placeholders


def _parts(archive: Archive, study_keys: Sequence[int]) -> dict[int, _Parts]:
    found = {key: _Parts() for key in study_keys}
    rows = archive.database.rows(plan_doubt.parts_of(study_keys)) if study_keys else ()
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


def _located(archive: Archive, parts: Mapping[int, _Parts], studies: Iterable[int]) -> list[LocatedImageSet]:
    keys = dict.fromkeys(key for study in studies for key in parts[study].image_sets)
    return list(archive.described.locate(list(keys)).values()) if keys else []


def _others(archive: Archive, uids: Set[str]) -> set[int]:
    """The keys of studies: what is theirs may hang on rows of others."""
    return {key for (key,) in archive.database.rows(plan_doubt.studies_named(sorted(uids)))} if uids else set()


def search(archive: Archive, query: Query, doubts: Doubts, rest: Callable[[Query], Found]) -> Found:
    """The page of a query; `rest` finds what is not in doubt."""
    seen = views.in_order(
        query, views.results(archive, views.with_terms(query), views.views(archive, query, doubts.image_sets))
    )
    if doubts.alone:
        _check_path(query, doubts)
        page = seen[query.offset : query.offset + query.limit]
        more = max(0, len(seen) - query.offset - query.limit)
        found = Found(tuple(views.without_terms(query, page)), more, len(seen) if query.counted else None)
    else:
        wider = replace(views.with_terms(_sure(query, doubts)), limit=query.offset + query.limit, offset=0)
        sure = rest(wider)
        listed = views.merge(query, sure.results, seen)[query.offset : query.offset + query.limit]
        more = max(0, len(sure.results) + len(seen) + sure.additional - query.offset - query.limit)
        total = None if sure.total is None else sure.total + len(seen)
        found = Found(tuple(views.without_terms(query, listed)), more, total, sure.warnings)
    shown = tuple(_blanked(one, doubts.nameless) for one in found.results)
    return replace(found, results=shown, warnings=(*found.warnings, *doubts.warnings))


def count(archive: Archive, query: Query, doubts: Doubts, rest: Callable[[Query], int]) -> int:
    """The number of all results; `rest` counts those that are not in doubt."""
    seen = len(views.views(archive, query, doubts.image_sets))
    if doubts.alone:
        _check_path(query, doubts)
        return seen
    return seen + rest(_sure(query, doubts))


def with_own_patients(archive: Archive, query: Query, found: Found) -> Found:
    """What was found in the index, each result with the patient of its own image sets.

    Patients of different data stores who have the same ID share a row.
    """
    asked = _PATIENT.intersection(query.returned)
    if archive.checks is None or not asked or not found.results or not archive.checks.facts().datastores:
        return found
    keys = {one.keys[Level.PATIENT] for one in found.results if one.keys}
    shared = (
        {key for (key,) in archive.database.rows(plan_doubt.patients_in_datastores(sorted(keys)))} if keys else set()
    )
    doubtful = [one for one in found.results if one.keys and one.keys[Level.PATIENT] in shared]
    if not doubtful:
        return found
    level = min(query.level, Level.SERIES)
    of = list(dict.fromkeys(one.keys[level] for one in doubtful))
    whole = level is Level.PATIENT
    sets = locate(archive, query.scope, level, of, whole=whole, most=archive.max_image_sets)
    of_patient = [one for one in query.conditions if all(key.level is Level.PATIENT for key in one.keys)]
    results: list[Result] = []
    for one in found.results:
        if one not in doubtful:
            results.append(one)
            continue
        upper = _agreed(sets, one.keys[level], whole=whole)
        told = {key: views.typed(key, upper) if upper else () for key in asked}
        if not upper or fulfils(upper, of_patient):
            results.append(replace(one, values={**one.values, **told}))
    warnings = (UNCHECKED,) if sets.beyond else ()
    return replace(found, results=tuple(results), warnings=(*found.warnings, *warnings))


def _agreed(sets: Series, key: int, *, whole: bool) -> DataSet:
    """What the image sets say of the patient of a result, if they all say the same."""
    image_sets = [one for of in sets.by_key.get(key, ()) for one in (of if whole else preferred(of)[:1])]
    told = [{attribute.tag: one.upper.get(attribute.tag) for attribute in _PATIENT} for one in image_sets]
    return image_sets[0].upper if told and all(one == told[0] for one in told) else {}


def _check_path(query: Query, doubts: Doubts) -> None:
    """NotFound if the study or series of the path does not exist."""
    if query.study_uid is None:
        return
    series = {one.prepared.series_instance_uid for one in doubts.image_sets}
    if not series or (query.series_uid and query.series_uid not in series):
        what = "there is no such series in this study" if query.series_uid else "there is no such study"
        raise absent(what, query.study_uid, query.series_uid)


def _sure(query: Query, doubts: Doubts) -> Query:
    return replace(query, scope=query.scope & Scope(hidden=doubts.hidden))


def _blanked(result: Result, patients: frozenset[int]) -> Result:
    """A result without what may be of another patient than its own."""
    if not patients or result.keys.get(Level.PATIENT) not in patients:
        return result
    empty: dict[Attribute, tuple[Value, ...]] = {key: () for key in result.values if key in _PATIENT}
    return replace(result, values={**result.values, **empty})
