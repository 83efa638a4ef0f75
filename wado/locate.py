"""From a target to its instances: the index names image sets, and these say what they contain.

Runs in the web processes. Everything that is sent of an instance comes from a `LocatedInstance`, and only a `Locator`
makes one. It checks the UIDs of the target, and what the client may see, against the image set itself.
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
"""Part of every entity tag: raise it when the same image sets give other bytes."""

_SHORT_BYTES = 2**15  # a data set of this size is sent to a fetcher with each job


@dataclass(frozen=True)
class LocatedInstance:
    """One instance in prepared form, and the version of the image set that it comes from."""

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
        """The facts that entity tags depend on: format, implementation, image set, version and instance."""
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
        """The data set up to the pixel data, in Explicit VR Little Endian."""
        return self.image_set.block(self.prepared.native_head)

    @property
    def short_head(self) -> Block:
        """The data set for a job. A long one, of thousands of frames for example, is sent as a reference."""
        start, length_bytes = self.image_set.place(self.prepared.native_head)
        if length_bytes <= _SHORT_BYTES:
            return self.head
        return BlockReference(self.key, self.version, start, length_bytes)

    def frame(self, frame_number: int) -> FrameReference:
        """A frame by its number from 1; NotFound beyond the last."""
        if frame_number > len(self.prepared.frames):
            count = len(self.prepared.frames)
            raise NotFound(f"the instance has {count} frames" if count else "the instance has no pixel data")
        frame = self.prepared.frames[frame_number - 1]
        return FrameReference(self.key, frame, self.prepared.transfer_syntax_uid, self.prepared.pixels)

    def bulk(self, path: str) -> BulkValue:
        """The bulk value at a path of tags; NotFound where there is none, or where it is part of the metadata."""
        value = self.prepared.bulk_value(path)
        if value is None:
            raise NotFound("no such bulk value")
        return value

    @property
    def frames(self) -> list[FrameReference]:
        """All frames, in order."""
        return [self.frame(number) for number in range(1, len(self.prepared.frames) + 1)]


class Locator:
    """Finds the instances of a target.

    `scope` gives what the client of the current request may see. `note` is called with the instances of each answer,
    `note_unreadable` with the errors of image sets that may belong to the target and cannot be read.
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
        """The instances of the target, series by series in display order; NotFound if there is none."""
        if target.sop_instance_uid:
            return [self.instance(target)]
        found = self._image_sets(target)
        instances = [
            _located(image_set, prepared)
            for image_sets in by_series(found.image_sets).values()
            for image_set, prepared in merge_series(image_sets)
        ]
        of_target = self._checked(target, instances, found.errors)
        if found.errors:
            self._note_unreadable(found.errors)
        return of_target

    def instance(self, target: Target) -> LocatedInstance:
        """The instance of a target at instance level; NotFound if there is none."""
        found = self._image_sets(target)
        return self._checked(target, _instances(target, found.image_sets)[:1], found.errors)[0]

    def instance_with(self, target: Target, has: Callable[[PreparedInstance], bool]) -> LocatedInstance:
        """The instance of a target, for frames and bulk values that its metadata refers to.

        If the latest version lacks what `has` asks for, a recently replaced version that has it is given. So a client
        that read the metadata before finds what it refers to. NotFound if there is no such instance at all.
        """
        found = self._image_sets(target)
        image_sets = found.image_sets
        latest = _instances(target, image_sets)[:1]
        if latest and has(latest[0].prepared):
            return self._checked(target, latest, ())[0]
        scope = self._scope()
        previous = (
            instance
            for image_set in preferred(image_sets)
            for version in self._previous_versions.of(image_set)
            if version in scope.seen([version, *image_sets])
            for instance in _instances(target, [version])
            if has(instance.prepared)
        )
        candidates = [instance for instance in (next(previous, None), *latest) if instance]
        return self._checked(target, candidates[:1], found.errors)[0]

    def instance_with_frames(self, target: Target, frame_numbers: Sequence[int]) -> LocatedInstance:
        """The instance of a target that has these frames, counted from 1, as `instance_with` finds it."""
        return self.instance_with(target, lambda prepared: len(prepared.frames) >= max(frame_numbers))

    def _image_sets(self, target: Target) -> FoundImageSets:
        study, series = target.study_instance_uid, target.series_instance_uid
        found = self._studies.find_readable(self._scope(), study, series)
        if not found.image_sets:
            raise absent(f"no such {'series' if series else 'study'}", study, series)
        return found

    def _checked(
        self, target: Target, instances: list[LocatedInstance], errors: Sequence[ProxyError]
    ) -> list[LocatedInstance]:
        """The instances that belong to the target. If none does, the first of `errors` is raised, else NotFound."""
        of_target = [instance for instance in instances if _is_of(target, instance)]
        if not of_target:
            raise errors[0] if errors else absent(f"no such {target.level}", target.uid)
        self._note(of_target)
        return of_target


def _instances(target: Target, image_sets: Sequence[LocatedImageSet]) -> list[LocatedInstance]:
    """The instance of a target in each image set that has it, that of the preferred image set first."""
    uid = target.sop_instance_uid or ""
    return [
        _located(image_set, prepared)
        for image_set in preferred(image_sets)
        if is_in_study(image_set, target.study_instance_uid, target.series_instance_uid)
        and (prepared := image_set.prepared.by_uid.get(uid))
    ]


def _is_of(target: Target, instance: LocatedInstance) -> bool:
    """Whether an instance has the UIDs of the target."""
    wanted = (target.study_instance_uid, target.series_instance_uid, target.sop_instance_uid)
    actual = (instance.study_instance_uid, instance.series_instance_uid, instance.prepared.sop_instance_uid)
    return all(uid in (None, own) for uid, own in zip(wanted, actual, strict=True))


def _located(image_set: LocatedImageSet, prepared: PreparedInstance) -> LocatedInstance:
    study, series = image_set.prepared.study_instance_uid, image_set.prepared.series_instance_uid
    version = image_set.properties.version
    return LocatedInstance(study, series, image_set.key, version, image_set.prepared, prepared)
