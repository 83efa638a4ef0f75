"""Damaged frames of all codecs are told from intact ones, without any other error."""

import warnings
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from ahi.codecs.frames import HAS_OPENJPH, decode
from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.image_set import Frame
from ahi.workers.frame_check import frame_fault
from datastore.findings import Findings
from datastore.importing.samples import sample_files
from datastore.pixels.encapsulated import encapsulated_frames
from datastore.pixels.layout import NoFrames
from datastore.pixels.pixel_data import NATIVE_SOURCES, source_syntax
from dicomweb.codestream import size_of
from dicomweb.errors import NotAcceptable, ProxyError, UpstreamFailed
from dicomweb.markers import Incomplete, Size
from dicomweb.transfer_syntax import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LS_LOSSLESS,
    JPEG_XL,
    RLE_LOSSLESS,
)
from tests.codestreams import claiming, divided

UNSUMMED = Frame("f" * 32, None)
GREY = PixelFormat(48, 40, 1, 8, 0, "MONOCHROME2")


@cache
def stored(uid: str) -> bytes:
    """A frame of that transfer syntax, with something to see."""
    rows, columns = np.indices((GREY.rows, GREY.columns))
    array = ((rows * 5 + columns * 3) % 251).astype(np.uint8)
    match uid:
        case _ if uid == HTJ2K_LOSSLESS_RPCL:
            return bytes(imagecodecs.htj2k_encode(array, reversible=True, tlm=True, tilepart=1))
        case _ if uid == JPEG_2000_LOSSLESS:
            return bytes(imagecodecs.jpeg2k_encode(array, level=0, codecformat="J2K", reversible=True))
        case _ if uid == JPEG_BASELINE:
            return bytes(imagecodecs.jpeg8_encode(array))
        case _ if uid == JPEG_LS_LOSSLESS:
            return bytes(imagecodecs.jpegls_encode(array))
        case _ if uid == JPEG_XL:
            return bytes(imagecodecs.jpegxl_encode(array, lossless=True))
        case _ if uid == RLE_LOSSLESS:
            runs = b"".join(b"\x27" + bytes(row) for row in array)
            return bytes((1, 0, 0, 0, 64, 0, 0, 0)).ljust(64, b"\0") + runs
        case _:
            return array.tobytes()


UIDS = [
    uid
    for uid in (HTJ2K_LOSSLESS_RPCL, JPEG_2000_LOSSLESS, JPEG_BASELINE, JPEG_LS_LOSSLESS, JPEG_XL, RLE_LOSSLESS)
    if HAS_OPENJPH or uid != HTJ2K_LOSSLESS_RPCL
] + [EXPLICIT_VR_LITTLE_ENDIAN]


@pytest.mark.parametrize("uid", UIDS)
def test_a_whole_frame_is_one(uid: str) -> None:
    assert frame_fault(stored(uid), UNSUMMED, uid, GREY) is None
    assert frame_fault(stored(uid), UNSUMMED, uid, None) is None


@pytest.mark.parametrize("uid", [*UIDS, "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.107", "1.2.3"])
@pytest.mark.parametrize("pixels", [GREY, None])
@pytest.mark.parametrize("other", [b"", b"<!DOCTYPE html>\n<html></html>", b'{"message": null}', b"  <?xml?>"])
def test_text_is_no_frame(uid: str, pixels: PixelFormat | None, other: bytes) -> None:
    assert frame_fault(other, UNSUMMED, uid, pixels)


@pytest.mark.parametrize("uid", [uid for uid in (HTJ2K_LOSSLESS_RPCL, JPEG_2000_LOSSLESS) if uid in UIDS])
@pytest.mark.parametrize(("block", "precinct"), [(4, 0x11), (0, None)], ids=["precincts", "code-blocks"])
def test_a_picture_in_too_many_parts_is_not_decoded(uid: str, block: int, precinct: int | None) -> None:
    """8,000 x 8,000 pixels, 64 MB: OpenJPEG took more than 8 GB and 87 seconds for it."""
    pixels = PixelFormat(8000, 8000, 1, 8, 0, "MONOCHROME2")
    with pytest.raises(NotAcceptable, match="FRAME_MAX_BYTES"):
        decode(divided(claiming(stored(uid), 8000), block, precinct), uid, pixels)


