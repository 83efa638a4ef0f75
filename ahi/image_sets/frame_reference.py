"""References to frames, and the encodings in which a frame can be delivered. Runs in all processes."""

from collections.abc import Mapping
from dataclasses import dataclass

from ahi.codecs.encoders import encodable
from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.image_set import Frame, ImageSetKey
from dicomweb.transfer_syntax import (
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
    FrameEncoding,
    transfer_syntax,
)

TRANSFER_SYNTAX_OF = {
    FrameEncoding.HTJ2K: HTJ2K_LOSSLESS_RPCL,
    FrameEncoding.JPEG_2000: JPEG_2000_LOSSLESS,
    FrameEncoding.JPEG_LS: JPEG_LS_LOSSLESS,
    FrameEncoding.RLE: RLE_LOSSLESS,
}

_NEW_DECODER = ".2"
"""Part of the names of decoded JPEG frames: a cache may hold those of an earlier decoder, in other colours."""

_ENCODING_OF = {uid: encoding for encoding, uid in TRANSFER_SYNTAX_OF.items()}


def lossless_encodings(transfer_syntax_uid: str, pixels: PixelFormat | None) -> Mapping[str, FrameEncoding]:
    """Return the transfer syntaxes in which frames can be delivered without loss, with their encodings.

    None for frames that are lossy already, videos, and pixels that no encoder keeps.
    """
    stored = transfer_syntax(transfer_syntax_uid)
    if pixels is None or stored.lossy or stored.video:
        return {}
    encodings = {uid: _ENCODING_OF[uid] for uid in encodable(pixels) if uid != stored.uid}
    htj2k = FrameEncoding.STORED if stored.uid == HTJ2K_LOSSLESS_RPCL else encodings.get(HTJ2K_LOSSLESS_RPCL)
    # HTJ2K in RPCL order is HTJ2K, so the label of the wider transfer syntax is right, too.
    return {**encodings, HTJ2K_LOSSLESS: htj2k} if htj2k and stored.uid != HTJ2K_LOSSLESS else encodings


def has_encoding(transfer_syntax_uid: str, pixels: PixelFormat | None, encoding: FrameEncoding) -> bool:
    """Whether frames can be delivered in an encoding. Whether native pixels can be decoded is not checked."""
    return (
        encoding in (FrameEncoding.STORED, FrameEncoding.NATIVE)
        or encoding in lossless_encodings(transfer_syntax_uid, pixels).values()
    )


@dataclass(frozen=True)
class FrameReference:
    """The identifiers and the format of one frame: all that its fetch and its decoding need."""

    image_set: ImageSetKey
    frame: Frame
    transfer_syntax_uid: str
    pixels: PixelFormat | None

    def cache_name(self, encoding: FrameEncoding) -> str:
        """Return the name in the cache. The bytes behind a frame ID never change, so the ID is enough."""
        suffix = _NEW_DECODER if encoding is FrameEncoding.NATIVE and self.transfer_syntax_uid == JPEG_BASELINE else ""
        return f"frames/{self.frame.frame_id[:2]}/{self.frame.frame_id}{suffix}.{encoding.value}"
