"""Results that come from image sets alone, with the patient, study and series that the image set names."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from ahi.retrieval.located_image_sets import LocatedImageSet
from ahi.retrieval.series_merge import LocatedInstance, merge_series, preferred
from ahi.retrieval.studies import by_series
from dicomweb.dicom_json import DataSet
from qido.image_sets.archive import Archive
from qido.image_sets.index_values import index_values
from qido.image_sets.matching import fulfils, values
from qido.image_sets.row_filters import AttributeFilter
from qido.image_sets.unindexed_values import prefixes, prefixes_of, selected
from qido.parse.attributes import (
    INSTANCE_UID,
    MODALITIES_IN_STUDY,
    MODALITY,
    PATIENT_INSTANCES,
    PATIENT_SERIES,
    PATIENT_STUDIES,
    SERIES_INSTANCES,
    SERIES_UID,
    STUDY_INSTANCES,
    STUDY_SERIES,
    STUDY_UID,
    Level,
    SearchAttribute,
)
from qido.parse.conditions import AnyOf, Condition, Equal
from qido.parse.query import Query
from qido.results import Result, Value

_TRANSFER_SYNTAXES = "00083002"
_IDENTITY = ("00100010", "00100020", "00100021", "00100030", "00100040")


_KEY_OF: dict[Level, Callable[[LocatedImageSet], Hashable]] = {
    Level.PATIENT: lambda one: repr([one.shared_attributes.get(tag, {}).get("Value") for tag in _IDENTITY]),
    Level.STUDY: lambda one: one.prepared.study_instance_uid,
    Level.SERIES: lambda one: (one.prepared.study_instance_uid, one.prepared.series_instance_uid),
    Level.INSTANCE: lambda one: (one.prepared.study_instance_uid, one.prepared.series_instance_uid),
}


@dataclass(frozen=True)
class View:
    """The image sets of one result: the instance that represents it, all image sets of it, and all of its study."""

    instance: LocatedInstance
    own: Sequence[LocatedImageSet]
    study: Sequence[LocatedImageSet]


def views(archive: Archive, query: Query, image_sets: Sequence[LocatedImageSet]) -> list[View]:
    """The results of a query among image sets, all of which are in scope.

    If several image sets of a result fulfil all conditions, the preferred one represents it.
    """
    studies: defaultdict[str, list[LocatedImageSet]] = defaultdict(list)
    groups: defaultdict[Hashable, list[LocatedImageSet]] = defaultdict(list)
    for one in image_sets:
        studies[one.prepared.study_instance_uid].append(one)
        if query.series_uid in (None, one.prepared.series_instance_uid):
            groups[_KEY_OF[query.level](one)].append(one)
    found = [view for own in groups.values() for view in _views(query, own, studies)]
    own_conditions = tuple(one for one in query.conditions if any(key.level is Level.INSTANCE for key in one.keys))
    return _fulfilling(archive, query, own_conditions, found)


def _views(query: Query, own: Sequence[LocatedImageSet], studies: dict[str, list[LocatedImageSet]]) -> Iterable[View]:
    """The views of a patient, study or series, or of the instances of a series."""
    upper = [one for one in query.conditions if not any(key.level is Level.INSTANCE for key in one.keys)]
    fitting = [
        one
        for one in preferred(own)
        if one.prepared.instances and all(_holds(one, studies[one.prepared.study_instance_uid], of) for of in upper)
    ]
    if not fitting:
        return
    study = studies[fitting[0].prepared.study_instance_uid]
    if query.level is Level.INSTANCE:
        for instance in merge_series(fitting):
            yield View(instance, own, study)
    else:
        for one in fitting if query.unindexed_conditions else fitting[:1]:
            yield View((one, one.prepared.instances[0]), own, study)


def _holds(one: LocatedImageSet, study: Sequence[LocatedImageSet], condition: Condition) -> bool:
    match condition:
        case AnyOf(attribute, matches) if attribute is MODALITIES_IN_STUDY:
            return any(fulfils(other.shared_attributes, [AnyOf(MODALITY, matches)]) for other in study)
    return fulfils(one.shared_attributes, [condition])


def _fulfilling(archive: Archive, query: Query, own: Sequence[Condition], found: list[View]) -> list[View]:
    """The views that fulfil the conditions on instances and on unindexed attributes; each result once."""
    conditions = (*own, *query.unindexed_conditions)
    if conditions:
        wanted = prefixes_of(key for condition in conditions for key in condition.keys)
        read = archive.described.read([view.instance for view in found], wanted, archive.public_root())
        found = [view for view, data_set in zip(found, read, strict=True) if fulfils(data_set, conditions)]
    once: dict[Hashable, View] = {}
    for view in found:
        uid = view.instance[1].sop_instance_uid if query.level is Level.INSTANCE else None
        once.setdefault((_KEY_OF[query.level](view.instance[0]), uid), view)
    return list(once.values())


def results(archive: Archive, query: Query, found: Sequence[View]) -> list[Result]:
    """Read the results of views, in their order."""
    wanted = ("",) if query.everything else (*prefixes(query), *prefixes_of(query.returned), _TRANSFER_SYNTAXES)
    data_sets = archive.described.read([view.instance for view in found], wanted, archive.public_root())
    return [_result(query, view, data_set) for view, data_set in zip(found, data_sets, strict=True)]


def _result(query: Query, view: View, data_set: DataSet) -> Result:
    values_by_attribute: dict[SearchAttribute, tuple[Value, ...]] = {
        one: index_values(one, data_set) for one in query.returned
    }
    counts = _counts(view, query.level)
    values_by_attribute |= {one: counts[one] for one in query.returned if one in counts}
    if INSTANCE_UID in values_by_attribute and query.level is Level.INSTANCE:
        values_by_attribute[INSTANCE_UID] = (view.instance[1].sop_instance_uid,)
    described = selected(query, data_set)
    if query.level is Level.INSTANCE and _TRANSFER_SYNTAXES in data_set:
        described[_TRANSFER_SYNTAXES] = data_set[_TRANSFER_SYNTAXES]
    return Result({}, values_by_attribute, described)


def _counts(view: View, level: Level) -> dict[SearchAttribute, tuple[Value, ...]]:
    study = by_series(view.study)
    modalities = {str(value) for one in view.study for value in values(one.shared_attributes.get(MODALITY.tag, {}))}
    series = study[view.instance[0].prepared.series_instance_uid]
    found: dict[SearchAttribute, tuple[Value, ...]] = {
        MODALITIES_IN_STUDY: tuple(sorted(modalities)),
        STUDY_SERIES: (len(study),),
        STUDY_INSTANCES: (sum(len(list(merge_series(sets))) for sets in study.values()),),
        SERIES_INSTANCES: (len(list(merge_series(series))),),
        **dict.fromkeys((PATIENT_STUDIES, PATIENT_SERIES, PATIENT_INSTANCES), ()),
    }
    if level is Level.PATIENT:
        pairs = {(one.prepared.study_instance_uid, one.prepared.series_instance_uid) for one in view.own}
        instances = {
            (one.prepared.study_instance_uid, one.prepared.series_instance_uid, instance.sop_instance_uid)
            for one in view.own
            for instance in one.prepared.instances
        }
        found |= {
            PATIENT_STUDIES: (len({study for study, _ in pairs}),),
            PATIENT_SERIES: (len(pairs),),
            PATIENT_INSTANCES: (len(instances),),
        }
    return found


def names_study(query: Query) -> str | None:
    """The UID of the one study that path, key or scope name; None if they name none."""
    return query.study_uid if isinstance(query.study_uid, str) else _named(query, STUDY_UID)


def names_series(query: Query) -> str | None:
    """The UID of the one series that path, key or scope name; None if they name none."""
    return query.series_uid if isinstance(query.series_uid, str) else _named(query, SERIES_UID)


def _named(query: Query, uid: SearchAttribute) -> str | None:
    wanted = [one.matches for one in query.conditions if isinstance(one, AnyOf) and one.attribute is uid]
    wanted += [one.matches for one in query.scope.filters if isinstance(one, AttributeFilter) and one.attribute is uid]
    equal = (of[0] for of in wanted if len(of) == 1)
    return next((str(one.value) for one in equal if isinstance(one, Equal)), None)