def test_a_picture_in_many_parts_is_decoded() -> None:
    for block, precinct in ((0, None), (4, 0x33), (4, 0xFF)):
        frame = divided(stored(JPEG_2000_LOSSLESS), block, precinct)
        size = size_of(frame)
        assert size
        assert 0 < size.division_bytes < 2**21
        with suppress(UpstreamFailed):  # its packets are those of another division
            decode(frame, JPEG_2000_LOSSLESS, GREY, 2**21)


VIDEO = "1.2.840.10008.1.2.4.102"
MP4 = b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\1\0mdat" + bytes(248)


@pytest.mark.parametrize(
    "video",
    [MP4, (b"\x47" + bytes(187)) * 3, b"\0\0\1\xb3" + bytes(50), b"\0\0\0\1\x67" + bytes(50), b"odd\0\0\1\xba"],
    ids=["MP4", "transport stream", "MPEG-2", "H.264", "something before it"],
)
def test_a_video_is_one(video: bytes) -> None:
    assert frame_fault(video, UNSUMMED, VIDEO, None) is None


@pytest.mark.parametrize("other", [MP4[:-100], b"Service unavailable", b"\x47", b"\xff\xd8\xff\xd9" * 100])
def test_what_is_cut_or_something_else_is_no_video(other: bytes) -> None:
    assert frame_fault(other, UNSUMMED, VIDEO, None)


@pytest.mark.parametrize("uid", [uid for uid in UIDS if uid not in (JPEG_XL, RLE_LOSSLESS)])
def test_a_frame_cut_anywhere_is_none(uid: str) -> None:
    whole = stored(uid)
    passed = [end for end in range(len(whole)) if frame_fault(whole[:end], UNSUMMED, uid, GREY) is None]
    assert passed == []


@pytest.mark.parametrize("uid", UIDS)
def test_a_frame_of_another_kind_is_none(uid: str) -> None:
    families = [{HTJ2K_LOSSLESS_RPCL, JPEG_2000_LOSSLESS}]
    for other in UIDS:
        if other != uid and {uid, other} not in families:
            assert frame_fault(stored(other), UNSUMMED, uid, GREY), other


@pytest.mark.parametrize("uid", [HTJ2K_LOSSLESS_RPCL, JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, EXPLICIT_VR_LITTLE_ENDIAN])
def test_a_frame_of_another_size_is_none(uid: str) -> None:
    if uid in UIDS:
        assert frame_fault(stored(uid), UNSUMMED, uid, PixelFormat(48, 41, 1, 8, 0, "MONOCHROME2"))


@pytest.mark.slow
@pytest.mark.parametrize("uid", UIDS)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_is_a_fault_or_decodes_or_is_refused(uid: str, data: st.DataObject) -> None:
    frame = bytearray(stored(uid))
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(frame[: data.draw(st.integers(0, len(frame)))] if data.draw(st.booleans()) else frame)
    fault = frame_fault(damaged, UNSUMMED, uid, GREY)
    assert fault is None or (fault and fault.isascii())
    with suppress(ProxyError):
        assert len(decode(damaged, uid, GREY, 2**20)) == GREY.frame_bytes


