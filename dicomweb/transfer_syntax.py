"""Transfer syntaxes and the media types that carry them (PS3.18 Tables 8.7.3-4 and 8.7.3-5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"
HTJ2K = "1.2.840.10008.1.2.4.203"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
JPEG_XL = "1.2.840.10008.1.2.4.112"


class FrameEncoding(Enum):
    """The encodings in which a frame can be had: as AHI stores it, as native pixels, or encoded again without loss."""

    STORED = "stored"
    NATIVE = "native"
    HTJ2K = "htj2k"
    JPEG_2000 = "j2k"
    JPEG_LS = "jls"
    RLE = "rle"


@dataclass(frozen=True)
class TransferSyntax:
    """A transfer syntax: its UID, the media type of a frame, and whether it is lossy or a video."""

    uid: str
    media_type: str
    lossy: bool = False
    video: bool = False

    @property
    def native(self) -> bool:
        """Whether frames are uncompressed pixels."""
        return self.uid == EXPLICIT_VR_LITTLE_ENDIAN

    @property
    def content_type(self) -> str:
        """The Content-Type of a part in this transfer syntax."""
        return f"{self.media_type}; transfer-syntax={self.uid}"


def _jpeg(suffix: str, media_type: str, lossy: bool = False, video: bool = False) -> TransferSyntax:
    return TransferSyntax(f"1.2.840.10008.1.2.4.{suffix}", media_type, lossy, video)


_TABLE = (
    TransferSyntax(EXPLICIT_VR_LITTLE_ENDIAN, "application/octet-stream"),
    TransferSyntax(RLE_LOSSLESS, "image/dicom-rle"),
    _jpeg("50", "image/jpeg", lossy=True),
    _jpeg("51", "image/jpeg", lossy=True),
    _jpeg("57", "image/jpeg"),
    _jpeg("70", "image/jpeg"),
    _jpeg("80", "image/jls"),
    _jpeg("81", "image/jls", lossy=True),
    _jpeg("90", "image/jp2"),
    _jpeg("91", "image/jp2", lossy=True),
    _jpeg("92", "image/jpx"),
    _jpeg("93", "image/jpx", lossy=True),
    _jpeg("110", "image/jxl"),
    _jpeg("111", "image/jxl", lossy=True),
    _jpeg("112", "image/jxl", lossy=True),
    _jpeg("201", "image/jphc"),
    _jpeg("202", "image/jphc"),
    _jpeg("203", "image/jphc", lossy=True),
    *(
        _jpeg(number + fragmentable, media_type, lossy=True, video=True)
        for media_type, numbers in (
            ("video/mpeg", ("100", "101")),
            ("video/mp4", ("102", "103", "104", "105", "106")),
            ("video/H265", ("107", "108")),
        )
        for number in numbers
        for fragmentable in ("", ".1")
    ),
)

TRANSFER_SYNTAXES: Mapping[str, TransferSyntax] = {syntax.uid: syntax for syntax in _TABLE}

OLD_SPELLINGS: Mapping[str, str] = {
    "image/x-dicom-rle": "image/dicom-rle",
    "image/x-jls": "image/jls",
    "image/j2c": "image/jp2",
    "image/x-jp2": "image/jp2",
    "image/jhc": "image/jphc",
    "image/jph": "image/jphc",
    "video/mpeg2": "video/mpeg",
    "video/h265": "video/H265",
}
"""Outdated names, in lower case, that requests still use, with the current ones."""


def transfer_syntax(uid: str) -> TransferSyntax:
    """The transfer syntax of a UID. An unknown one is opaque bytes, which only `transfer-syntax=*` can ask for."""
    return TRANSFER_SYNTAXES.get(uid) or TransferSyntax(uid, "application/octet-stream", lossy=True)
