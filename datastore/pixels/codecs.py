"""Lossless frames: pixels → codestream, verified by decoding it again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]

_CODING_STYLE = b"\xff\x52"
_MOST_EXACT_BITS = 24  # OpenJPEG does not keep all bits of larger samples
_MOST_LEVELS = 5


class NotEncodable(Exception):
    """The codec does not give these pixels back exactly."""


@dataclass(frozen=True)
class LosslessFormat:
    """A lossless storage format of AHI: its transfer syntax, the Content-Type of a frame, and its codec.

    `encode` takes pixels, and whether to transform their components, which must be RGB then. `decode` takes the number
    of resolutions to leave out; `reduces` says whether it can do that.
    """

    transfer_syntax_uid: str
    content_type: str
    encode: Callable[[Pixels, bool], bytes]
    decode: Callable[[bytes, int], Pixels]
    reduces: bool
    most_bits: int


def _encode_htj2k(pixels: Pixels, transform: bool) -> bytes:
    rgb = None if transform else False
    levels = _fitting_levels(pixels)  # which imagecodecs calls resolutions
    return bytes(imagecodecs.htj2k_encode(pixels, rgb=rgb, reversible=True, tlm=True, tilepart=1, resolutions=levels))


def _fitting_levels(pixels: Pixels) -> int:
    """The number of times that both sides of a frame can be halved, from 1, the least of the encoder, to 5.

    Decoders of viewers fail, or give wrong pixels, if a frame is too small for its number of levels.
    """
    shorter = min(pixels.shape[:2])
    return min(max(int(shorter).bit_length() - 1, 1), _MOST_LEVELS)


def _decode_htj2k(stored: bytes, left_out: int) -> Pixels:
    return np.asarray(imagecodecs.htj2k_decode(stored, planar=False, skipres=left_out))


def _encode_jpeg_2000(pixels: Pixels, transform: bool) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="J2K", reversible=True, mct=transform))


def _decode_jpeg_2000(stored: bytes, _left_out: int) -> Pixels:
    return np.asarray(imagecodecs.jpeg2k_decode(stored))


LOSSLESS: Mapping[str, LosslessFormat] = {
    "HTJ2K": LosslessFormat("1.2.840.10008.1.2.4.202", "image/jph", _encode_htj2k, _decode_htj2k, True, 32),
    # AHI lists no Content-Type for this format, so it has the default.
    "JPEG_2000_LOSSLESS": LosslessFormat(
        "1.2.840.10008.1.2.4.90",
        "application/octet-stream",
        _encode_jpeg_2000,
        _decode_jpeg_2000,
        False,
        _MOST_EXACT_BITS,
    ),
}


def encode_lossless(pixels: Pixels, lossless: LosslessFormat, *, transform: bool) -> bytes:
    """A codestream that decodes to exactly `pixels`, which is verified; NotEncodable if there is none.

    `pixels` are rows x columns, or rows x columns x samples, integers in any byte order. `transform` turns the
    multiple-component transform on, for three samples of RGB.
    """
    native = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))
    if 8 * native.dtype.itemsize > lossless.most_bits:
        raise NotEncodable("the samples are too large for the codec")
    try:
        stored = lossless.encode(native, transform and native.ndim == 3 and native.shape[2] == 3)
        decoded = lossless.decode(stored, 0)
    except (RuntimeError, ValueError) as error:  # what codecs raise on what they cannot hold
        raise NotEncodable("the codec refuses these pixels") from error
    if decoded.dtype != native.dtype or not np.array_equal(decoded, native):
        raise NotEncodable("the pixels do not come back the same from the codec")
    return stored


def resolutions(stored: bytes, lossless: LosslessFormat) -> list[Pixels]:
    """The frame at each of its resolutions, lowest first; only the full one if the codec cannot reduce."""
    levels = decomposition_levels(stored) if lossless.reduces else 0
    return [lossless.decode(stored, left_out) for left_out in range(levels, -1, -1)]


def decomposition_levels(stored: bytes) -> int:
    """The number of decomposition levels, by the COD marker segment (ISO 15444-1 Annex A.6.1)."""
    return stored[stored.index(_CODING_STYLE) + 9]
