"""The image sets of patients, studies and series that the index has found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.located_image_sets import LocatedImageSet
from ahi.retrieval.series_merge import LocatedInstance, merge_series, preferred
from db.index_kind import IndexKind
from db.scope import Scope
from qido.image_sets.archive import Archive
from qido.parse.attributes import Level
from qido.plan import image_set_statements

_Uids = tuple[str, str]  # of study and series


@dataclass(frozen=True)
class LocatedSeries:
    """The image sets of patients, studies or series: by their keys, then by series, the first series first.

    `beyond` are the keys whose image sets are too many, or cannot be read.
    """

    by_key: Mapping[int, Sequence[Sequence[LocatedImageSet]]]
    beyond: frozenset[int] = frozenset()

    def first(self, key: int) -> LocatedInstance | None:
        """The instance that represents a patient, study or series: the first one of its first series.

        If several image sets have that series, the preferred one counts.
        """
        shown = (one for sets in self.by_key.get(key, ()) for one in preferred(sets))
        return next(((one, instance) for one in shown for instance in one.prepared.instances), None)

    def instances(self, key: int) -> list[LocatedInstance]:
        """All instances, series by series, each in display order."""
        return [instance for sets in self.by_key.get(key, ()) for instance in merge_series(sets)]


def locate(
    archive: Archive, scope: Scope, level: Level, keys: Sequence[int], *, whole: bool, most: int | None
) -> LocatedSeries:
    """Read the image sets in scope of patients, studies or series with these keys: of all series if `whole`, or of the
    first one that has any.

    An image set counts only if its own attributes say that it is of the series and in scope. Not more than `most` are
    read: a key for which there would be more gets none.
    """
    kind = archive.database.index_kind
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
            if (found := _own(kind, scope, uids, [located[one] for one in sets if one in located]))
        ]
        for key in asked
    }
    unreadable = {
        key for key in asked if not by_key[key] and any(one in errors for one in chain(*wanted[key].values()))
    }
    return LocatedSeries(by_key, beyond | unreadable)


def _own(kind: IndexKind, scope: Scope, uids: _Uids, image_sets: Sequence[LocatedImageSet]) -> list[LocatedImageSet]:
    """The image sets that are in scope and of the series of a row, whose columns may have truncated its UIDs."""

    def of_row(one: LocatedImageSet) -> bool:
        whole = (one.prepared.study_instance_uid, one.prepared.series_instance_uid)
        return all(
            column.strip() in {held.strip() for held in kind.held_uids(uid)}
            for uid, column in zip(whole, uids, strict=True)
        )

    found = [one for one in image_sets if of_row(one)]
    return found if scope.asks_of_series else scope.seen(found)


def _affordable(
    wanted: Mapping[int, Mapping[_Uids, Sequence[ImageSetKey]]], most: int | None
) -> tuple[list[int], frozenset[int]]:
    """The first keys with at most `most` image sets together, and the others."""
    asked: list[int] = []
    left = most
    for key, series in wanted.items():
        number = sum(map(len, series.values()))
        if left is None or number <= left:
            asked.append(key)
            left = None if left is None else left - number
    return asked, frozenset(wanted) - frozenset(asked)
