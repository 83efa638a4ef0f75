"""Pixels that can be read are kept, in every encoding and however they are described; what is lost is named."""

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.pixels import convert_color_space, pixel_array

from datastore.findings import FindingKind
from tests.datastore.made import encapsulated, with_pixels
from tests.datastore.through import assert_served, served, value

SYNTAX = "1.2.840.10008.1.2."
RLE, DEFLATED = f"{SYNTAX}5", f"{SYNTAX}8.1"


def ramp(dtype: type, *shape: int, top: int) -> np.ndarray:
    """Smooth pixels from 0, or from minus the top, to the top."""
    low = -top if np.issubdtype(dtype, np.signedinteger) else 0
    return np.linspace(low, top, int(np.prod(shape))).astype(dtype).reshape(shape)


def coded(
    syntax: str, frames: Sequence[bytes | bytearray], pixels: np.ndarray, photometric: str = "", **elements: object
) -> Dataset:
    """Encoded frames, described as these pixels, frames x rows x columns, are."""
    bits, samples = 8 * pixels.dtype.itemsize, pixels.shape[3] if pixels.ndim == 4 else 1
    described = {
        "Rows": pixels.shape[1],
        "Columns": pixels.shape[2],
        "SamplesPerPixel": samples,
        "PhotometricInterpretation": photometric or ("RGB" if samples == 3 else "MONOCHROME2"),
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    if samples == 3:
        described["PlanarConfiguration"] = 0
    return encapsulated(SYNTAX + syntax, [bytes(frame) for frame in frames], **{**described, **elements})


Encode = Callable[[np.ndarray], bytes | bytearray]
_jpeg_2000 = partial(imagecodecs.jpeg2k_encode, level=0, codecformat="J2K", reversible=True)
_lossless_jpeg = partial(imagecodecs.jpeg8_encode, lossless=True, predictor=1)
_lossless_colour = partial(_lossless_jpeg, colorspace="RGB", outcolorspace="RGB")

CODECS = [
    pytest.param("4.90", _jpeg_2000, True, id="JPEG 2000"),
    pytest.param("4.91", _jpeg_2000, True, id="JPEG 2000 kept"),
    pytest.param("4.80", imagecodecs.jpegls_encode, False, id="JPEG-LS"),
    pytest.param("4.70", _lossless_jpeg, False, id="lossless JPEG"),
    pytest.param("4.57", _lossless_jpeg, False, id="lossless JPEG, process 14"),
    pytest.param("4.201", partial(imagecodecs.htj2k_encode, reversible=True), True, id="HTJ2K"),
    pytest.param("4.203", partial(imagecodecs.htj2k_encode, reversible=True), True, id="HTJ2K kept"),
    pytest.param("4.110", partial(imagecodecs.jpegxl_encode, lossless=True), False, id="JPEG XL lossless"),
    pytest.param("4.112", partial(imagecodecs.jpegxl_encode, lossless=True), False, id="JPEG XL kept"),
]


@pytest.mark.parametrize(("codestream", "room"), [(np.uint8, np.uint16), (np.uint8, np.uint32), (np.uint16, np.uint32)])
@pytest.mark.parametrize(("syntax", "encode", "signs"), CODECS)
def test_a_codestream_of_fewer_bits_than_bits_allocated(
    tmp_path: Path, syntax: str, encode: Encode, signs: bool, codestream: type, room: type
) -> None:
    small = ramp(codestream, 1, 16, 18, top=200)
    found = served(coded(syntax, [encode(small[0])], small.astype(room), BitsStored=8, HighBit=7), tmp_path)
    assert found.findings == []
    assert_served(found, small.astype(room))


@pytest.mark.parametrize(("syntax", "encode", "signs"), CODECS)
def test_a_signed_codestream_of_fewer_bits(tmp_path: Path, syntax: str, encode: Encode, signs: bool) -> None:
    """What codecs without signs hold is two's complement of BitsStored."""
    small = ramp(np.int8, 1, 16, 18, top=100)
    frame = encode(small[0] if signs else small[0].view(np.uint8))
    found = served(coded(syntax, [frame], small.astype(np.int16), BitsStored=8, HighBit=7), tmp_path)
    assert found.findings == []
    assert_served(found, small.astype(np.int16))


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("syntax", ["4.90", "4.91"])
@pytest.mark.parametrize("signed", [False, True])
def test_a_codestream_with_the_signs_of_another_data_set(tmp_path: Path, syntax: str, signed: bool, bits: int) -> None:
    """As pydicom reads it: the samples are two's complement of the bits of the codestream."""
    words = ramp(np.int16, 1, 16, 18, top=2 ** (bits - 1) - 1)
    unsigned = (words & (2**bits - 1)).astype(np.uint16)
    content, expected = (unsigned, words) if signed else (words, unsigned)
    content = content.astype(f"{content.dtype.kind}1") if bits == 8 else content
    frame = imagecodecs.jpeg2k_encode(content[0], level=0, codecformat="J2K", reversible=True, bitspersample=bits)
    found = served(coded(syntax, [frame], expected, BitsStored=bits, HighBit=bits - 1), tmp_path)
    assert found.findings == []
    assert_served(found, expected)


@pytest.mark.parametrize(("syntax", "encode", "signs"), CODECS)
def test_a_codestream_in_colour_of_fewer_bits(tmp_path: Path, syntax: str, encode: Encode, signs: bool) -> None:
    small = np.stack([ramp(np.uint8, 1, 16, 18, top=top) for top in (250, 100, 30)], axis=-1)
    frame = (_lossless_colour if encode is _lossless_jpeg else encode)(small[0])
    found = served(coded(syntax, [frame], small.astype(np.uint16), BitsStored=8, HighBit=7), tmp_path)
    assert found.findings == []
    assert_served(found, small.astype(np.uint16))


@pytest.mark.parametrize("kept", [True, False])
def test_a_codestream_of_more_bits_than_bits_allocated_is_named(tmp_path: Path, kept: bool) -> None:
    large = ramp(np.uint16, 1, 16, 18, top=4000)
    found = served(coded("4.91" if kept else "4.90", [_jpeg_2000(large[0])], large.astype(np.uint8)), tmp_path)
    assert found.kinds == {FindingKind.FRAME_UNREADABLE if kept else FindingKind.NO_FRAMES}


@pytest.mark.parametrize("pixels", [ramp(np.uint16, 1, 16, 18, top=4095), ramp(np.uint8, 1, 16, 18, top=250)])
def test_extended_jpeg_of_either_depth(tmp_path: Path, pixels: np.ndarray) -> None:
    bits = 12 if pixels.dtype == np.uint16 else 8
    frame = imagecodecs.jpeg8_encode(pixels[0], level=95, bitspersample=bits)
    found = served(coded("4.51", [frame], pixels, BitsStored=bits, HighBit=bits - 1), tmp_path)
    assert found.findings == []
    (decoded,) = found.frames
    assert np.abs(decoded.astype(int) - imagecodecs.jpeg8_decode(frame)).max() <= 1, "decoders differ in rounding"


# A ramp of 16 x 16 pixels, `(8 * row + 7 * column)`, as libjpeg's jpegtran wrote it.
ARITHMETIC = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304050805050404050a070706080c0a0c"
    "0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffc9000b080010001001011100ffcc00060010"
    "1005ffda0008010100003f00ff00e7e18d66338bb925710a1832ba9011725ff829ff006172773460ffd9"
)
PROGRESSIVE = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304050805050404050a070706080c0a0c"
    "0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffc2000b080010001001011100ffc400150001"
    "0100000000000000000000000000000704ffda00080101000000011a4ba92fffc4001510010100000000000000000000000000000500"
    "ffda00080101000105023cd8f363cd8f36ffc400161000030000000000000000000000000000000121ffda0008010100063f02505050"
    "50ffc40014100100000000000000000000000000000020ffda0008010100013f2100001fffda0008010100000010bfffc40016100003"
    "00000000000000000000000000000041a1ffda0008010100013f108a88a88a88a8ffd9"
)


