"""One image set that may have changed: its rows become those of what AHI has now. Safe to share between threads.

The event is only a hint. AHI says whether the image set is there and in which version, and the ledger of the index says
which version was read. So an event that comes twice, late, or in the wrong order changes nothing.

The ledger is looked at before AHI is asked. So one that was deleted in the index is back if AHI shows it afterwards, as
updated since, or lists it besides. It is written then, unless another deletion was recorded meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from ahi.client.calls import AhiClient
from ahi.image_sets.image_set import ImageSetKey, ImageSetProperties
from dicomweb.errors import NotFound, UpstreamLocked
from index.follow.events import ImageSetHint
from index.writing.ledger import Recorded, Revision, utc
from index.writing.writer import IndexWriter

_READINGS = 3

Parse = Callable[[bytes], Any]
"""A function that decodes an answer of GetImageSetMetadata."""


class Outcome(Enum):
    """The outcome of an image set in the index."""

    WRITTEN = "written"
    UNCHANGED = "had this version already"
    REMOVED = "removed"
    ABSENT = "neither AHI nor the index has it"
    FAILED = "failed, and is tried again"
    ASIDE = "failed too often, and was put aside"
    LOCKED = "AHI is writing it, and it is tried again"


@dataclass
class Trial:
    """What an attempt has found out: the revision that AHI has, None before it has said so."""

    revision: Revision | None = None


@dataclass(frozen=True)
class ChangedImageSets:
    """Image sets in the index and at AHI."""

    client: AhiClient
    writer: IndexWriter
    parse: Parse

    def update(self, hint: ImageSetHint, trial: Trial | None = None, *, is_listed: bool = False) -> Outcome:
        """Bring the rows of an image set up to date in one transaction. `trial` gets what was found out.

        `is_listed`: AHI has listed it besides. That is a second sign that one that was deleted is back.
        Errors are those of the calls and of the writer. UpstreamLocked if it changes again and again meanwhile.
        """
        trial = trial or Trial()
        key = ImageSetKey(hint.datastore_id, hint.image_set_id)
        for _ in range(_READINGS):
            recorded = self.recorded(hint)
            try:
                properties = self.client.image_set(key)
            except NotFound:
                return self._gone(hint, recorded)
            trial.revision = revision = revision_of(properties)
            is_back = is_listed and recorded is not None and recorded.is_deleted
            if not is_back and self.has(hint, recorded, revision):
                return Outcome.UNCHANGED
            try:
                blob = self.client.image_set_metadata(key, properties.version)
            except NotFound:  # deleted, or changed, since the call before
                continue
            self.put(hint, blob, revision, recorded)
            return Outcome.WRITTEN
        raise UpstreamLocked("AWS HealthImaging has no metadata of the version that it names")

    def recorded(self, hint: ImageSetHint) -> Recorded | None:
        """The row of an image set in the ledger."""
        return self.writer.recorded(hint.datastore_id, [hint.image_set_id]).get(hint.image_set_id)

    def has(self, hint: ImageSetHint, recorded: Recorded | None, revision: Revision) -> bool:
        """Whether the index has this revision or a later one. If so, failures of before no longer count."""
        is_known = has_version(recorded, revision)
        if is_known and recorded and recorded.attempts:
            self.writer.forget_failures(hint.datastore_id, hint.image_set_id)
        return is_known

    def put(self, hint: ImageSetHint, blob: bytes, revision: Revision, recorded: Recorded | None) -> None:
        """Write a revision of which AHI gave this metadata. ValueError if it is that of another image set.

        `recorded` is the row of the ledger from before AHI was asked.
        """
        metadata = self.parse(blob)
        if metadata.get("ImageSetID", hint.image_set_id) != hint.image_set_id:
            raise ValueError("the metadata of another image set")
        named = {**metadata, "ImageSetID": hint.image_set_id}
        self.writer.put(
            hint.datastore_id, named, revision.version, revision.is_primary, revision.updated_at,
            returned_after=recorded.deleted_at if recorded else None,
        )  # fmt: skip

    def _gone(self, hint: ImageSetHint, recorded: Recorded | None) -> Outcome:
        """Remove the rows; NotFound if this may be an error. All rows are at stake, so AHI's word must be certain.

        An image set that was never read may be one that AHI does not show yet. And a client of another account or
        region would find no image set at all: such a one does not find the data store either.
        """
        if not hint.deleted:
            if recorded is None:
                return Outcome.ABSENT
            if recorded.revision is None and not recorded.is_deleted:
                raise NotFound("AWS HealthImaging does not show it")
            self.client.ping(hint.datastore_id)
        self.writer.remove(hint.datastore_id, hint.image_set_id)
        was_gone = recorded is not None and recorded.is_deleted and not hint.deleted
        return Outcome.UNCHANGED if was_gone else Outcome.REMOVED


def revision_of(properties: ImageSetProperties) -> Revision:
    """The revision that AHI names."""
    updated_at = utc(datetime.fromtimestamp(properties.updated_at, timezone.utc))
    return Revision(int(properties.version), updated_at, properties.is_primary)


def has_version(recorded: Recorded | None, revision: Revision) -> bool:
    """Whether the index has this revision or a later one of an image set, or a later deletion."""
    if recorded is None:
        return False
    if recorded.deleted_at:
        return recorded.deleted_at >= revision.updated_at
    return recorded.revision is not None and recorded.revision.order >= revision.order
