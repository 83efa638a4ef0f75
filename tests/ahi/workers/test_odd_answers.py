"""Wrong frames and metadata are fetched once more, and kept if their pixels have the right checksum."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

import imagecodecs
import numpy as np
import pytest

from ahi.cache.cache import Cache
from ahi.client.calls import AhiClient
from ahi.codecs.frames import HAS_OPENJPH
from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.frame_reference import FrameReference
from ahi.image_sets.image_set import Frame, ImageSetKey, ImageSetProperties
from ahi.image_sets.prepared_reader import prepared_cache_name
from ahi.image_sets.version_cache import VersionCache
from ahi.workers.context import WorkerContext
from ahi.workers.frame_jobs import fetch_frame
from ahi.workers.image_set_jobs import prepare_image_set
from dicomweb.errors import UnusableAnswer
from dicomweb.transfer_syntax import HTJ2K_LOSSLESS_RPCL, FrameEncoding

SIDE = 64
PIXELS = np.random.default_rng(1).integers(0, 4096, (SIDE, SIDE), "<u2")
RIGHT = bytes(imagecodecs.htj2k_encode(PIXELS, reversible=True)) if HAS_OPENJPH else b""
WITHOUT_END = RIGHT[:-2]
NEEDS_OPENJPH = pytest.mark.skipif(not HAS_OPENJPH, reason="the other decoder wants the end of a codestream")
KEY = ImageSetKey("0" * 32, "1" * 32)
METADATA = json.dumps({"Study": {"DICOM": {"StudyInstanceUID": "1.2"}, "Series": {"1.3": {"Instances": {}}}}}).encode()


class Ahi:
    """Gives these bodies, one after another; the last for ever."""

    def __init__(self, *bodies: bytes) -> None:
        self.bodies = list(bodies)
        self.calls = 0

    def image_frame(self, _key: ImageSetKey, _frame_id: str) -> bytes:
        self.calls += 1
        return self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]

    def image_set(self, _key: ImageSetKey, patience_seconds: float | None = None) -> ImageSetProperties:
        return ImageSetProperties("1", is_primary=True, updated_at=0)

    def image_set_metadata(self, key: ImageSetKey, _version: str, _max_bytes: int) -> bytes:
        return self.image_frame(key, "")


Made = Callable[..., tuple[WorkerContext, Ahi]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def make(*bodies: bytes) -> tuple[WorkerContext, Ahi]:
        ahi = Ahi(*bodies)
        return WorkerContext(cast(AhiClient, ahi), Cache(tmp_path, 2**24), VersionCache(60)), ahi

    return make


def _reference(checksum: int | None) -> FrameReference:
    pixels = PixelFormat(SIDE, SIDE, 1, 16, 0, "MONOCHROME2")
    return FrameReference(KEY, Frame("f" * 32, checksum), HTJ2K_LOSSLESS_RPCL, pixels)


SUMMED = _reference(zlib.crc32(PIXELS.tobytes()))


@NEEDS_OPENJPH
def test_an_odd_frame_that_has_its_pixels_is_right(made: Made) -> None:
    context, ahi = made(WITHOUT_END)
    assert fetch_frame(context, SUMMED, FrameEncoding.STORED) is None
    assert context.cache.read(SUMMED.cache_name(FrameEncoding.STORED)) == WITHOUT_END
    assert ahi.calls == 2  # it might have been whole the second time


@NEEDS_OPENJPH
def test_a_whole_frame_is_taken_rather_than_an_odd_one(made: Made) -> None:
    context, _ = made(WITHOUT_END, RIGHT)
    fetch_frame(context, SUMMED, FrameEncoding.STORED)
    assert context.cache.read(SUMMED.cache_name(FrameEncoding.STORED)) == RIGHT


@NEEDS_OPENJPH
@pytest.mark.parametrize(
    ("body", "reference"),
    [
        (WITHOUT_END, _reference(zlib.crc32(b"other pixels"))),
        (WITHOUT_END, _reference(None)),
        (RIGHT[: len(RIGHT) // 2], SUMMED),
        (b"<html>", SUMMED),
        (b"", SUMMED),
    ],
    ids=["other pixels", "no checksum", "half", "HTML", "empty"],
)
def test_an_odd_frame_that_has_not_is_neither_sent_nor_kept(made: Made, body: bytes, reference: FrameReference) -> None:
    context, _ = made(body)
    with pytest.raises(UnusableAnswer):
        fetch_frame(context, reference, FrameEncoding.STORED)
    assert context.cache.read(reference.cache_name(FrameEncoding.STORED)) is None


@pytest.mark.parametrize("odd", [b"<html>", b"", METADATA[:-5], b"{}"])
def test_metadata_that_cannot_be_read_is_had_once_more(made: Made, odd: bytes) -> None:
    context, ahi = made(odd, METADATA)
    prepare_image_set(context, KEY)
    assert ahi.calls == 2
    assert context.cache.has(prepared_cache_name(KEY, "1"))
    context, ahi = made(odd)
    context.cache.drop(prepared_cache_name(KEY, "1"))
    with pytest.raises(UnusableAnswer):
        prepare_image_set(context, KEY)
    assert ahi.calls == 2
    assert not context.cache.has(prepared_cache_name(KEY, "1"))


COLOUR = {"Rows": 4, "Columns": 4, "SamplesPerPixel": 3, "BitsAllocated": 8, "PhotometricInterpretation": "YBR_FULL"}


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.202", None], ids=["colours", "transfer syntax"])
def test_nothing_is_guessed_and_kept_while_ahi_gives_something_else_than_frames(made: Made, syntax: str | None) -> None:
    instance = {"DICOM": COLOUR, "StoredTransferSyntaxUID": syntax, "ImageFrames": [{"ID": "f" * 32}]}
    study = {"DICOM": {"StudyInstanceUID": "1.2"}, "Series": {"1.3": {"Instances": {"1.4": instance}}}}
    context, _ = made(json.dumps({"Study": study}).encode(), b"<html>")
    with pytest.raises(UnusableAnswer):
        prepare_image_set(context, KEY)
    assert not context.cache.has(prepared_cache_name(KEY, "1"))
