import io
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, JPEGExtended12Bit

from datastore.findings import Findings
from datastore.importing.samples import sample_files
from datastore.importing.scan import quiet
from datastore.pixels.codecs import LOSSLESS
from datastore.pixels.frames import (
    KEPT_FRAMES,
    KEPT_VIDEO,
    EncodedFrame,
    Encoding,
    FrameEncoder,
    Options,
)
from datastore.pixels.layout import NoFrames
from datastore.pixels.native import TruncatedPixelData
from datastore.pixels.pixel_data import check_complete
from tests.datastore.made import SEGMENTATION, encapsulated, made, with_pixels

NATIVE = "1.2.840.10008.1.2.1"
HTJ2K = "1.2.840.10008.1.2.4.202"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
JPEG = "1.2.840.10008.1.2.4.50"
RLE = "1.2.840.10008.1.2.5"

NOT_DECODED_BY_PYDICOM = {"JPEG-lossy.dcm", "badVR.dcm", "MR_truncated.dcm", "JPEG2000-embedded-sequence-delimiter.dcm"}


@pytest.fixture(scope="module", params=["HTJ2K", "JPEG_2000_LOSSLESS"])
def encoder(request: pytest.FixtureRequest) -> Iterator[FrameEncoder]:
    encoder = FrameEncoder(Options(LOSSLESS[request.param]))
    yield encoder
    encoder.close()


@pytest.fixture(scope="module")
def htj2k() -> Iterator[FrameEncoder]:
    encoder = FrameEncoder(Options(LOSSLESS["HTJ2K"], all_resolutions=True))
    yield encoder
    encoder.close()


def stored(encoder: FrameEncoder, data_set: Dataset) -> tuple[Encoding, list[EncodedFrame]]:
    with quiet():
        encoded = encoder.encode(data_set, lambda number, frame, content_type: frame, Findings())
        return encoded.encoding, encoded.frames


def decoded(frame: bytes, syntax: str, like: np.ndarray) -> np.ndarray:
    """A stored frame by a decoder of its own."""
    if syntax == NATIVE and like.dtype == bool:
        bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
        return bits[: like.size].reshape(like.shape).astype(bool)
    if syntax == NATIVE:
        return np.frombuffer(frame, like.dtype.newbyteorder("<")).reshape(like.shape)
    if syntax == HTJ2K:
        return np.asarray(imagecodecs.htj2k_decode(frame, planar=False))
    return np.asarray(imagecodecs.jpeg2k_decode(frame))


def pixel_samples() -> list[Path]:
    with quiet():
        headers = ((path, _header(path)) for path in sample_files())
        return [
            path for path, header in headers if header and "BitsAllocated" in header and "StudyInstanceUID" in header
        ]


def _header(path: Path) -> Dataset | None:
    try:
        return dcmread(path, stop_before_pixels=True)
    except Exception:  # noqa: BLE001 - what is no DICOM has no pixels to compare
        return None


@pytest.mark.parametrize("path", pixel_samples(), ids=lambda path: path.name)
@pytest.mark.slow
def test_stored_frames_of_the_samples_are_what_pydicom_finds(htj2k: FrameEncoder, path: Path) -> None:
    with quiet():
        data_set = dcmread(path)
        if "PixelData" not in data_set or path.name in NOT_DECODED_BY_PYDICOM:
            return
        encoding, frames = stored(htj2k, data_set)
        count, encoded = int(data_set.get("NumberOfFrames") or 1), data_set.file_meta.TransferSyntaxUID.is_encapsulated
        if encoding.transfer_syntax_uid in KEPT_FRAMES:
            kept = list(generate_frames(data_set.PixelData, number_of_frames=count))
            assert [frame.stored for frame in frames] == kept
            return
        expected = pixel_array(data_set, correct_unused_bits=encoded).reshape(
            count, data_set.Rows, data_set.Columns, -1
        )
    if data_set.BitsAllocated == 1:
        expected = expected.astype(bool)
    assert encoding.transfer_syntax_uid == (NATIVE if expected.dtype == bool else HTJ2K)
    for frame, pixels in zip(frames, expected.squeeze(3) if expected.shape[3] == 1 else expected, strict=True):
        got = decoded(frame.stored, encoding.transfer_syntax_uid, pixels)
        assert got.dtype == pixels.dtype.newbyteorder("<")
        rounding = 1 if data_set.file_meta.TransferSyntaxUID == JPEGExtended12Bit else 0  # pydicom has another decoder
        np.testing.assert_allclose(got.astype(int), pixels.astype(int), rtol=0, atol=rounding)


