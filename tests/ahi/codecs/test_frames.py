"""Stored frames of every kind decode to the same native pixels as with pydicom."""

import struct
from contextlib import suppress
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest

from ahi.codecs.colour import delivered_photometric
from ahi.codecs.frames import decode
from ahi.codecs.pixel_format import PixelFormat
from ahi.codecs.resolutions import resolution_ends
from dicomweb.errors import NotAcceptable, UpstreamFailed

GREY = PixelFormat(64, 48, 1, 16, 0, "MONOCHROME2")
RNG = np.random.default_rng(7)


def _array(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype=np.int64, endpoint=True).astype(dtype)


@pytest.mark.parametrize(("dtype", "bits", "signed"), [("u1", 8, 0), ("<u2", 16, 0), ("<i2", 16, 1), ("i1", 8, 1)])
@pytest.mark.parametrize("samples", [1, 3])
def test_lossless_frames_come_back_to_the_bit(dtype: str, bits: int, signed: int, samples: int) -> None:
    shape = (64, 48, 3) if samples == 3 else (64, 48)
    array = _array(dtype, shape)
    pixels = PixelFormat(64, 48, samples, bits, signed, "RGB" if samples == 3 else "MONOCHROME2")
    stored = bytes(imagecodecs.htj2k_encode(array, reversible=True, tlm=True, tilepart=1))
    assert decode(stored, "1.2.840.10008.1.2.4.202", pixels) == array.tobytes()
    stored = bytes(imagecodecs.jpeg2k_encode(array, codecformat="J2K", reversible=True, level=0))
    assert decode(stored, "1.2.840.10008.1.2.4.90", pixels) == array.tobytes()


@pytest.mark.parametrize("transformed", [True, False])
def test_colour_comes_back_interleaved_whether_it_was_transformed_or_not(transformed: bool) -> None:
    array = _array("u1", (64, 48, 3))
    stored = bytes(imagecodecs.htj2k_encode(array, reversible=True, rgb=transformed))
    pixels = PixelFormat(64, 48, 3, 8, 0, "RGB")
    assert decode(stored, "1.2.840.10008.1.2.4.202", pixels) == array.tobytes()


def test_native_bytes_pass_and_their_size_is_checked() -> None:
    native = bytes(64 * 48 * 2)
    assert decode(native, "1.2.840.10008.1.2.1", GREY) == native
    with pytest.raises(UpstreamFailed):
        decode(native[:-1], "1.2.840.10008.1.2.1", GREY)


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.50"])
def test_bytes_that_are_no_image_are_the_upstreams_failure(uid: str) -> None:
    with pytest.raises(UpstreamFailed):
        decode(b"not an image", uid, GREY)


def test_a_damaged_codestream_is_found_wherever_the_decoder_trips_over_it() -> None:
    """What it finds behind the main header gets lost in imagecodecs: it would be an image of any memory."""
    stored = bytes(imagecodecs.htj2k_encode(_array("<u2", (64, 48)), reversible=True, tlm=True, tilepart=1))
    body = stored.index(b"\xff\x90")
    for position in range(body, body + 400):
        damaged = stored[:position] + bytes([stored[position] ^ 0xFF]) + stored[position + 1 :]
        with suppress(UpstreamFailed):
            assert len(decode(damaged, "1.2.840.10008.1.2.4.202", GREY)) == GREY.frame_bytes


def test_a_video_has_no_native_frames() -> None:
    with pytest.raises(NotAcceptable, match="transfer-syntax"):
        decode(b"", "1.2.840.10008.1.2.4.102", GREY)


@pytest.mark.parametrize(
    ("label", "transformed", "expected"),
    [
        ("RGB", True, "RGB"),
        ("YBR_FULL_422", True, "RGB"),
        ("YBR_FULL_422", False, "YBR_FULL"),
        ("YBR_RCT", True, "RGB"),
    ],
)
def test_the_label_of_decoded_colour_is_that_of_the_codestream(label: str, transformed: bool, expected: str) -> None:
    stored = bytes(imagecodecs.htj2k_encode(_array("u1", (64, 48, 3)), reversible=True, rgb=transformed))
    assert delivered_photometric(stored, "1.2.840.10008.1.2.4.202", label) == expected


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">HH", marker, len(content) + 2) + content


def _codestream(levels: int, *tables: bytes) -> bytes:
    coding_style = _segment(0xFF52, bytes([0, 2, 0, 1, 0, levels, 4, 4, 0x40, 1]))
    tile_parts = b"".join(_segment(0xFF55, table) for table in tables)
    return b"\xff\x4f" + _segment(0xFF51, bytes(38)) + coding_style + tile_parts + b"\xff\x90" + bytes(100)


@pytest.mark.parametrize(
    "tables",
    [
        pytest.param([b"\0\x40" + struct.pack(">3I", 20, 30, 50)], id="lengths of four bytes"),
        pytest.param([b"\0\x00" + struct.pack(">3H", 20, 30, 50)], id="lengths of two"),
        pytest.param([b"\0\x60" + struct.pack(">HIHIHI", 0, 20, 0, 30, 0, 50)], id="with tile indices"),
        pytest.param([b"\1\x40" + struct.pack(">I", 50), b"\0\x40" + struct.pack(">2I", 20, 30)], id="two markers"),
    ],
)
def test_resolutions_end_where_the_tile_parts_do(tables: list[bytes]) -> None:
    stored = _codestream(2, *tables)
    start = stored.index(b"\xff\x90")
    assert resolution_ends(stored) == (start + 20, start + 50, start + 100)


@pytest.mark.parametrize(
    "stored",
    [b"", b"\xff\x4f", b"GIF89a", _codestream(2), _codestream(5, b"\0\x40" + bytes(12)), _codestream(2, b"\0\x40\0")],
)
def test_where_resolutions_end_is_not_guessed(stored: bytes) -> None:
    assert resolution_ends(stored) == ()


@pytest.mark.parametrize(("samples", "beyond"), [(1, 0), (3, 255)])
def test_a_narrow_tile_is_filled_up(samples: int, beyond: int) -> None:
    """Of a tiled image only: elsewhere a frame of another size is wrong."""
    narrow = _array("u1", (40, 13, 3) if samples == 3 else (40, 13))
    stored = bytes(imagecodecs.jpeg2k_encode(narrow, codecformat="J2K", reversible=True, level=0))
    tile = PixelFormat(64, 48, samples, 8, 0, "RGB" if samples == 3 else "MONOCHROME2", tile=True)
    whole = np.frombuffer(decode(stored, "1.2.840.10008.1.2.4.90", tile), "u1").reshape(64, 48, -1)
    assert np.array_equal(whole[:40, :13], narrow.reshape(40, 13, -1))
    assert (whole[40:] == beyond).all() and (whole[:, 13:] == beyond).all()
    for wrong in (replace(tile, tile=False), replace(tile, rows=39), replace(tile, columns=12)):
        with pytest.raises(UpstreamFailed):
            decode(stored, "1.2.840.10008.1.2.4.90", wrong)
