"""From a target to its instances: the index names image sets, and the image sets say what they are.

Whatever leaves the service of an instance comes from a `LocatedInstance` that a `Locator` gave, and it gives none that
is not of the study, series and instance of the target, or that the client may not see, by the image set's own word.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ahi.image_sets.frame_reference import FrameReference
from ahi.image_sets.image_set import ImageSetKey
from ahi.image_sets.prepared_reader import FORMAT, Block, BlockReference, BulkValue, PreparedImageSet, PreparedInstance
from ahi.retrieval.located_image_sets import LocatedImageSet
from ahi.retrieval.previous_versions import PreviousVersions
from ahi.retrieval.series_merge import merge_series, preferred
from ahi.retrieval.studies import FoundImageSets, Studies, by_series, is_in_study
from db.scope import Scope
from dicomweb.errors import NotFound, ProxyError
from dicomweb.uids import absent, resource_path
from wado.target import Target

IMPLEMENTATION = "3"
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
        return resource_path(self.study_instance_uid, self.series_instance_uid, self.prepared.sop_instance_uid)

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
    """Finds the instances of a target.

    `scope` tells what may be seen by the client whose request this thread answers. `note` is told what was found for
    it, and `note_unreadable` why some image sets that may belong to it cannot be read.
    """

    def __init__(
        self,
        studies: Studies,
        previous_versions: PreviousVersions,
        scope: Callable[[], Scope],
        note: Callable[[Sequence[LocatedInstance]], None] = lambda _: None,
        note_unreadable: Callable[[Sequence[ProxyError]], None] = lambda _: None,
    ) -> None:
        self._studies = studies
        self._note = note
        self._note_unreadable = note_unreadable
        self._previous_versions = previous_versions
        self._scope = scope

    def instances(self, target: Target) -> list[LocatedInstance]:
        """The instances of the target, series by series in display order; NotFound where there is none."""
        if target.sop_instance_uid:
            return [self.instance(target)]
        image_sets = self._image_sets(target)
        found = [
            _located(one, prepared)
            for sets in by_series(image_sets.image_sets).values()
            for one, prepared in merge_series(sets)
        ]
        own = self._given(target, found, image_sets.errors)
        if image_sets.errors:
            self._note_unreadable(image_sets.errors)
        return own

    def instance(self, target: Target) -> LocatedInstance:
        """The one instance of a target that names one; NotFound where there is none."""
        found = self._image_sets(target)
        return self._given(target, _instances(target, found.image_sets)[:1], found.errors)[0]

    def instance_with(self, target: Target, has: Callable[[PreparedInstance], bool]) -> LocatedInstance:
        """The one instance of a target, for what metadata leads to: frames and bulk values.

        As it was in an earlier version of a short while ago if it lacks now what is asked for, and had it then: whoever
        holds the metadata of that version finds what it speaks of. NotFound where there is no such instance at all.
        """
        found = self._image_sets(target)
        image_sets = found.image_sets
        now = _instances(target, image_sets)[:1]
        if now and has(now[0].prepared):
            return self._given(target, now, ())[0]
        scope = self._scope()
        then = (
            instance
            for one in preferred(image_sets)
            for version in self._previous_versions.of(one)
            if version in scope.seen([version, *image_sets])
            for instance in _instances(target, [version])
            if has(instance.prepared)
        )
        return self._given(target, [one for one in (next(then, None), *now) if one][:1], found.errors)[0]

    def instance_with_frames(self, target: Target, frame_numbers: Sequence[int]) -> LocatedInstance:
        """The same for frames, counted from 1."""
        return self.instance_with(target, lambda prepared: len(prepared.frames) >= max(frame_numbers))

    def _image_sets(self, target: Target) -> FoundImageSets:
        study, series = target.study_instance_uid, target.series_instance_uid
        found = self._studies.find_readable(self._scope(), study, series)
        if not found.image_sets:
            raise absent(f"no such {'series' if series else 'study'}", study, series)
        return found

    def _given(
        self, target: Target, found: list[LocatedInstance], errors: Sequence[ProxyError]
    ) -> list[LocatedInstance]:
        """What was found, as far as it is of the target; NotFound where nothing is, or why it may not be found."""
        own = [one for one in found if _is_of(target, one)]
        if not own:
            raise errors[0] if errors else absent(f"no such {target.level}", target.uid)
        self._note(own)
        return own


def _instances(target: Target, image_sets: Sequence[LocatedImageSet]) -> list[LocatedInstance]:
    """The instance of a target in each of the image sets that have it, that of the preferred one first."""
    uid = target.sop_instance_uid or ""
    return [
        _located(one, prepared)
        for one in preferred(image_sets)
        if is_in_study(one, target.study_instance_uid, target.series_instance_uid)
        and (prepared := one.prepared.by_uid.get(uid))
    ]


def _is_of(target: Target, one: LocatedInstance) -> bool:
    """Whether an instance has the UIDs of the target."""
    asked = (target.study_instance_uid, target.series_instance_uid, target.sop_instance_uid)
    own = (one.study_instance_uid, one.series_instance_uid, one.prepared.sop_instance_uid)
    return all(uid in (None, found) for uid, found in zip(asked, own, strict=True))


def _located(one: LocatedImageSet, prepared: PreparedInstance) -> LocatedInstance:
    study, series = one.prepared.study_instance_uid, one.prepared.series_instance_uid
    return LocatedInstance(study, series, one.key, one.properties.version, one.prepared, prepared)
