"""What the image sets say of the results of a search, where the index has nothing to say."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.located_image_sets import LocatedImageSet
from ahi.retrieval.metadata_reader import ALL_TAGS, MetadataReader
from ahi.retrieval.series_merge import LocatedInstance, merge_series, preferred
from db import schema
from db.engine import Database
from db.scope import Scope
from dicomweb.dicom_json import DataSet
from qido.image_sets.index_values import index_values
from qido.parse.attributes import INSTANCE_UID, Level, Matching, SearchAttribute
from qido.parse.query import Query
from qido.parse.unindexed import Key, select_all, select_unindexed
from qido.plan import image_set_statements
from qido.results import Result, Value

_Uids = tuple[str, str]  # of study and series

if TYPE_CHECKING:
    from qido.image_sets.doubtful_studies import Checks


@dataclass(frozen=True)
class Archive:
    """What a search asks: the index, and the image sets that it names.

    `max_image_sets` is how many are asked for one answer whose results may be anywhere; results within one study or
    series have no such bound. `public_root` is the URL of the service for this client. Without `checks` the index is
    believed.
    """

    database: Database
    described: MetadataReader
    max_image_sets: int
    public_root: Callable[[], str]
    checks: "Checks | None" = None


@dataclass(frozen=True)
class Series:
    """The image sets of patients, studies or series by their keys, then by series, the first series first.

    `beyond` are the keys of those for which there were too many, or none that can be read.
    """

    by_key: Mapping[int, Sequence[Sequence[LocatedImageSet]]]
    beyond: frozenset[int] = frozenset()

    def first(self, key: int) -> LocatedInstance | None:
        """The instance that speaks for a patient, study or series: of its first series, as that image set has it which
        the series shows before others.
        """
        shown = (one for sets in self.by_key.get(key, ()) for one in preferred(sets))
        return next(((one, instance) for one in shown for instance in one.prepared.instances), None)

    def instances(self, key: int) -> list[LocatedInstance]:
        """All instances, series by series in display order."""
        return [instance for sets in self.by_key.get(key, ()) for instance in merge_series(sets)]


def locate(
    archive: Archive, scope: Scope, level: Level, keys: Sequence[int], *, whole: bool, most: int | None
) -> Series:
    """The image sets in scope of `keys`, which are of `level`: of all series, or of the first one that has any.

    They are of the series and in scope by what they say themselves, and not only by the rows that name them. Not more
    than `most` are asked for, if that is a number: whose would be more has none.
    """
    wanted: dict[int, dict[_Uids, list[ImageSetKey]]] = {key: {} for key in keys}
    for key, study, series, *image_set in archive.database.rows(image_set_statements.image_sets_of(level, keys, scope)):
        if whole or not wanted[key] or (study, series) in wanted[key]:
            wanted[key].setdefault((study, series), []).append(ImageSetKey(*image_set))
    asked, beyond = _affordable(wanted, most)
    located, errors = archive.described.locate_readable(
        [one for key in asked for sets in wanted[key].values() for one in sets]
    )
    by_key = {
        key: [
            found
            for uids, sets in wanted[key].items()
            if (found := _own(scope, uids, [located[one] for one in sets if one in located]))
        ]
        for key in asked
    }
    unreadable = {
        key for key in asked if not by_key[key] and any(one in errors for one in chain(*wanted[key].values()))
    }
    return Series(by_key, beyond | unreadable)


def _own(scope: Scope, uids: _Uids, image_sets: Sequence[LocatedImageSet]) -> list[LocatedImageSet]:
    """Those of the image sets that are of the series of a row, whose columns may have cut its UIDs, and in scope."""

    def of_row(one: LocatedImageSet) -> bool:
        whole = (one.prepared.study_instance_uid, one.prepared.series_instance_uid)
        return all(
            column.strip() in {held.strip() for held in schema.held_uids(uid)}
            for uid, column in zip(whole, uids, strict=True)
        )

    found = [one for one in image_sets if of_row(one)]
    return found if scope.asks_of_series else scope.seen(found)


def _affordable(
    wanted: Mapping[int, Mapping[_Uids, Sequence[ImageSetKey]]], most: int | None
) -> tuple[list[int], frozenset[int]]:
    """The keys whose image sets are `most` together, in their order, and the others."""
    asked: list[int] = []
    left = most
    for key, series in wanted.items():
        number = sum(map(len, series.values()))
        if left is None or number <= left:
            asked.append(key)
            left = None if left is None else left - number
    return asked, frozenset(wanted) - frozenset(asked)


def with_unindexed(archive: Archive, query: Query, results: Sequence[Result]) -> list[Result]:
    """The results with what the index lacks of them, as far as that is not too much work.

    What they tell of their patient comes from the same image set: the row of a patient may be of several.
    """
    level = min(query.level, Level.SERIES)
    keys = list(dict.fromkeys(result.keys[level] for result in results))
    series = locate(archive, query.scope, level, keys, whole=False, most=archive.max_image_sets)
    instances = _instances_of(query.level, results, series)
    present = [instance for instance in instances if instance]
    data_sets = iter(archive.described.read(present, prefixes(query), archive.public_root()))
    return [
        replace(
            result,
            values={**result.values, **_patient_of(result, instance)} if instance else result.values,
            described=selected(query, next(data_sets)) if instance else {},
            truncated=result.truncated or result.keys[level] in series.beyond,
        )
        for result, instance in zip(results, instances, strict=True)
    ]


def _patient_of(result: Result, instance: LocatedInstance) -> dict[SearchAttribute, tuple[Value, ...]]:
    """What of a result is of its patient, as its image set tells it."""
    told = (one for one in result.values if one.level is Level.PATIENT and one.matching is not Matching.NONE)
    return {one: index_values(one, instance[0].shared_attributes) for one in told}


def _instances_of(level: Level, results: Sequence[Result], series: Series) -> list[LocatedInstance | None]:
    """For each result the instance that speaks for it; None if its image sets are gone or too many."""
    if level is not Level.INSTANCE:
        return [series.first(result.keys[level]) for result in results]
    by_uid = {(key, one[1].sop_instance_uid): one for key in series.by_key for one in series.instances(key)}
    return [by_uid.get((result.keys[Level.SERIES], str(result.values[INSTANCE_UID][0]))) for result in results]


def prefixes(query: Query) -> tuple[str, ...]:
    """What the tags begin with of all that results have, and the index lacks."""
    return ALL_TAGS if query.everything else prefixes_of(query.unindexed)


def prefixes_of(keys: Iterable[Key]) -> tuple[str, ...]:
    """What the tags begin with of all that must be read to find these attributes."""
    return tuple(sorted({prefix for key in keys for prefix in key.prefixes}))


def selected(query: Query, data_set: DataSet) -> DataSet:
    """Of a data set, what results have that the index lacks."""
    found: DataSet = select_all(data_set, query.highest, query.level) if query.everything else {}
    for unindexed in query.unindexed:
        found |= select_unindexed(data_set, unindexed)
    return found