def test_a_sample_that_pydicom_cannot_decode_is_decoded_as_its_twin(htj2k: FrameEncoder) -> None:
    """JPEG-lossy.dcm and JPGExtended.dcm hold the same JPEG with 12 bits; only for the second pydicom has a decoder."""
    twins = {path.name: path for path in sample_files() if path.name in ("JPEG-lossy.dcm", "JPGExtended.dcm")}
    frames = {name: stored(htj2k, dcmread(path))[1][0].stored for name, path in twins.items()}
    one, other = (imagecodecs.htj2k_decode(frame).astype(int) for frame in frames.values())
    assert np.abs(one - other).max() <= 1, "two decoders of a lossy encoding may differ in rounding"


def test_htj2k_is_reversible_rpcl_with_a_tile_part_for_each_resolution(htj2k: FrameEncoder) -> None:
    frame = stored(htj2k, with_pixels(noise(np.uint16, 1, 200, 300)))[1][0]
    header = frame.stored[: frame.stored.index(b"\xff\x90")]
    assert frame.stored.startswith(b"\xff\x4f\xff\x51")
    coding_style = header[header.index(b"\xff\x52") :]
    assert coding_style[5] == 2, "RPCL"
    assert coding_style[13] == 1, "the reversible 5/3 wavelet"
    assert b"\xff\x55" in header, "TLM"
    assert frame.stored.count(b"\xff\x90\x00\x0a") == coding_style[9] + 1


def noise(dtype: type, *shape: int) -> np.ndarray:
    """Pixels that use the whole range of their type."""
    generator = np.random.default_rng(1)
    if dtype is bool:
        return generator.random(shape) < 0.5
    limits = np.iinfo(dtype)
    return generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)


PIXELS = [
    pytest.param(noise(np.uint8, 1, 64, 64), "MONOCHROME2", id="8 bits"),
    pytest.param(noise(np.int8, 1, 9, 9), "MONOCHROME2", id="8 bits signed"),
    pytest.param(noise(np.uint16, 3, 33, 17), "MONOCHROME1", id="16 bits, odd, 3 frames"),
    pytest.param(noise(np.int16, 1, 1, 7), "MONOCHROME2", id="16 bits signed, one row"),
    pytest.param(noise(np.uint16, 1, 7, 1), "MONOCHROME2", id="one column"),
    pytest.param(noise(np.uint16, 1, 1, 1), "MONOCHROME2", id="one pixel"),
    pytest.param(noise(np.uint32, 2, 16, 16), "MONOCHROME2", id="32 bits"),
    pytest.param(noise(np.int32, 1, 16, 16), "MONOCHROME2", id="32 bits signed"),
    pytest.param(noise(np.uint8, 2, 16, 15, 3), "RGB", id="colour"),
    pytest.param(noise(np.uint16, 1, 16, 15, 3), "RGB", id="colour of 16 bits"),
    pytest.param(noise(np.uint8, 1, 5, 4), "PALETTE COLOR", id="palette stays indices"),
    pytest.param(noise(bool, 3, 5, 7), "MONOCHROME2", id="1 bit, frames that are no whole bytes"),
    pytest.param(np.zeros((1, 600, 700), np.uint16), "MONOCHROME2", id="black"),
]


@pytest.mark.parametrize(("pixels", "photometric"), PIXELS)
def test_pixels_come_back_from_either_lossless_format(
    encoder: FrameEncoder, pixels: np.ndarray, photometric: str
) -> None:
    encoding, frames = stored(encoder, with_pixels(pixels, photometric))
    for frame, expected in zip(frames, pixels, strict=True):
        np.testing.assert_array_equal(decoded(frame.stored, encoding.transfer_syntax_uid, expected), expected)


