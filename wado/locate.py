"""From a target to its instances: the index names the image sets, AHI's metadata says what is in them."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ahi.earlier import EarlierVersions
from ahi.image_set import ImageSetKey
from ahi.jobs import Block, BlockReference, FrameReference
from ahi.merged import merged, preferred
from ahi.prepared import FORMAT, BulkValue, PreparedImageSet, PreparedInstance
from ahi.store import ImageSets, LocatedImageSet
from db.engine import Database
from db.image_sets import ImageSetRow, find_image_sets
from db.scope import Scope
from dicomweb.errors import NotFound
from dicomweb.uids import absent
from wado.target import Target

IMPLEMENTATION = "2"
"""Part of every entity tag: raise it when the same image sets are answered with other bytes."""

_SHORT_BYTES = 2**15  # what is sent to a fetcher with each question


@dataclass(frozen=True)
class LocatedInstance:
    """One instance: its path, its prepared form, and the image set, with its version, that it is taken from."""

    study_instance_uid: str
    series_instance_uid: str
    key: ImageSetKey
    version: str
    image_set: PreparedImageSet
    prepared: PreparedInstance

    @property
    def path(self) -> str:
        """The path below the service root."""
        return (
            f"/studies/{self.study_instance_uid}/series/{self.series_instance_uid}"
            f"/instances/{self.prepared.sop_instance_uid}"
        )

    @property
    def state(self) -> tuple[str, ...]:
        """What an entity tag of anything made from it follows from: the code's forms, the image set and its version."""
        key = self.key
        return (
            FORMAT,
            IMPLEMENTATION,
            key.datastore_id,
            key.image_set_id,
            self.version,
            self.prepared.sop_instance_uid,
        )

    @property
    def head(self) -> bytes:
        """Its data set up to the pixel data, Explicit VR Little Endian."""
        return self.image_set.block(self.prepared.native_head)

    @property
    def short_head(self) -> Block:
        """The same for a fetcher: where it is, if it is long, as those of thousands of frames are."""
        start, length_bytes = self.image_set.place(self.prepared.native_head)
        if length_bytes <= _SHORT_BYTES:
            return self.head
        return BlockReference(self.key, self.version, start, length_bytes)

    def frame(self, frame_number: int) -> FrameReference:
        """A frame, counted from 1; NotFound beyond the last."""
        if frame_number > len(self.prepared.frames):
            count = len(self.prepared.frames)
            raise NotFound(f"the instance has {count} frames" if count else "the instance has no pixel data")
        frame = self.prepared.frames[frame_number - 1]
        return FrameReference(self.key, frame, self.prepared.transfer_syntax_uid, self.prepared.pixels)

    def bulk(self, path: str) -> BulkValue:
        """The bulk value at a path of tags; NotFound where there is none, or where the metadata holds it itself."""
        value = self.prepared.bulk_value(path)
        if value is None:
            raise NotFound("no such bulk value")
        return value

    @property
    def frames(self) -> list[FrameReference]:
        """All frames in their order."""
        return [self.frame(number) for number in range(1, len(self.prepared.frames) + 1)]


