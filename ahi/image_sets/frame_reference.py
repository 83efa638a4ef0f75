"""References to frames, and the encodings in which a frame can be delivered. Runs in all processes."""

from collections.abc import Mapping
from dataclasses import dataclass

from ahi.codecs.encoders import encodable
from ahi.codecs.frames import PixelFormat
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

ENCODED_AS = {
    FrameEncoding.HTJ2K: HTJ2K_LOSSLESS_RPCL,
    FrameEncoding.JPEG_2000: JPEG_2000_LOSSLESS,
    FrameEncoding.JPEG_LS: JPEG_LS_LOSSLESS,
    FrameEncoding.RLE: RLE_LOSSLESS,
}


_DECODED_AGAIN = ".2"
"""In the names of decoded JPEG frames: a cache may hold those of an earlier decoder, some in other colours."""


_ENCODED_FORMS = {uid: form for form, uid in ENCODED_AS.items()}


def lossless_encodings(transfer_syntax_uid: str, pixels: PixelFormat | None) -> Mapping[str, FrameEncoding]:
    """Transfer syntaxes that frames can be encoded in again, and the form of each; none if they were lossy once."""
    stored = transfer_syntax(transfer_syntax_uid)
    if pixels is None or stored.lossy or stored.video:
        return {}
    forms = {uid: _ENCODED_FORMS[uid] for uid in encodable(pixels) if uid != stored.uid}
    htj2k = FrameEncoding.STORED if stored.uid == HTJ2K_LOSSLESS_RPCL else forms.get(HTJ2K_LOSSLESS_RPCL)
    # HTJ2K by resolution is HTJ2K: what can be labelled with the narrower transfer syntax can be with the wider one.
    return {**forms, HTJ2K_LOSSLESS: htj2k} if htj2k and stored.uid != HTJ2K_LOSSLESS else forms


def has_encoding(transfer_syntax_uid: str, pixels: PixelFormat | None, form: FrameEncoding) -> bool:
    """Whether frames can be had in a form; that they can be had as native pixels is for the decoder to say."""
    return (
        form in (FrameEncoding.STORED, FrameEncoding.NATIVE)
        or form in lossless_encodings(transfer_syntax_uid, pixels).values()
    )


@dataclass(frozen=True)
class FrameReference:
    """All that is needed to fetch one frame and to decode it."""

    image_set: ImageSetKey
    frame: Frame
    transfer_syntax_uid: str
    pixels: PixelFormat | None

    def cache_name(self, form: FrameEncoding) -> str:
        """The bytes behind a frame ID never change, so its name is its ID."""
        again = _DECODED_AGAIN if form is FrameEncoding.NATIVE and self.transfer_syntax_uid == JPEG_BASELINE else ""
        return f"frames/{self.frame.frame_id[:2]}/{self.frame.frame_id}{again}.{form.value}"