@pytest.mark.parametrize(("pixels", "photometric"), PIXELS)
def test_frames_are_described(htj2k: FrameEncoder, pixels: np.ndarray, photometric: str) -> None:
    encoding, frames = stored(htj2k, with_pixels(pixels, photometric))
    for frame, expected in zip(frames, pixels, strict=True):
        full = frame.checksums[-1]
        assert (full.width, full.height) == expected.shape[1::-1]
        if pixels.dtype == bool:
            assert full.crc32 == zlib.crc32(frame.stored)
            assert frame.minimum is frame.maximum is None
            assert not encoding.transcoded
        else:
            assert full.crc32 == zlib.crc32(expected.tobytes())
            assert (frame.minimum, frame.maximum) == (expected.min(), expected.max())
            assert frame.decoded_bytes == expected.nbytes
            assert encoding.transcoded


def test_every_resolution_is_summed_from_base_to_full(htj2k: FrameEncoder) -> None:
    frame = stored(htj2k, with_pixels(noise(np.uint16, 1, 100, 201)))[1][0]
    sizes = [(checksum.width, checksum.height) for checksum in frame.checksums]
    assert sizes == [(7, 4), (13, 7), (26, 13), (51, 25), (101, 50), (201, 100)]
    half = np.asarray(imagecodecs.htj2k_decode(frame.stored, skipres=1))
    assert frame.checksums[-2].crc32 == zlib.crc32(half.tobytes())


def test_what_jpeg_2000_cannot_hold_exactly_is_native() -> None:
    encoder = FrameEncoder(Options(LOSSLESS["JPEG_2000_LOSSLESS"]))
    pixels = noise(np.uint32, 1, 4, 4)
    encoding, (frame,) = stored(encoder, with_pixels(pixels))
    encoder.close()
    assert encoding == Encoding(NATIVE, "application/octet-stream", transcoded=True)
    assert frame.stored == pixels.tobytes()


def test_each_packed_frame_begins_on_a_byte(encoder: FrameEncoder) -> None:
    pixels = noise(bool, 3, 5, 7)
    encoding, frames = stored(encoder, with_pixels(pixels, SOPClassUID=SEGMENTATION))
    assert encoding == Encoding(NATIVE, "application/octet-stream", transcoded=False)
    assert [frame.stored for frame in frames] == [np.packbits(frame, bitorder="little").tobytes() for frame in pixels]


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
@pytest.mark.parametrize("high_bit", [11, 15])
def test_bits_beside_bits_stored_are_kept(htj2k: FrameEncoder, dtype: type, high_bit: int) -> None:
    """Overlays of old stand there (PS3.5 Section 8.1.2), or the samples themselves do: words are those of the file."""
    words: np.ndarray = noise(np.uint16, 1, 4, 4).view(dtype)
    _, (frame,) = stored(htj2k, with_pixels(words, BitsStored=12, HighBit=high_bit))
    got = np.asarray(imagecodecs.htj2k_decode(frame.stored, planar=False))
    np.testing.assert_array_equal(got, words[0])
    assert got.dtype == words.dtype
    assert (frame.minimum, frame.maximum) == (words.min(), words.max())


@pytest.mark.parametrize("planar", [0, 1])
def test_frames_are_interleaved(htj2k: FrameEncoder, planar: int) -> None:
    pixels = noise(np.uint8, 2, 4, 6, 3)
    data_set = with_pixels(pixels, "RGB")
    if planar:
        data_set.PlanarConfiguration = 1
        data_set.PixelData = pixels.transpose(0, 3, 1, 2).tobytes()
    for frame, expected in zip(stored(htj2k, data_set)[1], pixels, strict=True):
        np.testing.assert_array_equal(decoded(frame.stored, HTJ2K, expected), expected)


