"""Reads the metadata of instances from prepared files into data sets of the DICOM JSON Model (PS3.18 Annex F).

Runs in the web processes. They read small metadata themselves. FrameFetchers read large metadata, one job for each
image set, and only the requested attributes come back.
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
"""JSON text of one image set, read in some milliseconds. Longer text is read in a FrameFetcher."""

ALL_TAGS = ("",)
"""The prefix of every tag."""

TRANSFER_SYNTAX = "00020010"
"""TransferSyntaxUID, which no data set has. It is added when it is requested: that of the stored object."""

_Reading = JobFuture[list[DataSet] | None] | list[DataSet]


class MetadataReader:
    """Reads data sets of image sets. Safe to share between threads."""

    def __init__(self, image_sets: ImageSets, fetchers: FetcherPool) -> None:
        self._image_sets = image_sets
        self._fetchers = fetchers

    def locate_readable(
        self, keys: Sequence[ImageSetKey]
    ) -> tuple[Mapping[ImageSetKey, LocatedImageSet], Mapping[ImageSetKey, ProxyError]]:
        """Return the image sets that AHI still has, and the errors of unreadable ones. UpstreamBusy is raised."""
        located, errors = self._image_sets.locate_readable(keys)
        if busy := next((error for error in errors.values() if isinstance(error, UpstreamBusy)), None):
            raise busy
        return {image_set.key: image_set for image_set in located}, errors

    def read(self, instances: Sequence[LocatedInstance], prefixes: tuple[str, ...], public_root: str) -> list[DataSet]:
        """Return a data set for each instance, in order: the attributes whose tags begin with one of `prefixes`."""
        groups: dict[ImageSetKey, list[int]] = {}
        for index, (located, _) in enumerate(instances):
            groups.setdefault(located.key, []).append(index)
        readings: list[tuple[list[int], _Reading]] = []
        try:
            for indexes in groups.values():
                located = instances[indexes[0]][0]
                readings.append(
                    (indexes, self._begin(located, [instances[at][1] for at in indexes], prefixes, public_root))
                )
            data_sets: list[DataSet] = [{}] * len(instances)
            for indexes, reading in readings:
                group = [instances[at] for at in indexes]
                for at, data_set in zip(indexes, _result(reading, group, prefixes, public_root), strict=True):
                    data_sets[at] = data_set
            return data_sets
        finally:
            for _, reading in readings:
                if isinstance(reading, JobFuture):
                    reading.abandon()

    def _begin(
        self, located: LocatedImageSet, instances: list[PreparedInstance], prefixes: tuple[str, ...], public_root: str
    ) -> _Reading:
        if sum(instance.json[1] for instance in instances) <= READ_IN_PROCESS_BYTES:
            return _read(located.prepared, instances, prefixes, public_root)
        uids = tuple(instance.sop_instance_uid for instance in instances)
        name = prepared_cache_name(located.key, located.properties.version)
        return self._fetchers.submit(located.key.image_set_id, read_prepared, name, uids, prefixes, public_root)


def read_prepared(
    context: WorkerContext, name: str, uids: tuple[str, ...], prefixes: tuple[str, ...], public_root: str
) -> list[DataSet] | None:
    """Job: read data sets of instances from a prepared file in the cache; None if it was evicted."""
    content = context.cache.read(name)
    if content is None:
        return None
    prepared = PreparedImageSet.from_bytes(content)
    return _read(prepared, [prepared.by_uid[uid] for uid in uids], prefixes, public_root)


def _result(
    reading: _Reading, instances: Sequence[LocatedInstance], prefixes: tuple[str, ...], public_root: str
) -> list[DataSet]:
    data_sets = reading.result() if isinstance(reading, JobFuture) else reading
    if data_sets is not None:
        return data_sets
    return _read(instances[0][0].prepared, [prepared for _, prepared in instances], prefixes, public_root)


def _read(
    image_set: PreparedImageSet, instances: Sequence[PreparedInstance], prefixes: tuple[str, ...], public_root: str
) -> list[DataSet]:
    texts = (image_set.metadata(instance, public_root) for instance in in_turns(instances))
    data_sets = [{tag: value for tag, value in json.loads(text).items() if tag.startswith(prefixes)} for text in texts]
    if TRANSFER_SYNTAX.startswith(prefixes):
        for data_set, instance in zip(data_sets, instances, strict=True):
            uid = instance.transfer_syntax_uid if instance.frames else EXPLICIT_VR_LITTLE_ENDIAN
            data_set[TRANSFER_SYNTAX] = element("UI", [uid])
    return data_sets