@pytest.mark.parametrize(("syntax", "frame"), [("4.52", ARITHMETIC), ("4.53", PROGRESSIVE), ("4.55", PROGRESSIVE)])
def test_retired_processes_of_jpeg(tmp_path: Path, syntax: str, frame: bytes) -> None:
    rows, columns = np.mgrid[:16, :16]
    pixels = (8 * rows + 7 * columns).astype(np.uint8)[np.newaxis]
    found = served(coded(syntax, [frame], pixels), tmp_path)
    assert found.findings == []
    assert np.abs(found.frames[0].astype(int) - pixels[0]).max() <= 6, "it is lossy"


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


@pytest.mark.parametrize(
    "pixels",
    [
        ramp(np.uint8, 2, 16, 17, top=255),
        ramp(np.int16, 2, 16, 17, top=2000),
        ramp(np.uint8, 2, 16, 17, 3, top=255),
        ramp(np.uint32, 1, 5, 7, top=2**31),
    ],
)
def test_deflated_frames(tmp_path: Path, pixels: np.ndarray) -> None:
    found = served(coded("8.1", [deflated(frame.tobytes()) for frame in pixels], pixels), tmp_path)
    assert found.findings == []
    assert_served(found, pixels)


def bits(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2, shape).astype(np.uint8)


