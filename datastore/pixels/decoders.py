"""One encoded frame → stored values, rows x columns x samples, in the type that the data set states.

Most frames are decoded by the plugins of pydicom, JPEG and JPEG-LS by our own plugin, the others by imagecodecs.
Hostile bytes end in NotDecodable, whatever a decoder raises.
"""

import zlib
from collections.abc import Callable, Mapping

import imagecodecs
import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from datastore.findings import Findings
from datastore.pixels import jpeg_plugin
from datastore.pixels.codecs import Pixels
from datastore.pixels.layout import Layout
from datastore.pixels.native import NativeFrames, TruncatedPixelData
from dicomweb.codestream import header_segments, size_of
from dicomweb.markers import Size

RLE = "1.2.840.10008.1.2.5"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
_JPEG_EXTENDED, _JPEG_LS, _JPEG_2000, _HTJ2K = (f"1.2.840.10008.1.2.4.{end}" for end in ("51", "80", "90", "201"))
_J2K_START, _COD = b"\xff\x4f\xff\x51", 0xFF52
_JP2_SIGNATURE = b"\0\0\0\x0cjP  "


class NotDecodable(Exception):
    """A frame cannot be decoded; the message is the reason and holds no content."""


def decode(frame: bytes, syntax: str, layout: Layout, *, as_rgb: bool) -> Pixels:
    """The decoded frame; with `as_rgb`, YCbCr of 8 bits becomes RGB. NotDecodable."""
    size = size_of(frame)
    needed = max(size.native_bytes, size.division_bytes) if size else 0
    if needed > layout.max_bytes:
        raise NotDecodable(f"a decoded frame would take {needed} bytes, more than FRAME_MAX_BYTES ({layout.max_bytes})")
    decoder = DECODERS.get(syntax)
    if decoder is None:
        raise NotDecodable("the transfer syntax is not supported")
    inner = layout.with_size(size.rows, size.columns) if size else layout
    try:
        pixels = decoder(frame, inner, size, as_rgb)
    except NotDecodable:
        raise
    except BaseException as error:
        # Decoders raise any kind of error on damaged bytes; those written in Rust even one that is not an Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise NotDecodable(f"the pixel data cannot be decoded ({type(error).__name__})") from error
    fitting = _in_type(pixels, inner, size)
    return fitting if inner is layout else _whole_tile(fitting, layout)


def _whole_tile(pixels: Pixels, layout: Layout) -> Pixels:
    """A tile in full size: outside the image, colours are white, as glass is, and grey is 0."""
    beyond = np.iinfo(pixels.dtype).max if layout.samples > 1 else 0
    whole = np.full(layout.shape, beyond, pixels.dtype)
    whole[: pixels.shape[0], : pixels.shape[1]] = pixels
    return whole


def _in_type(pixels: Pixels, layout: Layout, size: Size | None) -> Pixels:
    """Pixels in the type of the data set; NotDecodable if a value would change, or the shape is another one."""
    if layout.bits_allocated == 1 and size and size.bits > 1:
        raise NotDecodable("the samples have more bits than BitsAllocated says")
    if layout.bits_allocated == 1 and pixels.size == layout.sample_count:
        return pixels
    if pixels.dtype.kind not in "iu" or pixels.shape != layout.shape:
        raise NotDecodable("the pixel data is not described as it is")
    if layout.signed and size and size.bits <= layout.bits_stored <= 8 * pixels.dtype.itemsize:
        pixels = _extended(pixels, layout.bits_stored)
    fitting = pixels.astype(layout.dtype, copy=False)
    if pixels.dtype.itemsize > fitting.dtype.itemsize and not np.array_equal(fitting, pixels):
        raise NotDecodable("the samples have more bits than BitsAllocated says")
    return fitting


def _extended(pixels: Pixels, bits: int) -> Pixels:
    """Signed values from unsigned samples that hold `bits` bits of two's complement."""
    above = 8 * pixels.dtype.itemsize - bits
    signed: Pixels = (pixels << above).view(f"i{pixels.dtype.itemsize}") >> above
    return signed


def has_colour_transform(frame: bytes) -> bool:
    """Whether a JPEG 2000 or HTJ2K codestream uses the multiple-component transform, and so decodes to RGB."""
    if not frame.startswith(_J2K_START):
        return False
    return any(marker == _COD and segment[4:5] == b"\1" for marker, segment in header_segments(frame))


