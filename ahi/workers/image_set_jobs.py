"""Jobs that find the version of an image set and write its prepared file. Runs in the FrameFetcher processes.

The prepared file goes to the cache. A job returns its bytes only where the cache cannot be written. A process that
cannot read the cache runs `read_version`.
"""

import logging
import time
from functools import partial

from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.frame_reference import FrameReference
from ahi.image_sets.image_set import ImageSet, ImageSetKey, ImageSetProperties, Instance, unreadable_metadata
from ahi.image_sets.prepared_reader import Block, prepared_cache_name
from ahi.image_sets.prepared_writer import encode_prepared
from ahi.workers.context import WorkerContext
from ahi.workers.frame_jobs import stored_frame
from ahi.workers.results import CachedBytes, PreparedLatest, PreparedPrevious
from dicomweb.errors import NotFound, UnusableAnswer, UpstreamBroken, UpstreamFailed
from dicomweb.transfer_syntax import HTJ2K_LOSSLESS_RPCL

log = logging.getLogger(__name__)


def prepare_image_set(context: WorkerContext, key: ImageSetKey) -> PreparedLatest:
    """Prepare the latest version of an image set. NotFound when AHI no longer has the image set."""
    version = context.versions.latest(key, partial(_fetch_properties, context, key))
    try:
        return PreparedLatest(version, _prepare(context, key, version.properties.version))
    except NotFound as error:
        context.versions.forget(key)
        context.client.image_set(key)  # NotFound if the image set was deleted meanwhile
        raise UpstreamBroken("AWS HealthImaging has the image set, but not all of it at the moment") from error


def prepare_version(context: WorkerContext, key: ImageSetKey, version: str) -> PreparedPrevious:
    """Prepare a previous version of an image set. NotFound when AHI no longer has it."""
    return PreparedPrevious(context.client.image_set(key, version), _prepare(context, key, version))


def read_version(context: WorkerContext, key: ImageSetKey, version: str) -> bytes:
    """Return the prepared file of a version, for a process that cannot read it in the cache."""
    cached = context.cache.read(prepared_cache_name(key, version))
    return _write_prepared(context, key, version).content if cached is None else cached


def read_block(context: WorkerContext, block: Block) -> bytes:
    """Return the bytes of a block. An evicted prepared file is written again, once for all threads."""
    if isinstance(block, bytes):
        return block
    key, version, start, length_bytes = block.image_set, block.version, block.start, block.length_bytes
    name = prepared_cache_name(key, version)
    content = context.cache.piece(name, start, length_bytes)
    if content is None:
        prepared = context.shared_runs.run(name, lambda: read_version(context, key, version))
        content = prepared[start : start + length_bytes]
    return content


def has_image_set(context: WorkerContext, key: ImageSetKey) -> bool:
    """Ask AHI whether it has an image set now."""
    checked_at = time.monotonic()
    try:
        context.versions.put(key, context.client.image_set(key), checked_at)
    except NotFound:
        return False
    return True


def _fetch_properties(context: WorkerContext, key: ImageSetKey, patience_seconds: float | None) -> ImageSetProperties:
    return context.client.image_set(key, patience_seconds=patience_seconds)


def _prepare(context: WorkerContext, key: ImageSetKey, version: str) -> bytes | None:
    """Put the prepared file of a version into the cache; return it only if the cache cannot keep it."""
    if context.cache.use(prepared_cache_name(key, version)):
        return None
    return _write_prepared(context, key, version).unless_cached


def _write_prepared(context: WorkerContext, key: ImageSetKey, version: str) -> CachedBytes:
    image_set = _fetch_image_set(context, key, version)
    with unreadable_metadata():
        prepared = encode_prepared(image_set, partial(_first_frame, context, key))
    is_cached = context.cache.put(prepared_cache_name(key, version), prepared)
    log.info(
        "image set prepared image_set=%s version=%s instances=%d", key.image_set_id, version, len(image_set.instances)
    )
    return CachedBytes(prepared, is_cached)


def _first_frame(context: WorkerContext, key: ImageSetKey, instance: Instance, pixels: PixelFormat | None) -> bytes:
    """Return the stored bytes of the first frame of an instance.

    UpstreamFailed where AHI has an error with this frame alone; another error where it has one with all requests.
    """
    uid = instance.stored_transfer_syntax_uid or HTJ2K_LOSSLESS_RPCL  # checked in the same way as JPEG 2000
    try:
        return stored_frame(context, FrameReference(key, instance.frames[0], uid, pixels))
    except UpstreamBroken as error:
        context.client.ping(key.datastore_id)  # raises where AHI has an error with all requests
        raise UpstreamFailed("AWS HealthImaging has an error with a frame") from error


def _fetch_image_set(context: WorkerContext, key: ImageSetKey, version: str) -> ImageSet:
    """Fetch and parse the metadata of a version. Metadata that cannot be read is fetched once more."""
    max_bytes = context.limits.metadata_bytes
    try:
        return ImageSet.from_metadata(context.client.image_set_metadata(key, version, max_bytes), max_bytes)
    except UnusableAnswer:
        log.warning("metadata cannot be read, fetching again image_set=%s version=%s", key.image_set_id, version)
    return ImageSet.from_metadata(context.client.image_set_metadata(key, version, max_bytes), max_bytes)