def rle(content: bytes) -> bytes:
    segment = bytes(imagecodecs.packbits_encode(content))
    return np.array([1, 64] + [0] * 14, "<u4").tobytes() + segment + b"\0" * (len(segment) % 2)


def packed(pixels: np.ndarray) -> bytes:
    return np.packbits(pixels, bitorder="little").tobytes()


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        pytest.param("5", lambda frame: rle(packed(frame)), id="RLE, packed"),
        pytest.param("5", lambda frame: rle(frame.tobytes()), id="RLE, a byte for each pixel"),
        pytest.param("8.1", lambda frame: deflated(packed(frame)), id="deflated"),
    ],
)
def test_pixels_of_one_bit(tmp_path: Path, syntax: str, encode: Encode) -> None:
    pixels = bits(3, 5, 7)
    frames = [encode(frame) for frame in pixels]
    found = served(coded(syntax, frames, pixels, BitsAllocated=1, BitsStored=1, HighBit=0), tmp_path)
    assert found.findings == []
    assert_served(found, pixels.reshape(3, -1))


def ybr(*shape: int) -> np.ndarray:
    return np.stack([ramp(np.uint8, *shape, top=top) for top in (250, 200, 90)], axis=-1)


def halved(pixels: np.ndarray) -> bytes:
    """Two pixels as Y, Y, Cb, Cr, which are those of the first."""
    pairs = pixels.reshape(-1, 2, 3)
    return np.stack([pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 0, 2]], axis=-1).tobytes()


def test_native_subsampled_colour_of_several_frames(tmp_path: Path) -> None:
    pixels = ybr(2, 8, 10)
    data_set = with_pixels(pixels, "YBR_FULL_422")
    data_set.PixelData = halved(pixels)
    expected = pixel_array(data_set)
    found = served(data_set, tmp_path)
    assert found.findings == []
    assert_served(found, expected)
    assert value(found, "00280004") == ("RGB",)


@pytest.mark.parametrize("syntax", ["4.90", "4.91", "4.201", "4.203"])
@pytest.mark.parametrize("label", ["YBR_FULL", "YBR_FULL_422", "YBR_RCT", "RGB"])
def test_a_codestream_with_a_colour_transform_is_rgb_whatever_the_label(
    tmp_path: Path, syntax: str, label: str
) -> None:
    pixels = ybr(1, 16, 18)
    encode = _jpeg_2000 if syntax in ("4.90", "4.91") else partial(imagecodecs.htj2k_encode, reversible=True)
    found = served(coded(syntax, [encode(pixels[0])], pixels, label), tmp_path)
    assert_served(found, pixels)
    assert value(found, "00280004") == ("RGB",)


