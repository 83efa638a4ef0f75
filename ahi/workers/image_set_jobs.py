"""Jobs that find the version of an image set and write its prepared file. Runs in the FrameFetcher processes."""

import logging
import time
from functools import partial

from ahi.codecs.frames import PixelFormat
from ahi.image_sets.frame_reference import FrameReference
from ahi.image_sets.image_set import ImageSet, ImageSetKey, ImageSetProperties, Instance, unreadable_metadata
from ahi.image_sets.prepared_reader import Block, prepared_cache_name
from ahi.image_sets.prepared_writer import encode_prepared
from ahi.image_sets.version_cache import Version
from ahi.workers.context import WorkerContext
from ahi.workers.frame_jobs import stored_frame
from dicomweb.errors import (
    NotFound,
    UnusableAnswer,
    UpstreamBroken,
    UpstreamFailed,
)
from dicomweb.transfer_syntax import (
    HTJ2K_LOSSLESS_RPCL,
)

log = logging.getLogger(__name__)


def read_block(context: WorkerContext, block: Block) -> bytes:
    """The bytes of a block; what is no longer in the cache is prepared again, once for all who ask."""
    if isinstance(block, bytes):
        return block
    key, version, start, length_bytes = block.image_set, block.version, block.start, block.length_bytes
    name = prepared_cache_name(key, version)
    kept = context.cache.piece(name, start, length_bytes)
    if kept is None:
        blob = context.shared_runs.run(name, lambda: read_version(context, key, version))
        kept = blob[start : start + length_bytes]
    return kept


def prepare_image_set(context: WorkerContext, key: ImageSetKey) -> tuple[Version, bytes | None]:
    """The latest version of an image set, prepared. NotFound when AHI no longer has it."""
    version = context.versions.latest(key, partial(_ask_version, context, key))
    try:
        return version, _prepared(context, key, version.properties.version)
    except NotFound as error:
        context.versions.forget(key)
        context.client.image_set(key)  # NotFound if it was deleted meanwhile
        raise UpstreamBroken("AWS HealthImaging has the image set, but not all of it at the moment") from error


def has_image_set(context: WorkerContext, key: ImageSetKey) -> bool:
    """Whether AHI has an image set now, whatever is remembered."""
    began = time.monotonic()
    try:
        context.versions.put(key, context.client.image_set(key), began)
    except NotFound:
        return False
    return True


def _ask_version(context: WorkerContext, key: ImageSetKey, patience_seconds: float | None) -> ImageSetProperties:
    return context.client.image_set(key, patience_seconds=patience_seconds)


def prepare_version(context: WorkerContext, key: ImageSetKey, version: str) -> tuple[ImageSetProperties, bytes | None]:
    """An earlier version of an image set, prepared. NotFound when AHI no longer has it."""
    return context.client.image_set(key, version), _prepared(context, key, version)


def read_version(context: WorkerContext, key: ImageSetKey, version: str) -> bytes:
    """The bytes of a version, prepared, for a process that cannot read them in the cache."""
    kept = context.cache.read(prepared_cache_name(key, version))
    return _prepare(context, key, version)[0] if kept is None else kept


def _prepared(context: WorkerContext, key: ImageSetKey, version: str) -> bytes | None:
    if context.cache.use(prepared_cache_name(key, version)):
        return None
    blob, kept = _prepare(context, key, version)
    return None if kept else blob


def _prepare(context: WorkerContext, key: ImageSetKey, version: str) -> tuple[bytes, bool]:
    """The prepared form, and whether it is in the cache now."""

    def first_frame(instance: Instance, pixels: PixelFormat | None) -> bytes:
        uid = instance.stored_transfer_syntax_uid or HTJ2K_LOSSLESS_RPCL  # checked as JPEG 2000 is
        try:
            return stored_frame(context, FrameReference(key, instance.frames[0], uid, pixels))
        except UpstreamBroken as error:
            context.client.ping(key.datastore_id)  # raises where AHI has an error as a whole
            raise UpstreamFailed("AWS HealthImaging has an error with a frame") from error

    image_set = _image_set(context, key, version)
    with unreadable_metadata():
        blob = encode_prepared(image_set, first_frame)
    kept = context.cache.put(prepared_cache_name(key, version), blob)
    log.info(
        "image set prepared image_set=%s version=%s instances=%d",
        key.image_set_id,
        version,
        len(image_set.instances),
    )
    return blob, kept


def _image_set(context: WorkerContext, key: ImageSetKey, version: str) -> ImageSet:
    """The metadata of a version, which is had once more where it cannot be read."""
    max_bytes = context.limits.metadata_bytes
    try:
        return ImageSet.from_metadata(context.client.image_set_metadata(key, version, max_bytes), max_bytes)
    except UnusableAnswer:
        log.warning("metadata cannot be read, fetching again image_set=%s version=%s", key.image_set_id, version)
    return ImageSet.from_metadata(context.client.image_set_metadata(key, version, max_bytes), max_bytes)
