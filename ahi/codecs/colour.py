"""Decides the colours of a frame: the codestream counts more than the label. Runs in the FrameFetcher processes.

Rendering, decoding and labels all use this module. Frames of one image may differ.
"""

from dicomweb.codestream import header_segments
from dicomweb.transfer_syntax import transfer_syntax

_SOFS = frozenset({*range(0xFFC0, 0xFFD0)}) - {0xFFC4, 0xFFC8, 0xFFCC}
_APP0, _APP14, _COD = 0xFFE0, 0xFFEE, 0xFF52
_J2K_START = b"\xff\x4f\xff\x51"
_RGB_IDS = b"RGB"


def jpeg_has_ycbcr(stored: bytes, photometric_interpretation: str) -> bool:
    """Whether three-component JPEG data is YCbCr.

    Adobe's marker decides (ITU-T T.872). Without it, JFIF is YCbCr (ITU-T T.871), and components with the IDs R, G and
    B are not. Otherwise the label of the data set decides.
    """
    segments = header_segments(stored)
    for marker, segment in segments:
        if marker == _APP14 and segment[:5] == b"Adobe" and len(segment) >= 12:
            return segment[11] != 0
    if any(marker == _APP0 and segment[:5] == b"JFIF\0" for marker, segment in segments):
        return True
    ids = next((segment[6::3] for marker, segment in segments if marker in _SOFS), b"")
    return ids[:3] != _RGB_IDS and photometric_interpretation != "RGB"


def jpeg_2000_has_colour_transform(stored: bytes) -> bool:
    """Whether a JPEG 2000 or HTJ2K codestream has a multiple-component transform: decoders then return RGB."""
    if not stored.startswith(_J2K_START):
        return False
    return any(marker == _COD and len(segment) > 4 and segment[4] == 1 for marker, segment in header_segments(stored))


def decodes_to_rgb(transfer_syntax_uid: str) -> bool:
    """Whether decoders of this transfer syntax always return RGB, as those of JPEG and JPEG XL do."""
    return transfer_syntax(transfer_syntax_uid).media_type in ("image/jpeg", "image/jxl")


def delivered_photometric(stored: bytes, transfer_syntax_uid: str, photometric_interpretation: str) -> str:
    """Return the PhotometricInterpretation of native pixels with three samples, as `ahi.codecs.frames` decodes them.

    `stored` is not used where the transfer syntax `decodes_to_rgb`.
    """
    label = photometric_interpretation
    if decodes_to_rgb(transfer_syntax_uid) or label in ("YBR_RCT", "YBR_ICT"):
        return "RGB"
    if label.startswith("YBR") and jpeg_2000_has_colour_transform(stored):
        return "RGB"
    return "YBR_FULL" if label == "YBR_FULL_422" else label