def test_native_colour_of_full_length_under_the_subsampled_label(tmp_path: Path) -> None:
    pixels = ybr(2, 8, 10)
    found = served(with_pixels(pixels, "YBR_FULL_422"), tmp_path)
    assert_served(found, convert_color_space(pixels, "YBR_FULL", "RGB"))
    assert [finding.kind for finding in found.findings] == [FindingKind.STRAY]


@pytest.mark.parametrize("syntax", [None, "4.90", "4.80", "5"])
def test_colour_without_planar_configuration_is_interleaved(tmp_path: Path, syntax: str | None) -> None:
    pixels = ramp(np.uint8, 1, 8, 10, 3, top=255)
    encode: dict[str, Encode] = {"4.90": _jpeg_2000, "4.80": imagecodecs.jpegls_encode}
    if syntax is None:
        data_set = with_pixels(pixels, "RGB")
    elif syntax == "5":
        data_set = with_pixels(pixels, "RGB")
        data_set.compress(RLE, generate_instance_uid=False)
    else:
        data_set = coded(syntax, [encode[syntax](pixels[0])], pixels)
    del data_set.PlanarConfiguration
    found = served(data_set, tmp_path)
    assert found.findings == []
    assert_served(found, pixels)


@pytest.mark.parametrize("missing", ["BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"])
def test_a_description_that_lacks_what_is_usual(tmp_path: Path, missing: str) -> None:
    pixels = ramp(np.uint16, 1, 8, 10, top=60_000)
    data_set = with_pixels(pixels)
    delattr(data_set, missing)
    found = served(data_set, tmp_path)
    assert found.findings == []
    assert_served(found, pixels)


def test_a_missing_photometric_interpretation_is_given_and_named(tmp_path: Path) -> None:
    pixels = ramp(np.uint16, 1, 8, 10, top=60_000)
    data_set = with_pixels(pixels)
    del data_set.PhotometricInterpretation
    found = served(data_set, tmp_path)
    assert [(finding.kind, finding.where) for finding in found.findings] == [
        (FindingKind.VALUE_REPLACED, "PhotometricInterpretation")
    ]
    assert value(found, "00280004") == ("MONOCHROME2",)
    assert_served(found, pixels)


@pytest.mark.parametrize("syntax", ["native", "4.90", "4.50", "4.80", "5", "8.1"])
@pytest.mark.parametrize("declared", ["5", "1000000", "1A"])
def test_as_many_frames_as_there_are(tmp_path: Path, syntax: str, declared: str) -> None:
    """NumberOfFrames is told anew, and the report says so."""
    pixels = ramp(np.uint8, 3, 8, 10, top=255)
    encode: dict[str, Encode] = {
        "4.90": _jpeg_2000,
        "4.80": imagecodecs.jpegls_encode,
        "4.50": imagecodecs.jpeg8_encode,
        "5": lambda frame: rle(frame.tobytes()),
        "8.1": lambda frame: deflated(frame.tobytes()),
    }
    if syntax == "native":
        data_set = with_pixels(pixels)
    else:
        data_set = coded(syntax, [encode[syntax](frame) for frame in pixels], pixels)
    expected = np.stack([imagecodecs.jpeg8_decode(encode["4.50"](frame)) for frame in pixels])
    data_set.add_new(0x00280008, "LO" if declared == "1A" else "IS", declared)
    found = served(data_set, tmp_path)
    assert_served(found, expected if syntax == "4.50" else pixels)
    assert value(found, "00280008") == ("3",)
    missing = set() if declared == "1A" else {FindingKind.FRAMES_MISSING}
    assert found.kinds == missing | {FindingKind.VALUE_REPLACED}


def test_frames_beyond_number_of_frames_are_left_out_and_named(tmp_path: Path) -> None:
    pixels = ramp(np.uint8, 3, 8, 10, top=255)
    data_set = coded("4.90", [_jpeg_2000(frame) for frame in pixels], pixels, NumberOfFrames="2")
    found = served(data_set, tmp_path)
    assert_served(found, pixels[:2])
    assert found.kinds == {FindingKind.FRAMES_LEFT_OUT}


