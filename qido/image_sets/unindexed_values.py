"""The values that results have and the index lacks, read from the image sets."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ahi.retrieval.metadata_reader import ALL_TAGS
from ahi.retrieval.series_merge import LocatedInstance
from db.index_kind import IndexKind
from dicomweb.dicom_json import DataSet
from qido.image_sets.archive import Archive
from qido.image_sets.index_values import index_values
from qido.image_sets.located_series import LocatedSeries, locate
from qido.parse.attributes import INSTANCE_UID, Level, Matching, SearchAttribute
from qido.parse.query import Query
from qido.parse.unindexed import Key, select_all, select_unindexed
from qido.results import Result, Value


def with_unindexed(archive: Archive, query: Query, results: Sequence[Result]) -> list[Result]:
    """The results with the requested values that the index lacks, of up to `max_image_sets` image sets.

    Their patient is that of the same image set, because several patients may share a row of AWS's tables.
    """
    shared = archive.database.index_kind is IndexKind.LEGACY
    level = min(query.level, Level.SERIES)
    keys = list(dict.fromkeys(result.keys[level] for result in results))
    series = locate(archive, query.scope, level, keys, whole=False, most=archive.max_image_sets)
    instances = _instances_of(query.level, results, series)
    present = [instance for instance in instances if instance]
    data_sets = iter(archive.described.read(present, prefixes(query), archive.public_root()))
    return [
        replace(
            result,
            values={**result.values, **_patient_of(result, instance)} if instance and shared else result.values,
            described=selected(query, next(data_sets)) if instance else {},
            truncated=result.truncated or result.keys[level] in series.beyond,
        )
        for result, instance in zip(results, instances, strict=True)
    ]


def _patient_of(result: Result, instance: LocatedInstance) -> dict[SearchAttribute, tuple[Value, ...]]:
    """The attributes of a result that are of its patient, with the values of its image set."""
    of_patient = (one for one in result.values if one.level is Level.PATIENT and one.matching is not Matching.NONE)
    return {one: index_values(one, instance[0].shared_attributes) for one in of_patient}


def _instances_of(level: Level, results: Sequence[Result], series: LocatedSeries) -> list[LocatedInstance | None]:
    """The instance that represents each result; None if its image sets are deleted or too many."""
    if level is not Level.INSTANCE:
        return [series.first(result.keys[level]) for result in results]
    by_uid = {(key, one[1].sop_instance_uid): one for key in series.by_key for one in series.instances(key)}
    return [by_uid.get((result.keys[Level.SERIES], str(result.values[INSTANCE_UID][0]))) for result in results]


def prefixes(query: Query) -> tuple[str, ...]:
    """The beginnings of the tags that must be read for the results of a query."""
    return ALL_TAGS if query.everything else prefixes_of(query.unindexed)


def prefixes_of(keys: Iterable[Key]) -> tuple[str, ...]:
    """The beginnings of the tags that must be read to find these attributes."""
    return tuple(sorted({prefix for key in keys for prefix in key.prefixes}))


def selected(query: Query, data_set: DataSet) -> DataSet:
    """The attributes of a data set that results have and the index lacks."""
    found: DataSet = select_all(data_set, query.highest, query.level) if query.everything else {}
    for unindexed in query.unindexed:
        found |= select_unindexed(data_set, unindexed)
    return found
