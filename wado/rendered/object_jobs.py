"""Renderings and thumbnails of objects without pixel data: jobs of the FrameFetcher processes."""

import hashlib
from dataclasses import dataclass

from ahi.workers.context import WorkerContext
from runtime.timing import measured
from wado.rendering.encode import FORMATS, encode
from wado.rendering.objects import draw_thumbnail, encode_object
from wado.rendering.parameters import Rendering
from wado.rendering.values import parse_head


@dataclass(frozen=True)
class ObjectPicture:
    """A request to render a data set (Explicit VR Little Endian) in a media type; URLs in it are below `root`.

    Of `rendering` the viewport and the quality count, and only for pictures in pixels.
    """

    head: bytes
    root: str
    media_type: str
    rendering: Rendering = Rendering()

    @property
    def cache_name(self) -> str:
        """The name in the cache, different for whatever gives other bytes."""
        shown = (self.rendering.viewport, self.rendering.quality) if self.media_type in FORMATS else ()
        digest = hashlib.sha256(repr((self.root, self.media_type, *shown)).encode() + self.head).hexdigest()
        return f"rendered/{digest[:2]}/{digest}"


def render_object(context: WorkerContext, picture: ObjectPicture) -> bytes:
    """The rendered object, from the cache or made now. NotAcceptable where there is nothing that can be drawn."""
    cached = context.cache.read(picture.cache_name)
    if cached is not None:
        return cached
    with measured("render", picture.media_type):
        encoded = encode_object(parse_head(picture.head), picture.media_type, picture.root, picture.rendering)
    context.cache.put(picture.cache_name, encoded)
    return encoded


@dataclass(frozen=True)
class ObjectThumbnail:
    """A request for the thumbnail of a data set (Explicit VR Little Endian), in pixels and in a media type."""

    head: bytes
    columns: int
    rows: int
    media_type: str


def render_thumbnail(_context: WorkerContext, request: ObjectThumbnail) -> bytes:
    """The encoded thumbnail."""
    with measured("render", request.media_type):
        picture = draw_thumbnail(parse_head(request.head), request.columns, request.rows)
        return encode([picture], request.media_type, None, None, 0)