@pytest.mark.parametrize("bad", [[0], [1], [2], [0, 2]])
def test_one_bad_frame_leaves_the_others(tmp_path: Path, bad: list[int]) -> None:
    pixels = ramp(np.uint8, 3, 8, 10, top=255)
    frames = [b"no frame at all." if number in bad else _jpeg_2000(frame) for number, frame in enumerate(pixels)]
    found = served(coded("4.90", frames, pixels), tmp_path)
    assert [finding.where for finding in found.findings] == [f"frame {number + 1}" for number in bad]
    assert found.kinds == {FindingKind.FRAME_UNREADABLE}
    for number, frame in enumerate(found.frames):
        np.testing.assert_array_equal(frame, np.empty(0) if number in bad else pixels[number])


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("syntax", ["4.90", "4.91", "4.80"])
def test_tiles_at_the_edge_are_filled_up(tmp_path: Path, syntax: str, samples: int) -> None:
    """White in colour, 0 in grey; only where the image is tiled."""
    whole = ramp(np.uint8, 2, 16, 18, *([3] if samples == 3 else []), top=200)
    whole[1, 12:], whole[1, :, 10:] = (255, 255) if samples == 3 else (0, 0)
    encode = imagecodecs.jpegls_encode if syntax == "4.80" else _jpeg_2000
    frames = [encode(whole[0]), encode(np.ascontiguousarray(whole[1, :12, :10]))]
    found = served(coded(syntax, frames, whole, TotalPixelMatrixColumns=28), tmp_path)
    assert found.findings == []
    assert_served(found, whole)
    (tmp_path / "other").mkdir()
    found = served(coded(syntax, frames, whole), tmp_path / "other")
    assert [(finding.kind, finding.where) for finding in found.findings] == [(FindingKind.FRAME_UNREADABLE, "frame 2")]


def test_bytes_after_the_last_frame_are_named(tmp_path: Path) -> None:
    pixels = ramp(np.uint8, 2, 8, 10, top=255)
    data_set = with_pixels(pixels)
    data_set.PixelData += bytes(50)
    found = served(data_set, tmp_path)
    assert_served(found, pixels)
    assert [str(finding) for finding in found.findings] == ["PixelData: 50 bytes after the last frame"]


@pytest.mark.parametrize("lossless", ["HTJ2K", "JPEG_2000_LOSSLESS"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_bits_beside_bits_stored(tmp_path: Path, dtype: type, lossless: str) -> None:
    words: np.ndarray = np.random.default_rng(2).integers(0, 2**16, (1, 9, 11)).astype(np.uint16).view(dtype)
    found = served(with_pixels(words, BitsStored=12, HighBit=15), tmp_path, lossless)
    assert found.findings == []
    assert_served(found, words)


@pytest.mark.parametrize("syntax", ["4.94", "4.61.1", "7.1"])
def test_what_cannot_be_decoded_is_named(tmp_path: Path, syntax: str) -> None:
    pixels = ramp(np.uint8, 1, 8, 10, top=255)
    found = served(coded(syntax, [b"something else.."], pixels), tmp_path)
    assert found.frames == []
    assert [str(finding) for finding in found.findings] == ["the transfer syntax is not supported"]


@pytest.mark.parametrize("samples", [1, 3])
def test_htj2k_has_no_more_levels_than_fit(tmp_path: Path, samples: int) -> None:
    """Viewers' decoders stop at 16 x 16 pixels with five levels; the encoder has no form with less than one."""
    for rows, columns in [(1, 1), (1, 9), (2, 3), (4, 4), (7, 8), (15, 40), (16, 16), (31, 64), (32, 32), (64, 64)]:
        shape = (1, rows, columns) if samples == 1 else (1, rows, columns, 3)
        pixels = ramp(np.uint16, *shape, top=4095)
        found = served(with_pixels(pixels, "RGB" if samples == 3 else "MONOCHROME2"), tmp_path)
        assert_served(found, pixels)
        fitting = max(1, min(5, int(np.log2(min(rows, columns)))))
        assert found.levels == [fitting], (rows, columns)
