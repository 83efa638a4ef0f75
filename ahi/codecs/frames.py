"""Decodes stored frames to native pixels. Runs in the FrameFetcher processes."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from rle.utils import decode_pixel_data

from ahi.codecs.colour import jpeg_has_ycbcr
from ahi.codecs.openjph import decode_htj2k
from ahi.codecs.pixel_format import PixelFormat
from ahi.codecs.pixel_memory import PixelMemory
from dicomweb.codestream import check_jpeg, size_of
from dicomweb.errors import NotAcceptable, UpstreamFailed
from dicomweb.markers import Size
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax

Pixels = npt.NDArray[Any]

HAS_OPENJPH = bool(getattr(getattr(imagecodecs, "HTJ2K", None), "available", False))
"""Whether imagecodecs has OpenJPH. Its builds for Python 3.10 do not, and cannot encode HTJ2K."""


FRAME_BYTES = 2**28
"""The default bound of a decoded frame in bytes."""

_WRONG_SIZE = "a stored frame does not have the size that its metadata states"


def check_bound(size_bytes: int, max_bytes: int) -> None:
    """NotAcceptable where decoded pixels take more than `max_bytes`."""
    if size_bytes > max_bytes:
        raise NotAcceptable(
            f"a decoded frame takes {size_bytes} bytes, and FRAME_MAX_BYTES is {max_bytes}:"
            " ask for the stored one, with transfer-syntax=*"
        )


def decode(
    stored: bytes,
    transfer_syntax_uid: str,
    pixels: PixelFormat,
    max_bytes: int = FRAME_BYTES,
    memory: PixelMemory | None = None,
) -> bytes:
    """Decode a frame to native pixels: little endian, interleaved by pixel, YCbCr of JPEG as RGB.

    NotAcceptable where there is no decoder, as for video, or the pixels take more than `max_bytes`. UpstreamFailed for
    damaged bytes. The size that a header states is checked before any memory is taken, and then a share of `memory`.
    """
    if transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN:
        native = stored
    else:
        needed_bytes = _decoded_bytes(stored, transfer_syntax_uid, pixels, max_bytes)
        with memory.taking(needed_bytes) if memory else nullcontext():
            array = _whole_tile(_decode_array(stored, transfer_syntax_uid, pixels), pixels)
            if transfer_syntax(transfer_syntax_uid).lossy:  # kept as imported: AHI has not corrected the signs
                array = _with_signs(array, stored, pixels)
            native = native_bytes(array, pixels)
    if len(native) != pixels.frame_bytes:
        raise UpstreamFailed(_WRONG_SIZE)
    return native


def _decoded_bytes(stored: bytes, transfer_syntax_uid: str, pixels: PixelFormat, max_bytes: int) -> int:
    """Return the bytes that the decoding of a frame takes, by its header and by the data set.

    NotAcceptable where these are more than `max_bytes`; UpstreamFailed where header and data set do not agree.
    """
    check_bound(pixels.frame_bytes, max_bytes)
    if transfer_syntax(transfer_syntax_uid).media_type not in _WITH_SIZE:
        return pixels.frame_bytes
    stated = checked_size(stored, pixels, max_bytes)
    return max(pixels.frame_bytes, stated.native_bytes, stated.division_bytes)


def checked_size(stored: bytes, pixels: PixelFormat, max_bytes: int, skipped: int = 0) -> Size:
    """Return the size in the header of a codestream, after it is compared with the data set and the bound.

    `skipped` is the number of resolution levels that are not decoded.
    """
    stated = size_of(stored)
    if stated is None:
        raise UpstreamFailed("a stored frame cannot be decoded")
    if stated.rows * stated.columns != pixels.rows * pixels.columns and not pixels.may_be(stated.rows, stated.columns):
        raise UpstreamFailed(_WRONG_SIZE)
    check_bound(stated.native_bytes >> 2 * skipped, max_bytes)
    check_bound(stated.division_bytes, max_bytes)
    return stated


def _decode_array(stored: bytes, transfer_syntax_uid: str, pixels: PixelFormat) -> Pixels:
    decoder = _DECODERS.get(transfer_syntax(transfer_syntax_uid).media_type)
    if decoder is None:
        raise NotAcceptable("the frames can only be had as they are stored: ask for transfer-syntax=*")
    try:
        return decoder(stored, pixels)
    except (RuntimeError, ValueError, KeyError) as error:  # codecs raise these on damaged bytes
        raise UpstreamFailed("a stored frame cannot be decoded") from error


def _whole_tile(array: Pixels, pixels: PixelFormat) -> Pixels:
    """Fill a tile to its full size: white in colour, like glass, and 0 in grey."""
    if not pixels.tile or array.shape[:2] == (pixels.rows, pixels.columns) or not pixels.may_be(*array.shape[:2]):
        return array
    fill = np.iinfo(array.dtype).max if array.ndim == 3 else 0
    whole: Pixels = np.full((pixels.rows, pixels.columns, *array.shape[2:]), fill, array.dtype)
    whole[: array.shape[0], : array.shape[1]] = array
    return whole


def _with_signs(array: Pixels, stored: bytes, pixels: PixelFormat) -> Pixels:
    """Give grey samples the signs of the data set (two's complement), where the codestream has none.

    JPEG and JPEG XL have no signs, and some encoders write JPEG 2000 without.
    """
    if pixels.samples_per_pixel != 1 or pixels.bits_allocated == 1 or array.dtype.kind not in "iu":
        return array
    if array.dtype.kind == pixels.dtype.kind or array.dtype.itemsize > pixels.dtype.itemsize:
        return array
    stated, room = size_of(stored), 8 * array.dtype.itemsize
    bits = stated.bits if stated and room // 2 < max(stated.bits, 8) <= room else room  # JPEG XL does not state it
    above = 8 * pixels.dtype.itemsize - bits
    words: Pixels = array.astype(f"<u{pixels.dtype.itemsize}") << above
    return words.view(pixels.dtype) >> above  # the shift copies the sign


def native_bytes(array: Pixels, pixels: PixelFormat) -> bytes:
    """Convert samples to the type of the data set. A decoder may return a narrower or an unsigned type."""
    return np.ascontiguousarray(array).astype(pixels.dtype, copy=False).tobytes()


def _decode_htj2k(stored: bytes, pixels: PixelFormat) -> Pixels:
    if HAS_OPENJPH:
        return decode_htj2k(stored)
    return _decode_openjpeg(stored, pixels)


def _decode_openjpeg(stored: bytes, _pixels: PixelFormat) -> Pixels:
    """Decode HTJ2K with OpenJPEG, where imagecodecs has no OpenJPH."""
    from openjpeg.utils import decode as openjpeg_decode  # noqa: PLC0415 - only there

    return np.asarray(openjpeg_decode(stored))


def _decode_jpeg_2000(stored: bytes, _pixels: PixelFormat) -> Pixels:
    return np.asarray(imagecodecs.jpeg2k_decode(stored))


def _decode_jpeg(stored: bytes, pixels: PixelFormat) -> Pixels:
    if pixels.samples_per_pixel == 1:
        return np.asarray(imagecodecs.jpeg8_decode(stored))
    transformed = jpeg_has_ycbcr(stored, pixels.photometric_interpretation)
    colour = "YCBCR" if transformed else "RGB"
    return np.asarray(imagecodecs.jpeg8_decode(stored, colorspace=colour, outcolorspace="RGB"))


def _decode_jpeg_xl(stored: bytes, _pixels: PixelFormat) -> Pixels:
    return np.asarray(imagecodecs.jpegxl_decode(stored))


def _decode_jpeg_ls(stored: bytes, _pixels: PixelFormat) -> Pixels:
    check_jpeg(stored, jpeg_ls=True)  # CharLS may count 2**31 bits beyond a cut end before it refuses the frame
    return np.asarray(imagecodecs.jpegls_decode(stored))


def _decode_rle(stored: bytes, pixels: PixelFormat) -> Pixels:
    planes = decode_pixel_data(
        stored,
        version=2,
        byteorder="<",
        rows=pixels.rows,
        columns=pixels.columns,
        samples_per_pixel=pixels.samples_per_pixel,
        bits_allocated=pixels.bits_allocated,
    )
    array: Pixels = np.frombuffer(planes, pixels.dtype).reshape(pixels.samples_per_pixel, -1).T
    return array


_DECODERS: dict[str, Callable[[bytes, PixelFormat], Pixels]] = {
    "image/jphc": _decode_htj2k,
    "image/jp2": _decode_jpeg_2000,
    "image/jpeg": _decode_jpeg,
    "image/jxl": _decode_jpeg_xl,
    "image/jls": _decode_jpeg_ls,
    "image/dicom-rle": _decode_rle,
}


_WITH_SIZE = _DECODERS.keys() - {"image/dicom-rle"}
"""Media types whose frames state their size."""
