"""Encoded frames decode to the same bits with pydicom, for all bits, signs and colours."""

import numpy as np
import pytest
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import UID

from ahi.codecs.encoders import encodable, encode
from ahi.codecs.frames import HAS_OPENJPH, decode
from ahi.codecs.pixel_format import PixelFormat
from dicomweb.errors import NotAcceptable
from dicomweb.transfer_syntax import HTJ2K_LOSSLESS_RPCL, JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, RLE_LOSSLESS

RNG = np.random.default_rng(11)
OF_16_BITS = {JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, RLE_LOSSLESS} | ({HTJ2K_LOSSLESS_RPCL} if HAS_OPENJPH else set())
OF_32_BITS = OF_16_BITS - {JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS}


def _pixels(array: np.ndarray) -> PixelFormat:
    samples = array.shape[2] if array.ndim == 3 else 1
    signed = int(array.dtype.kind == "i")
    label = "RGB" if samples == 3 else "MONOCHROME2"
    return PixelFormat(array.shape[0], array.shape[1], samples, 8 * array.dtype.itemsize, signed, label)


def _noise(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype=np.int64, endpoint=True).astype(dtype)


def _slope(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape).astype(dtype)


def _read_by_pydicom(encoded: bytes, uid: str, pixels: PixelFormat) -> np.ndarray:
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = UID(uid)
    data_set.Rows, data_set.Columns = pixels.rows, pixels.columns
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = (
        pixels.samples_per_pixel,
        pixels.photometric_interpretation,
    )
    data_set.BitsAllocated = data_set.BitsStored = pixels.bits_allocated
    data_set.HighBit, data_set.PixelRepresentation = pixels.bits_allocated - 1, pixels.pixel_representation
    data_set.PlanarConfiguration = 0
    data_set.PixelData = encapsulate([encoded])
    data_set["PixelData"].is_undefined_length = True
    return pixel_array(data_set)


@pytest.mark.parametrize("uid", sorted(OF_16_BITS))
@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", "<i2"])
@pytest.mark.parametrize("shape", [(64, 48), (64, 48, 3), (1, 1), (33, 7), (7, 33, 3)])
@pytest.mark.parametrize("fill", [_noise, _slope])
def test_pixels_come_back_to_the_bit(uid: str, dtype: str, shape: tuple[int, ...], fill: object) -> None:
    array = fill(dtype, shape)  # type: ignore[operator]
    pixels = _pixels(array)
    encoded = encode(array.tobytes(), uid, pixels)
    assert encoded != array.tobytes()
    assert np.array_equal(_read_by_pydicom(encoded, uid, pixels), array)


@pytest.mark.parametrize("uid", sorted(OF_32_BITS))
@pytest.mark.parametrize("dtype", ["<u4", "<i4"])
@pytest.mark.parametrize("shape", [(64, 48), (64, 48, 3)])
def test_so_do_32_bits_where_the_codec_has_them(uid: str, dtype: str, shape: tuple[int, ...]) -> None:
    array = _noise(dtype, shape)
    pixels = _pixels(array)
    assert decode(encode(array.tobytes(), uid, pixels), uid, pixels) == array.tobytes()


@pytest.mark.parametrize(
    ("bits", "samples", "expected"),
    [
        (8, 1, OF_16_BITS),
        (16, 3, OF_16_BITS),
        (32, 1, OF_32_BITS),
        (1, 1, set()),
        (12, 1, set()),
        (64, 1, set()),
        (8, 4, set()),
    ],
)
def test_only_what_a_codec_keeps_is_offered(bits: int, samples: int, expected: set[str]) -> None:
    assert set(encodable(PixelFormat(64, 48, samples, bits, 0, "MONOCHROME2"))) == expected


@pytest.mark.parametrize("uid", sorted(OF_16_BITS))
def test_colours_are_not_transformed(uid: str) -> None:
    """The data set goes on saying RGB, or YBR_FULL, for what it describes."""
    array = np.zeros((32, 32, 3), "u1")
    array[..., 0] = 255
    pixels = _pixels(array)
    ours = _read_by_pydicom(encode(array.tobytes(), uid, pixels), uid, pixels)
    assert ours[0, 0].tolist() == [255, 0, 0]


def test_pixels_that_do_not_come_back_are_not_delivered() -> None:
    """OpenJPEG loses bits of large samples without a word."""
    array = _noise("<u4", (64, 48))
    with pytest.raises(NotAcceptable, match="do not come back"):
        encode(array.tobytes(), JPEG_2000_LOSSLESS, _pixels(array))
