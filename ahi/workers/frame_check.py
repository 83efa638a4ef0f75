"""Checks the structure of fetched frames before they are kept or delivered. Runs in the FrameFetcher processes."""

import zlib
from collections.abc import Callable, Mapping

from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.image_set import Frame
from dicomweb.codestream import check_jpeg, check_jpeg_xl, check_rle, check_video
from dicomweb.jpeg_2000 import check_jpeg_2000
from dicomweb.markers import Incomplete, Size
from dicomweb.transfer_syntax import TRANSFER_SYNTAXES, TransferSyntax, transfer_syntax

_TEXT_BYTES = 64
_TEXT = frozenset({*b"\t\r\n", *range(0x20, 0x7F)})

Check = Callable[[bytes, TransferSyntax, PixelFormat | None], Size | None]


def frame_fault(stored: bytes, frame: Frame, transfer_syntax_uid: str, pixels: PixelFormat | None) -> str | None:
    """Return why these cannot be the stored bytes of a frame, in words for client and log; None where they can.

    Frames that AHI keeps as imported have a checksum of their stored bytes, and the checksum alone decides. Other
    frames are read from the first marker to the last. `pixels` is None where the metadata does not describe them.
    """
    if not stored:
        return "it is empty"
    syntax = transfer_syntax(transfer_syntax_uid)
    has_stored_checksum = syntax.uid in TRANSFER_SYNTAXES and (syntax.lossy or syntax.native)
    if has_stored_checksum and frame.checksum is not None:
        is_intact = zlib.crc32(stored) == frame.checksum
        return None if is_intact else "it does not have the checksum that its metadata states"
    try:
        size = _CHECKS.get(syntax.media_type, _check_no_text)(stored, syntax, pixels)
    except Incomplete as error:
        return str(error)
    if size and pixels and not pixels.may_be(size.rows, size.columns):
        return f"it has {size.rows} rows and {size.columns} columns instead of {pixels.rows} and {pixels.columns}"
    return None


def _check_native(stored: bytes, syntax: TransferSyntax, pixels: PixelFormat | None) -> None:
    if not syntax.native or pixels is None:
        _check_no_text(stored, syntax, pixels)
    elif len(stored) != pixels.frame_bytes:
        raise Incomplete(f"it has {len(stored)} bytes instead of {pixels.frame_bytes}")


def _check_no_text(stored: bytes, _syntax: TransferSyntax, _pixels: PixelFormat | None) -> None:
    """Incomplete for an HTML page or an error text in place of a video or image."""
    beginning = stored[:_TEXT_BYTES].lstrip(b" \t\r\n\xef\xbb\xbf")
    if beginning[:1] in (b"<", b"{", b"[") and _TEXT.issuperset(beginning):
        raise Incomplete("it is text")


def _check_jpeg_2000(stored: bytes, syntax: TransferSyntax, _pixels: PixelFormat | None) -> Size:
    return check_jpeg_2000(stored, ends=not syntax.lossy)


def _check_jpeg(stored: bytes, _syntax: TransferSyntax, _pixels: PixelFormat | None) -> Size:
    return check_jpeg(stored)


def _check_jpeg_ls(stored: bytes, _syntax: TransferSyntax, _pixels: PixelFormat | None) -> Size:
    return check_jpeg(stored, jpeg_ls=True)


def _check_jpeg_xl(stored: bytes, _syntax: TransferSyntax, _pixels: PixelFormat | None) -> None:
    check_jpeg_xl(stored)  # its size is that before rotation


def _check_rle(stored: bytes, _syntax: TransferSyntax, pixels: PixelFormat | None) -> None:
    check_rle(stored, pixels.samples_per_pixel * ((pixels.bits_allocated + 7) // 8) if pixels else None)


def _check_video(stored: bytes, _syntax: TransferSyntax, _pixels: PixelFormat | None) -> None:
    check_video(stored)


_CHECKS: Mapping[str, Check] = {
    "application/octet-stream": _check_native,
    "image/jphc": _check_jpeg_2000,
    "image/jp2": _check_jpeg_2000,
    "image/jpx": _check_jpeg_2000,
    "image/jpeg": _check_jpeg,
    "image/jls": _check_jpeg_ls,
    "image/jxl": _check_jpeg_xl,
    "image/dicom-rle": _check_rle,
    "video/mpeg": _check_video,
    "video/mp4": _check_video,
    "video/H265": _check_video,
}