def test_half_a_jpeg_ls_is_refused_at_once() -> None:
    """CharLS counts 2**31 bits beyond the end of this one, which takes 3 s of CPU."""
    rows, columns = np.indices((256, 256))
    whole = bytes(imagecodecs.jpegls_encode(((rows * 5 + columns * 3) % 251).astype(np.uint8)))
    with pytest.raises(UpstreamFailed) as refused:
        decode(whole[: len(whole) // 2], JPEG_LS_LOSSLESS, PixelFormat(256, 256, 1, 8, 0, "MONOCHROME2"), 2**20)
    assert isinstance(refused.value.__cause__, Incomplete)  # not an error of the decoder


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([*UIDS, "1.2.840.10008.1.2.4.102"]))
def test_any_bytes_are_judged(content: bytes, uid: str) -> None:
    for beginning in (b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\x0a", b"\0\0\0\x0cjP  \r\n\x87\n"):
        fault, size = frame_fault(beginning + content, UNSUMMED, uid, GREY), size_of(beginning + content)
        assert fault is None or (fault and fault.isascii())
        assert size is None or (size.rows >= 0 and size.columns >= 0)


@pytest.mark.parametrize("uid", [JPEG_BASELINE, EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.4.102"])
def test_what_is_kept_as_imported_is_right_if_its_checksum_is(uid: str) -> None:
    odd = b"whatever was imported"
    assert frame_fault(odd, Frame("f" * 32, zlib.crc32(odd)), uid, GREY) is None
    assert frame_fault(odd[:-1], Frame("f" * 32, zlib.crc32(odd)), uid, GREY)


@pytest.mark.parametrize("uid", [uid for uid in UIDS if uid not in (RLE_LOSSLESS, EXPLICIT_VR_LITTLE_ENDIAN)])
def test_the_size_is_read_before_anything_is_decoded(uid: str) -> None:
    size = size_of(stored(uid))
    assert size
    assert (size.rows, size.columns) == (GREY.rows, GREY.columns)


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (256, 256), (100, 133), (300, 400), (1000, 2000), (777, 333)])
def test_the_size_of_jpeg_xl_is_read(shape: tuple[int, int]) -> None:
    whole = bytes(imagecodecs.jpegxl_encode(np.zeros(shape, np.uint8), lossless=True))
    assert size_of(whole) == Size(shape[1], shape[0], 1, 8)


@pytest.mark.parametrize("extra", [1, 2, 7, 99])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_further_components_of_jpeg_xl_are_read(extra: int, dtype: type) -> None:
    planes: np.ndarray = np.zeros((1 + extra, 40, 24), dtype)
    whole = bytes(imagecodecs.jpegxl_encode(planes, lossless=True, photometric="gray", planar=True))
    assert size_of(whole) == Size(24, 40, 1 + extra, 8 * np.dtype(dtype).itemsize)


def test_jpeg_xl_of_many_components_is_not_decoded() -> None:
    planes = np.zeros((40, 200, 200), np.uint8)
    whole = bytes(imagecodecs.jpegxl_encode(planes, lossless=True, photometric="gray", planar=True))
    with pytest.raises(NotAcceptable, match="1600000 bytes"):
        decode(whole, JPEG_XL, PixelFormat(200, 200, 1, 8, 0, "MONOCHROME2"), 2**20)


def test_an_animation_is_not_decoded() -> None:
    whole = bytes(imagecodecs.jpegxl_encode(np.zeros((100, 20, 20), np.uint8), lossless=True, photometric="gray"))
    with pytest.raises(UpstreamFailed):
        decode(whole, JPEG_XL, PixelFormat(20, 20, 1, 8, 0, "MONOCHROME2"))


@pytest.mark.parametrize("uid", [JPEG_2000_LOSSLESS, JPEG_BASELINE, JPEG_LS_LOSSLESS])
def test_a_frame_beyond_the_bound_is_not_decoded(uid: str) -> None:
    with pytest.raises(NotAcceptable, match="FRAME_MAX_BYTES is 1000"):
        decode(stored(uid), uid, GREY, 1000)


def _files() -> list[Path]:
    return [path for path in sample_files() if path.suffix != ".gz"]


@pytest.mark.slow
def test_what_decodes_is_not_refused() -> None:
    """All frames of the files that pydicom ships, as they are; none of them has a checksum here."""
    looked_at = 0
    for path in _files():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                data_set = dcmread(path, force=True)
                uid = source_syntax(data_set)
                if "PixelData" not in data_set or uid in NATIVE_SOURCES or not uid:
                    continue
                frames = encapsulated_frames(data_set, Findings())
            except (NoFrames, EOFError, ValueError):
                continue
        label = str(data_set.get("PhotometricInterpretation", ""))
        numbers = [data_set.get(name) for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
        if None in numbers:
            continue
        pixels = PixelFormat(*map(int, numbers), int(data_set.get("PixelRepresentation") or 0), label)  # type: ignore[arg-type,call-arg]
        for frame in frames[:3]:
            try:
                decode(frame, uid, pixels)
            except ProxyError:
                continue
            looked_at += 1
            assert frame_fault(frame, UNSUMMED, uid, pixels) is None, path.name
    assert looked_at > 50