def test_big_endian_pixels_are_turned(htj2k: FrameEncoder) -> None:
    pixels = noise(np.int16, 2, 3, 4)
    data_set = with_pixels(pixels)
    data_set.PixelData = pixels.astype(">i2").tobytes()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    file.seek(0)
    _, frames = stored(htj2k, dcmread(file))
    assert [frame.checksums[-1].crc32 for frame in frames] == [zlib.crc32(each.tobytes()) for each in pixels]


def component_transform(frame: bytes) -> int:
    return frame[frame.index(b"\xff\x52") + 8]


@pytest.mark.parametrize("format_name", LOSSLESS)
@pytest.mark.parametrize(
    ("photometric", "ybr_as_rgb", "transform"),
    [("RGB", True, 1), ("RGB", False, 1), ("YBR_FULL", True, 1), ("YBR_FULL", False, 0), ("YBR_FULL_422", False, 0)],
)
def test_the_component_transform_tells_whether_frames_are_rgb(
    format_name: str, photometric: str, ybr_as_rgb: bool, transform: int
) -> None:
    pixels = noise(np.uint8, 1, 8, 8, 3)
    data_set = with_pixels(pixels, photometric)
    expected = pixels[0]
    if photometric == "YBR_FULL_422":
        halved = np.array([[[10, 20, 128, 130]] * 4] * 8, np.uint8)  # two Y, then Cb and Cr that they share
        data_set.PixelData = halved.tobytes()
        expected = np.array([[[10, 128, 130], [20, 128, 130]] * 4] * 8, np.uint8)
    elif photometric == "YBR_FULL" and ybr_as_rgb:
        expected = pixel_array(data_set)
    encoder = FrameEncoder(Options(LOSSLESS[format_name], ybr_as_rgb=ybr_as_rgb))
    encoding, (frame,) = stored(encoder, data_set)
    encoder.close()
    assert component_transform(frame.stored) == transform
    np.testing.assert_array_equal(decoded(frame.stored, encoding.transfer_syntax_uid, expected), expected)


@pytest.mark.parametrize(("syntax", "content_type"), KEPT_FRAMES.items())
def test_frames_in_kept_encodings_are_untouched(encoder: FrameEncoder, syntax: str, content_type: str) -> None:
    frames = [b"one frame.", b"another one "]
    encoding, kept = stored(encoder, encapsulated(syntax, frames))
    assert encoding == Encoding(syntax, content_type, transcoded=False)
    assert [frame.stored for frame in kept] == frames
    assert [frame.checksums[-1].crc32 for frame in kept] == [zlib.crc32(frame) for frame in frames]
    assert {(frame.minimum, frame.maximum) for frame in kept} == {(None, None)}


@pytest.mark.parametrize(("syntax", "content_type"), KEPT_VIDEO.items())
def test_a_video_is_one_frame_whatever_number_of_frames_says(
    encoder: FrameEncoder, syntax: str, content_type: str
) -> None:
    data_set = encapsulated(syntax, [b"start of some ", b"stream and its end"])
    data_set.NumberOfFrames = "300"
    encoding, (frame,) = stored(encoder, data_set)
    assert encoding == Encoding(syntax, content_type, transcoded=False)
    assert frame.stored == b"start of some stream and its end"
    assert frame.checksums[-1].crc32 == zlib.crc32(frame.stored)


NUMBERS = np.array([[[0.5, -1.5]], [[math.inf, 1e-300]]])


def float_pixels(sample: str = "<f4", syntax: str = NATIVE, **elements: object) -> Dataset:
    """Two frames of one row and two columns."""
    bits = 8 * np.dtype(sample).itemsize
    shape = {"NumberOfFrames": "2", "Rows": 1, "Columns": 2, "SamplesPerPixel": 1}
    data_set = made(syntax, **{**shape, "BitsAllocated": bits, "PhotometricInterpretation": "MONOCHROME2", **elements})
    name, vr = ("FloatPixelData", "OF") if bits == 32 else ("DoubleFloatPixelData", "OD")
    data_set.add_new(name, vr, NUMBERS.astype(sample).tobytes())
    return data_set


