"""Encodes native pixels without loss, and decodes the result to prove it. Runs in the FrameFetcher processes.

Samples stay interleaved and colours as they are, so the attributes of the native pixels also describe the result.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from rle.utils import encode_pixel_data

from ahi.codecs.frames import HAS_OPENJPH, decode
from ahi.codecs.pixel_format import PixelFormat
from dicomweb.errors import NotAcceptable, UpstreamFailed
from dicomweb.transfer_syntax import HTJ2K_LOSSLESS_RPCL, JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, RLE_LOSSLESS

Pixels = npt.NDArray[Any]


@dataclass(frozen=True)
class Encoder:
    """A codec and the values of BitsAllocated that it keeps exactly. `available` is False where it is not built."""

    encode: Callable[[Pixels, PixelFormat], bytes]
    bits_allocated: frozenset[int]
    available: bool = True

    def takes(self, pixels: PixelFormat) -> bool:
        """Whether it keeps such pixels: integers of whole bytes, in grey or three colours."""
        is_integer = pixels.bits_allocated in self.bits_allocated and not pixels.floating
        return self.available and is_integer and pixels.samples_per_pixel in (1, 3)


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
    """JPEG-LS has no signs, so the bits are encoded as unsigned numbers (PS3.5 Section 8.2.3)."""
    unsigned = array.view(np.dtype(f"u{array.dtype.itemsize}"))
    max_bytes = 2 * array.nbytes + 4096  # noise grows, and the estimate of the codec is too small
    return bytes(imagecodecs.jpegls_encode(unsigned, out=max_bytes))


def _encode_jpeg_2000(array: Pixels, _pixels: PixelFormat) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(array, level=0, codecformat="J2K", reversible=True, mct=False))


def _encode_htj2k(array: Pixels, _pixels: PixelFormat) -> bytes:
    """RPCL progression with a TLM marker and a tile-part for each resolution (PS3.5 Section A.4.12)."""
    return bytes(imagecodecs.htj2k_encode(array, rgb=False, reversible=True, tlm=True, tilepart=1))


_ENCODERS: Mapping[str, Encoder] = {
    HTJ2K_LOSSLESS_RPCL: Encoder(_encode_htj2k, frozenset({8, 16, 32}), HAS_OPENJPH),
    JPEG_2000_LOSSLESS: Encoder(_encode_jpeg_2000, frozenset({8, 16})),  # OpenJPEG does not keep 32 bits
    JPEG_LS_LOSSLESS: Encoder(_encode_jpeg_ls, frozenset({8, 16})),
    RLE_LOSSLESS: Encoder(_encode_rle, frozenset({8, 16, 32})),
}


def encodable(pixels: PixelFormat) -> tuple[str, ...]:
    """Return the transfer syntaxes in which such pixels can be encoded without loss."""
    return tuple(uid for uid, encoder in _ENCODERS.items() if encoder.takes(pixels))


def encode(native: bytes, transfer_syntax_uid: str, pixels: PixelFormat) -> bytes:
    """Encode a native frame in one of its `encodable` transfer syntaxes. NotAcceptable if decoding differs."""
    shape = (pixels.rows, pixels.columns, pixels.samples_per_pixel)[: 2 if pixels.samples_per_pixel == 1 else 3]
    array = np.frombuffer(native, pixels.dtype).reshape(shape)
    try:
        encoded = _ENCODERS[transfer_syntax_uid].encode(array, pixels)
        is_lossless = decode(encoded, transfer_syntax_uid, pixels) == native
    except (RuntimeError, ValueError, UpstreamFailed) as error:  # codecs raise these on pixels that they cannot hold
        raise NotAcceptable("the codec refuses these pixels: ask for another transfer syntax") from error
    if not is_lossless:
        raise NotAcceptable("the pixels do not come back the same from the codec: ask for another transfer syntax")
    return encoded
