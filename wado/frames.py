"""Frames as parts (PS3.18 Section 10.4.1.1.6): in the order asked for, each labelled with what its bytes are."""

from collections.abc import Mapping, Sequence

from ahi.codecs import resolution_ends
from ahi.jobs import Form, FrameReference
from ahi.store import Frames
from dicomweb.multipart import Part
from wado.locate import LocatedInstance
from wado.representation import Offer


def encode_frames(
    references: Sequence[FrameReference], locations: Sequence[str], offer: Offer, frames: Frames
) -> list[Part]:
    """One part for each frame; `locations` are the URLs of the same frames."""
    if len(references) == 1:
        body = frames.body(references[0], offer.form)
        return [Part(offer.content_type, locations[0], len(body), lambda: [body])]
    sizes = _sizes(references, offer.form, frames)
    bodies = frames.bodies(references, offer.form)
    return [
        Part(offer.content_type, location, size, lambda: [next(bodies)])
        for location, size in zip(locations, sizes, strict=True)
    ]


def all_frames(instance: LocatedInstance, offer: Offer, public_root: str, frames: Frames) -> list[Part]:
    """A part for each frame of an instance."""
    count = len(instance.prepared.frames)
    locations = [f"{public_root}{instance.path}/frames/{number}" for number in range(1, count + 1)]
    return encode_frames(instance.frames, locations, offer, frames)


def resolution_header(offer: Offer, beginning: bytes) -> Mapping[str, str]:
    """`Resolution-Ends`: how many bytes of an HTJ2K frame give each resolution, the smallest first; an extension.

    `beginning` is that of the frame, its main header at least. Empty where the levels do not follow one another.
    """
    if offer.form is not Form.STORED or offer.media_type != "image/jphc":
        return {}
    ends = ", ".join(str(end) for end in resolution_ends(beginning))
    return {"Resolution-Ends": ends} if ends else {}


def _sizes(references: Sequence[FrameReference], form: Form, frames: Frames) -> list[int]:
    """Native frames have the size that the metadata states; stored ones must be had to know."""
    pixels = references[0].pixels
    if form is Form.NATIVE and pixels:
        return [pixels.frame_bytes] * len(references)
    return frames.sizes(references, form)
