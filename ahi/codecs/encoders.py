"""Native pixels → lossless encodings other than the stored one, each proven by decoding it again.

Nothing is transformed on the way: samples stay interleaved and colours as they are, so that what describes the native
pixels describes these too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from rle.utils import encode_pixel_data

from ahi.codecs.frames import HAS_OPENJPH, PixelFormat, decode
from dicomweb.errors import NotAcceptable, UpstreamFailed
from dicomweb.transfer_syntax import HTJ2K_LOSSLESS_RPCL, JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, RLE_LOSSLESS

Pixels = npt.NDArray[Any]


@dataclass(frozen=True)
class Encoder:
    """A codec, and the values of BitsAllocated that it keeps to the bit; `available` is False where it is not built."""

    encode: Callable[[Pixels, PixelFormat], bytes]
    bits_allocated: frozenset[int]
    available: bool = True

    def takes(self, pixels: PixelFormat) -> bool:
        """Whether such pixels come back the same: whole numbers of whole bytes, grey or three colours."""
        whole = pixels.bits_allocated in self.bits_allocated and not pixels.floating
        return self.available and whole and pixels.samples_per_pixel in (1, 3)


def _encode_rle(array: Pixels, pixels: PixelFormat) -> bytes:
    return bytes(
        encode_pixel_data(
            array.tobytes(),
            byteorder="<",
            rows=pixels.rows,
            columns=pixels.columns,
            samples_per_pixel=pixels.samples_per_pixel,
            bits_allocated=pixels.bits_allocated,
        )
    )


def _encode_jpeg_ls(array: Pixels, _pixels: PixelFormat) -> bytes:
    """JPEG-LS knows no sign: the same bits as unsigned numbers (PS3.5 Section 8.2.3)."""
    unsigned = array.view(np.dtype(f"u{array.dtype.itemsize}"))
    most_bytes = 2 * array.nbytes + 4096  # noise grows; the codec's own guess is too small for it
    return bytes(imagecodecs.jpegls_encode(unsigned, out=most_bytes))


def _encode_jpeg_2000(array: Pixels, _pixels: PixelFormat) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(array, level=0, codecformat="J2K", reversible=True, mct=False))


def _encode_htj2k(array: Pixels, _pixels: PixelFormat) -> bytes:
    """By resolution (RPCL), with a TLM marker and a tile-part for each, as PS3.5 Section A.4.12 wants it."""
    return bytes(imagecodecs.htj2k_encode(array, rgb=False, reversible=True, tlm=True, tilepart=1))


_ENCODERS: Mapping[str, Encoder] = {
    HTJ2K_LOSSLESS_RPCL: Encoder(_encode_htj2k, frozenset({8, 16, 32}), HAS_OPENJPH),
    JPEG_2000_LOSSLESS: Encoder(_encode_jpeg_2000, frozenset({8, 16})),  # OpenJPEG does not keep all of 32 bits
    JPEG_LS_LOSSLESS: Encoder(_encode_jpeg_ls, frozenset({8, 16})),
    RLE_LOSSLESS: Encoder(_encode_rle, frozenset({8, 16, 32})),
}


def encodable(pixels: PixelFormat) -> tuple[str, ...]:
    """The transfer syntaxes that such pixels can be encoded in without loss."""
    return tuple(uid for uid, encoder in _ENCODERS.items() if encoder.takes(pixels))


def encode(native: bytes, transfer_syntax_uid: str, pixels: PixelFormat) -> bytes:
    """One native frame in one of its `encodable` transfer syntaxes; NotAcceptable if it does not come back the same."""
    shape = (pixels.rows, pixels.columns, pixels.samples_per_pixel)[: 2 if pixels.samples_per_pixel == 1 else 3]
    array = np.frombuffer(native, pixels.dtype).reshape(shape)
    try:
        encoded = _ENCODERS[transfer_syntax_uid].encode(array, pixels)
        sound = decode(encoded, transfer_syntax_uid, pixels) == native
    except (RuntimeError, ValueError, UpstreamFailed) as error:  # what codecs raise on what they cannot hold
        raise NotAcceptable("the codec refuses these pixels: ask for another transfer syntax") from error
    if not sound:
        raise NotAcceptable("the pixels do not come back the same from the codec: ask for another transfer syntax")
    return encoded
