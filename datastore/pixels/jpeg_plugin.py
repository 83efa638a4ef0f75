"""A plugin of pydicom that decodes JPEG and JPEG-LS by imagecodecs, which is free of the GPL.

pydicom knows such plugins as modules: it asks for `is_available`, `DECODER_DEPENDENCIES` and the function. Samples come
without a colour transform, by pixel. pydicom decides by the label and the codestream which colours they are.
"""

from collections.abc import Mapping
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.pixels.decoders.base import (
    Decoder,
    DecodeRunner,
    JPEGBaseline8BitDecoder,
    JPEGExtended12BitDecoder,
    JPEGLosslessDecoder,
    JPEGLosslessSV1Decoder,
    JPEGLSLosslessDecoder,
    JPEGLSNearLosslessDecoder,
)

from dicomweb.codestream import header_segments, size_of

NAME = "imagecodecs"
_JPEG_LS_FRAME = 0xFFF7
_COLOUR_SPACES = {3: "RGB", 4: "CMYK"}
"""By the number of components: what a frame is said to be before and after, so that nothing is transformed."""

_DECODERS: tuple[Decoder, ...] = (
    JPEGBaseline8BitDecoder,
    JPEGExtended12BitDecoder,
    JPEGLosslessDecoder,
    JPEGLosslessSV1Decoder,
    JPEGLSLosslessDecoder,
    JPEGLSNearLosslessDecoder,
)
DECODER_DEPENDENCIES: Mapping[str, tuple[str, ...]] = {decoder.UID: ("imagecodecs",) for decoder in _DECODERS}


def is_available(uid: str) -> bool:
    """Whether the plugin decodes that transfer syntax."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(source: bytes, runner: DecodeRunner) -> bytearray:
    """The samples of one frame, little endian, each in 1 or 2 bytes; RuntimeError where it cannot be decoded."""
    pixels = _decoded(source)
    room = 8 * pixels.dtype.itemsize
    runner.set_option("bits_allocated", room)
    runner.set_option("planar_configuration", 0)
    return bytearray(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes())


def _decoded(source: bytes) -> npt.NDArray[Any]:
    """Rows x columns, or rows x columns x samples."""
    if any(marker == _JPEG_LS_FRAME for marker, _ in header_segments(source)):
        return np.asarray(imagecodecs.jpegls_decode(source))
    size = size_of(source)
    space = _COLOUR_SPACES.get(size.components) if size else None
    return np.asarray(imagecodecs.jpeg8_decode(source, colorspace=space, outcolorspace=space))


def install() -> None:
    """Make the plugin known to pydicom, once."""
    for decoder in _DECODERS:
        if NAME not in decoder.available_plugins:
            decoder.add_plugin(NAME, (__name__, decode_frame.__name__))
