"""The rows of a series that has grown: its image sets are found in AHI, and written to the index."""

import logging
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from ahi.client.calls import AhiClient
from ahi.client.listing_calls import ListedImageSet, SeriesFilter
from ahi.image_sets.image_set import ImageSetKey, metadata_document, unreadable_metadata
from dicomweb.errors import NotFound, UnusableAnswer
from index.writing.writer import IndexWriter
from runtime.changes import Changes
from store.forward.queue import SeriesKey

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0
_MOST_PAGES = 20


class SeriesRows:
    """Writes the rows of series. Safe to share between threads."""

    def __init__(
        self,
        client: AhiClient,
        writer: IndexWriter,
        patience_seconds: float,
        metadata_bytes: int,
        changes: Changes,
    ) -> None:
        """A search may not yet find what was just stored: it is repeated for `patience_seconds`.

        `metadata_bytes` bounds the metadata of an image set. `changes` tells the processes that retrieve.
        """
        self._changes = changes
        self._client = client
        self._writer = writer
        self._patience_seconds = patience_seconds
        self._metadata_bytes = metadata_bytes

    def write(self, series: SeriesKey, stored: Collection[str]) -> Mapping[str, bool]:
        """Write the image sets of a series that the index does not have yet, or not in this version.

        Returns which of the `stored` instances are in the index now, and whether in a primary image set. Errors are
        those of the calls to AHI and of IndexWriter.
        """
        give_up_at = time.monotonic() + self._patience_seconds
        pause_seconds = _FIRST_PAUSE_SECONDS
        read: dict[str, tuple[ListedImageSet, frozenset[str]]] = {}
        while True:
            for listed in self._image_sets(series):
                self._read(series, listed, read)
            places = _places(read, stored)
            if len(places) == len(set(stored)) or time.monotonic() + pause_seconds > give_up_at:
                return places
            time.sleep(pause_seconds)
            pause_seconds = min(_LONGEST_PAUSE_SECONDS, 2 * pause_seconds)
            for listed, _ in list(read.values()):  # a search may know an older version
                self._read(series, self._latest(series, listed), read)

    def gained(self, series: SeriesKey, wanted: Collection[str]) -> set[str]:
        """Those of the `wanted` instances that are in a version of an image set that the index does not have.

        Nothing is written to the index. Errors are those of the calls to AHI and of IndexWriter.
        """
        listed = [self._latest(series, one) for one in self._image_sets(series)] if wanted else []
        recorded = self._writer.recorded(series.datastore_id, [one.image_set_id for one in listed])
        found: set[str] = set()
        for one in listed:
            known = recorded.get(one.image_set_id)
            if known is None or known.revision is None or known.revision.version < one.version:
                with suppress(NotFound):  # deleted meanwhile
                    metadata = self._metadata(ImageSetKey(series.datastore_id, one.image_set_id), one.version)
                    found.update(_instances(metadata, series).intersection(wanted))
        return found

    def _read(
        self, series: SeriesKey, listed: ListedImageSet, read: dict[str, tuple[ListedImageSet, frozenset[str]]]
    ) -> None:
        """Read and write one version, unless this one or a later one was read before."""
        before = read.get(listed.image_set_id)
        if before and before[0].version >= listed.version:
            return
        key = ImageSetKey(series.datastore_id, listed.image_set_id)
        try:
            metadata = self._metadata(key, listed.version)
            instances = _instances(metadata, series)
            with unreadable_metadata():
                self._writer.put(series.datastore_id, metadata, listed.version, listed.is_primary, listed.updated_at)
        except (NotFound, UnusableAnswer):  # deleted meanwhile, or broken on its way: the caller looks again
            return
        for name in (listed.image_set_id, series.study_instance_uid, series.series_instance_uid):
            self._changes.note(name)
        read[listed.image_set_id] = listed, instances

    def _metadata(self, key: ImageSetKey, version: int) -> dict[str, Any]:
        content = self._client.image_set_metadata(key, str(version), self._metadata_bytes)
        metadata: dict[str, Any] = metadata_document(content, self._metadata_bytes)
        return metadata

    def _image_sets(self, series: SeriesKey) -> list[ListedImageSet]:
        wanted = SeriesFilter(series.study_instance_uid, series.series_instance_uid)
        found: list[ListedImageSet] = []
        token: str | None = None
        for _ in range(_MOST_PAGES):
            page = self._client.listing.image_sets(series.datastore_id, wanted, token)
            found += page.image_sets
            token = page.next_token
            if not token:
                break
        return found

    def _latest(self, series: SeriesKey, listed: ListedImageSet) -> ListedImageSet:
        try:
            properties = self._client.image_set(ImageSetKey(series.datastore_id, listed.image_set_id))
        except NotFound:
            return listed
        updated_at = datetime.fromtimestamp(properties.updated_at, timezone.utc)
        return ListedImageSet(
            listed.image_set_id, int(properties.version), properties.is_primary, listed.created_at, updated_at
        )


def _instances(metadata: Mapping[str, Any], series: SeriesKey) -> frozenset[str]:
    """The SOP Instance UIDs of a series in the metadata of an image set; UnusableAnswer if it cannot be read."""
    with unreadable_metadata():
        return frozenset(metadata["Study"]["Series"].get(series.series_instance_uid, {}).get("Instances") or {})


def _places(read: Mapping[str, tuple[ListedImageSet, frozenset[str]]], stored: Collection[str]) -> dict[str, bool]:
    """The instances that were found, and whether a primary image set has them."""
    places: dict[str, bool] = {}
    for listed, uids in read.values():
        for uid in uids.intersection(stored):
            places[uid] = places.get(uid, False) or listed.is_primary
    return places