def coded_bits(layout: Layout, size: Size | None) -> int:
    """The bits of a decoded sample: by the codestream if that states it, else BitsAllocated."""
    return next((room for room in (8, 16, 32) if size and size.bits <= room), layout.bits_allocated)


def _by_pydicom(uid: str, plugin: str = "") -> "Decoder":
    def decoded(frame: bytes, layout: Layout, size: Size | None, as_rgb: bool) -> Pixels:
        """Decode in the type of the codestream, which pydicom expects in BitsAllocated."""
        inner = layout.with_bits(coded_bits(layout, size))
        arrays = get_decoder(uid).iter_array(
            encapsulate([frame]),
            rows=layout.rows,
            columns=layout.columns,
            samples_per_pixel=layout.samples,
            bits_allocated=inner.bits_allocated,
            bits_stored=inner.bits_stored,
            pixel_representation=int(layout.signed),
            photometric_interpretation=layout.photometric,
            planar_configuration=0,  # decoders interleave samples by pixel, whatever the data set states
            number_of_frames=1,
            pixel_keyword="PixelData",
            as_rgb=not has_colour_transform(frame) and ((as_rgb and inner.is_ybr) or layout.photometric == "RGB"),
            correct_unused_bits=False,
            decoding_plugin=plugin,
        )
        return next(pixels for pixels, _ in arrays)

    return decoded


def _jpeg_2000(frame: bytes, layout: Layout, size: Size | None, as_rgb: bool) -> Pixels:
    if _has_empty_box(frame):
        raise NotDecodable("a JP2 box has no length")
    return _by_pydicom(_JPEG_2000)(frame, layout, size, as_rgb)


def _has_empty_box(frame: bytes) -> bool:
    """Whether a box before the codestream has length 0, on which pydicom would loop forever."""
    if not frame.startswith(_JP2_SIGNATURE):
        return False
    position = 12  # the length of the first box
    while position < len(frame) and frame[position + 4 : position + 8] != b"jp2c":
        length_bytes = int.from_bytes(frame[position : position + 4], "big")
        if length_bytes == 0:
            return True
        position += length_bytes
    return False


def _jpeg_xl(frame: bytes, _layout: Layout, size: Size | None, _as_rgb: bool) -> Pixels:
    if size is None:  # a decoder would give all frames of an animation
        raise NotDecodable("the frame is no single JPEG XL image")
    return np.asarray(imagecodecs.jpegxl_decode(frame))


def _deflated(frame: bytes, layout: Layout, _size: Size | None, as_rgb: bool) -> Pixels:
    """A native frame in a Deflate stream of its own (PS3.5 Annex A.4.13)."""
    content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, layout.max_bytes)
    try:
        return NativeFrames.of(content, layout, 1, Findings(), as_rgb=as_rgb).decoded(0)
    except TruncatedPixelData:
        raise NotDecodable("the frame is shorter than it should be") from None


def _rle(frame: bytes, layout: Layout, size: Size | None, as_rgb: bool) -> Pixels:
    if layout.bits_allocated > 1:
        return _by_pydicom(RLE)(frame, layout, size, as_rgb)
    count = int.from_bytes(frame[:4], "little")
    starts = [int.from_bytes(frame[4 * number : 4 * number + 4], "little") for number in range(1, min(count, 15) + 1)]
    segments = (frame[start:end] for start, end in zip(starts, [*starts[1:], len(frame)], strict=True))
    content = b"".join(bytes(imagecodecs.packbits_decode(segment)) for segment in segments)
    if len(content) >= layout.sample_count:  # a byte for each pixel, as some write it
        return np.frombuffer(content, np.uint8, layout.sample_count)
    if 8 * len(content) < layout.sample_count:
        raise NotDecodable("the frame is shorter than it should be")
    bits: Pixels = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")[: layout.sample_count]
    return bits


Decoder = Callable[[bytes, Layout, Size | None, bool], Pixels]

jpeg_plugin.install()
_jpeg = _by_pydicom(_JPEG_EXTENDED, jpeg_plugin.NAME)  # of any process: the stream says which one it is
_jpeg_ls = _by_pydicom(_JPEG_LS, jpeg_plugin.NAME)

DECODERS: Mapping[str, Decoder] = {
    RLE: _rle,
    DEFLATED_FRAMES: _deflated,
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in [*range(50, 67), 70]), _jpeg),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (80, 81)), _jpeg_ls),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 92, 93)), _jpeg_2000),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (110, 111, 112)), _jpeg_xl),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203)), _by_pydicom(_HTJ2K)),
}
"""The decoder of each transfer syntax."""