class Locator:
    """Finds the instances of a target. What the index answered is believed for `index_seconds`.

    `scope` tells what may be seen by the client whose request this thread answers; `note` is told what was found for
    it.
    """

    def __init__(
        self,
        database: Database,
        image_sets: ImageSets,
        earlier: EarlierVersions,
        scope: Callable[[], Scope],
        note: Callable[[Sequence[LocatedInstance]], None] = lambda _: None,
        *,
        index_seconds: float = 2.0,
    ) -> None:
        self._database = database
        self._note = note
        self._image_sets = image_sets
        self._earlier = earlier
        self._scope = scope
        self._rows = _Brief(index_seconds)

    def instances(self, target: Target) -> list[LocatedInstance]:
        """The instances of the target, series by series in display order; NotFound where there is none."""
        if target.sop_instance_uid:
            return [self.instance(target)]
        found = [
            _located(target, series, one, prepared)
            for series, sets in self._sets_by_series(target).items()
            for one, prepared in merged(sets)
        ]
        if not found:
            raise NotFound(f"no such {target.level}")
        self._note(found)
        return found

    def instance(self, target: Target) -> LocatedInstance:
        """The one instance of a target that names one; NotFound where there is none."""
        return self._noted(target, _instance(target, self._sets_by_series(target)))

    def instance_with(self, target: Target, has: Callable[[PreparedInstance], bool]) -> LocatedInstance:
        """The one instance of a target, for what metadata leads to: frames and bulk values.

        As it was in an earlier version of a short while ago if it lacks now what is asked for, and had it then: whoever
        holds the metadata of that version finds what it speaks of. NotFound where there is no such instance at all.
        """
        by_series = self._sets_by_series(target)
        now = _instance(target, by_series)
        if now and has(now.prepared):
            return self._noted(target, now)
        then = (
            _instance(target, {series: [version]})
            for series, sets in by_series.items()
            for one in preferred(sets)
            for version in self._earlier.of(one)
        )
        return self._noted(target, next((one for one in then if one and has(one.prepared)), now))

    def instance_with_frames(self, target: Target, frame_numbers: Sequence[int]) -> LocatedInstance:
        """The same for frames, counted from 1."""
        return self.instance_with(target, lambda prepared: len(prepared.frames) >= max(frame_numbers))

    def _noted(self, target: Target, found: LocatedInstance | None) -> LocatedInstance:
        if found is None:
            raise absent("no such instance", target.sop_instance_uid)
        self._note([found])
        return found

    def _sets_by_series(self, target: Target) -> dict[str, list[LocatedImageSet]]:
        rows = self._rows_of(target)
        keys = [ImageSetKey(row.datastore_id, row.image_set_id) for row in rows]
        located = {one.key: one for one in self._image_sets.locate(keys)}
        by_series: dict[str, list[LocatedImageSet]] = {}
        for row, key in zip(rows, keys, strict=True):
            if key in located:
                by_series.setdefault(row.series_instance_uid, []).append(located[key])
        return by_series

    def _rows_of(self, target: Target) -> list[ImageSetRow]:
        where = (self._scope(), target.study_instance_uid, target.series_instance_uid)
        rows = self._rows.get(where)
        if rows is None:
            rows = find_image_sets(self._database, *where)
            if not rows:
                what = f"no such {'series' if target.series_instance_uid else 'study'}"
                raise absent(what, target.study_instance_uid, target.series_instance_uid)
            self._rows.put(where, rows)
        return rows


def _instance(target: Target, by_series: Mapping[str, Sequence[LocatedImageSet]]) -> LocatedInstance | None:
    """The instance of a target in the image sets of its series."""
    for series, sets in by_series.items():
        for one in preferred(sets):
            prepared = one.prepared.by_uid.get(target.sop_instance_uid or "")
            if prepared:
                return _located(target, series, one, prepared)
    return None


def _located(target: Target, series: str, one: LocatedImageSet, prepared: PreparedInstance) -> LocatedInstance:
    version = one.properties.version
    return LocatedInstance(target.study_instance_uid, series, one.key, version, one.prepared, prepared)


_Where = tuple[Scope, str, str | None]


class _Brief:
    """Index answers for a moment: a viewer that opens a series asks for the same rows once per slice."""

    def __init__(self, seconds: float, most: int = 1024) -> None:
        self._seconds = seconds
        self._most = most
        self._lock = threading.Lock()
        self._kept: dict[_Where, tuple[float, list[ImageSetRow]]] = {}

    def get(self, where: _Where) -> list[ImageSetRow] | None:
        with self._lock:
            at, rows = self._kept.get(where, (0.0, None))
            return rows if time.monotonic() - at < self._seconds else None

    def put(self, where: _Where, rows: list[ImageSetRow]) -> None:
        with self._lock:
            if len(self._kept) >= self._most:
                self._kept.clear()
            self._kept[where] = (time.monotonic(), rows)
