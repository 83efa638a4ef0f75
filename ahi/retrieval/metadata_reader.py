"""What image sets say of their instances, read from the prepared form into data sets of the DICOM JSON Model.

A few data sets are read where they are asked for. Many are read by the fetchers, one job for each image set, all at
the same time, and only what is wanted comes back.
"""

import json
from collections.abc import Mapping, Sequence

from ahi.image_sets.image_set import ImageSetKey
from ahi.image_sets.prepared_reader import PreparedImageSet, PreparedInstance, prepared_cache_name
from ahi.retrieval.located_image_sets import ImageSets, LocatedImageSet
from ahi.retrieval.series_merge import LocatedInstance
from ahi.workers.context import WorkerContext
from ahi.workers.pool import FetcherPool, JobFuture
from dicomweb.dicom_json import DataSet, element
from dicomweb.errors import ProxyError, UpstreamBusy
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN
from runtime.fairness import in_turns

READ_IN_PROCESS_BYTES = 2**18
"""Of JSON text of one image set; what is longer is read by a fetcher. It takes some milliseconds."""

ALL_TAGS = ("",)
"""The prefixes of all tags."""

TRANSFER_SYNTAX = "00020010"
"""TransferSyntaxUID, which no data set has: it is added where it is read for, as that of the object as it is stored."""

_Read = JobFuture[list[DataSet] | None] | list[DataSet]


class MetadataReader:
    """Reads data sets of image sets."""

    def __init__(self, image_sets: ImageSets, fetchers: FetcherPool) -> None:
        self._image_sets = image_sets
        self._fetchers = fetchers

    def locate_readable(
        self, keys: Sequence[ImageSetKey]
    ) -> tuple[Mapping[ImageSetKey, LocatedImageSet], Mapping[ImageSetKey, ProxyError]]:
        """The image sets that AHI still has, and why some cannot be read; UpstreamBusy where that may pass."""
        located, errors = self._image_sets.locate_readable(keys)
        if passing := next((error for error in errors.values() if isinstance(error, UpstreamBusy)), None):
            raise passing
        return {one.key: one for one in located}, errors

    def read(self, instances: Sequence[LocatedInstance], prefixes: tuple[str, ...], public_root: str) -> list[DataSet]:
        """The data sets of the instances, in their order: the attributes whose tags begin with one of `prefixes`."""
        groups: dict[ImageSetKey, list[int]] = {}
        for index, (located, _) in enumerate(instances):
            groups.setdefault(located.key, []).append(index)
        begun: list[tuple[list[int], _Read]] = []
        try:
            for indexes in groups.values():
                located = instances[indexes[0]][0]
                begun.append(
                    (indexes, self._begin(located, [instances[at][1] for at in indexes], prefixes, public_root))
                )
            found: list[DataSet] = [{}] * len(instances)
            for indexes, reading in begun:
                some = [instances[at] for at in indexes]
                for at, data_set in zip(indexes, _completed(reading, some, prefixes, public_root), strict=True):
                    found[at] = data_set
            return found
        finally:
            for _, reading in begun:
                if isinstance(reading, JobFuture):
                    reading.abandon()

    def _begin(
        self, located: LocatedImageSet, instances: list[PreparedInstance], prefixes: tuple[str, ...], public_root: str
    ) -> _Read:
        if sum(instance.json[1] for instance in instances) <= READ_IN_PROCESS_BYTES:
            return _read(located.prepared, instances, prefixes, public_root)
        uids = tuple(instance.sop_instance_uid for instance in instances)
        name = prepared_cache_name(located.key, located.properties.version)
        return self._fetchers.submit(located.key.image_set_id, read_prepared, name, uids, prefixes, public_root)


def read_prepared(
    context: WorkerContext, name: str, uids: tuple[str, ...], prefixes: tuple[str, ...], public_root: str
) -> list[DataSet] | None:
    """The data sets of these instances of a prepared image set in the cache; None if it is not there any more."""
    blob = context.cache.read(name)
    if blob is None:
        return None
    prepared = PreparedImageSet.from_bytes(blob)
    return _read(prepared, [prepared.by_uid[uid] for uid in uids], prefixes, public_root)


def _completed(
    reading: _Read, instances: Sequence[LocatedInstance], prefixes: tuple[str, ...], public_root: str
) -> list[DataSet]:
    found = reading.result() if isinstance(reading, JobFuture) else reading
    if found is not None:
        return found
    return _read(instances[0][0].prepared, [prepared for _, prepared in instances], prefixes, public_root)


def _read(
    image_set: PreparedImageSet, instances: Sequence[PreparedInstance], prefixes: tuple[str, ...], public_root: str
) -> list[DataSet]:
    texts = (image_set.metadata(instance, public_root) for instance in in_turns(instances))
    found = [{tag: value for tag, value in json.loads(text).items() if tag.startswith(prefixes)} for text in texts]
    if TRANSFER_SYNTAX.startswith(prefixes):
        for data_set, instance in zip(found, instances, strict=True):
            uid = instance.transfer_syntax_uid if instance.frames else EXPLICIT_VR_LITTLE_ENDIAN
            data_set[TRANSFER_SYNTAX] = element("UI", [uid])
    return found