@pytest.mark.parametrize("sample", ["<f4", "<f8"])
@pytest.mark.parametrize(("syntax", "order"), [(NATIVE, "<"), ("1.2.840.10008.1.2", "<"), ("1.2.840.10008.1.2.2", ">")])
def test_floating_point_samples_are_kept_as_they_are(
    encoder: FrameEncoder, sample: str, syntax: str, order: str
) -> None:
    encoding, frames = stored(encoder, float_pixels(sample.replace("<", order), syntax))
    assert encoding == Encoding(NATIVE, "application/octet-stream", transcoded=True)
    assert [frame.stored for frame in frames] == [one.astype(sample).tobytes() for one in NUMBERS]
    assert [frame.checksums[-1].crc32 for frame in frames] == [zlib.crc32(frame.stored) for frame in frames]
    assert {(frame.minimum, frame.maximum) for frame in frames} == {(None, None)}


def panicking_rle() -> Dataset:
    """Segments that decode to more than there is room for: the RLE decoder, written in Rust, panics."""
    header = np.zeros(16, "<u4")
    header[:3] = 2, 64, 66
    frame = header.tobytes() + b"\x81\0" * 40
    return encapsulated(RLE, [frame], Rows=2, Columns=2, BitsAllocated=16, BitsStored=16, HighBit=15)


def unknown_vr() -> Dataset:
    data_set = described_wrongly()
    columns = Tag("Columns")
    data_set._dict[columns] = RawDataElement(columns, "U0", 2, b"\4\0", 0, False, True)
    return data_set


def described_wrongly(**elements: object) -> Dataset:
    data_set = with_pixels(noise(np.uint16, 2, 4, 4))
    for keyword, value in elements.items():
        setattr(data_set, keyword, value)
    return data_set


@pytest.mark.parametrize(
    "data_set",
    [
        pytest.param(float_pixels(BitsAllocated=16), id="float pixels of 16 bits"),
        pytest.param(float_pixels(NumberOfFrames="3"), id="too few float pixels"),
        pytest.param(float_pixels(Rows=0), id="float pixels without rows"),
        pytest.param(float_pixels(SamplesPerPixel=3), id="float pixels in colour"),
        pytest.param(float_pixels(syntax=RLE), id="float pixels in an encoding"),
        pytest.param(encapsulated(JPEG_2000, [b"no codestream."]), id="not decodable"),
        pytest.param(encapsulated(RLE, [b"no RLE.."]), id="not decodable RLE"),
        pytest.param(panicking_rle(), id="a decoder that panics"),
        pytest.param(encapsulated(JPEG_2000, [b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20)]), id="an endless JP2 box"),
        pytest.param(encapsulated("1.2.840.10008.1.2.4.94", [b"a URL."]), id="an encoding that AHI does not take"),
        pytest.param(encapsulated("1.2.3", [b"what?."]), id="an unknown encoding"),
        pytest.param(described_wrongly(Rows=0), id="no rows"),
        pytest.param(unknown_vr(), id="a VR that does not exist"),
        pytest.param(described_wrongly(BitsAllocated=12), id="an odd size of samples"),
    ],
)
def test_what_cannot_be_taken_apart_has_no_frames(htj2k: FrameEncoder, data_set: Dataset) -> None:
    with pytest.raises(NoFrames):
        stored(htj2k, data_set)


@pytest.mark.parametrize(
    ("data_set", "complete"),
    [
        (with_pixels(noise(np.uint16, 2, 4, 4)), True),
        (described_wrongly(NumberOfFrames="3"), True),
        (described_wrongly(Rows=8), True),
        (described_wrongly(Rows=9), False),
        (with_pixels(noise(bool, 3, 5, 7)), True),
        (encapsulated(JPEG, [b"one frame."]), True),
        (made(), True),
    ],
)
def test_one_frame_of_native_pixel_data_must_be_there(data_set: Dataset, complete: bool) -> None:
    if complete:
        check_complete(data_set)
        return
    with pytest.raises(TruncatedPixelData):
        check_complete(data_set)
