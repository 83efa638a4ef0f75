"""Frames as parts (PS3.18 Section 10.4.1.1.6): in the order asked for, each labelled with what its bytes are."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ahi.codecs import resolution_ends
from ahi.jobs import Form, FrameReference
from ahi.store import Frames
from dicomweb.file_piece import Chunk
from dicomweb.multipart import Part
from wado.locate import LocatedInstance
from wado.representation import Offer

_WAITED_FOR = 16
"""Frames as stored that are all had before the first is sent, so that the answer can say how long it is."""

_MOST_SIZED = 10_000
"""Frames whose sizes are added up beforehand; for more it would cost memory."""


@dataclass(frozen=True, slots=True)
class SentFrame:
    """One frame, `number` from 1, and what it is sent as."""

    instance: LocatedInstance
    number: int
    offer: Offer

    @property
    def reference(self) -> FrameReference:
        """What is needed to fetch it."""
        return self.instance.frame(self.number)


def frames_of(offered: Iterable[tuple[LocatedInstance, Offer]]) -> list[SentFrame]:
    """All frames of the instances."""
    return [
        SentFrame(one, number, offer) for one, offer in offered for number in range(1, len(one.prepared.frames) + 1)
    ]


def encode_frames(sent: Sequence[SentFrame], public_root: str, frames: Frames) -> Sequence[Part] | Iterator[Part]:
    """One part for each frame: a sequence where all sizes are known, else made one by one as the frames come.

    Later frames are fetched while earlier ones are sent.
    """
    feeds = {form: frames.bodies(_references(sent, form), form) for form in {one.offer.form for one in sent}}
    sizes = _sizes(sent, frames)
    if sizes is None:
        return (part_of(one, public_root, next(feeds[one.offer.form])) for one in sent)
    return [_part(one, public_root, size, feeds[one.offer.form]) for one, size in zip(sent, sizes, strict=True)]


def part_of(one: SentFrame, public_root: str, body: Chunk) -> Part:
    """The part of a frame whose bytes are there."""
    return _part(one, public_root, len(body), [body])


def _part(one: SentFrame, public_root: str, length_bytes: int, bodies: Iterable[Chunk]) -> Part:
    """The part whose body is the next one of `bodies`."""
    location = f"{public_root}{one.instance.path}/frames/{one.number}"
    return Part(one.offer.content_type, location, length_bytes, lambda: [next(iter(bodies))])


def resolution_header(offer: Offer, beginning: bytes) -> Mapping[str, str]:
    """`Resolution-Ends`: how many bytes of an HTJ2K frame give each resolution, the smallest first; an extension.

    `beginning` is that of the frame, its main header at least. Empty where the levels do not follow one another.
    """
    if offer.form is not Form.STORED or offer.media_type != "image/jphc":
        return {}
    ends = ", ".join(str(end) for end in resolution_ends(beginning))
    return {"Resolution-Ends": ends} if ends else {}


def _references(sent: Sequence[SentFrame], form: Form) -> Iterator[FrameReference]:
    return (one.reference for one in sent if one.offer.form is form)


def _sizes(sent: Sequence[SentFrame], frames: Frames) -> list[int] | None:
    """How many bytes each frame has, unless it takes too long to know: a few are had for that."""
    if len(sent) > _MOST_SIZED:
        return None
    sizes = _known_sizes(sent, frames)
    if sizes is None and 1 < len(sent) <= _WAITED_FOR:
        for form in Form:
            frames.fetch(_references(sent, form), form)
        sizes = _known_sizes(sent, frames)
    return sizes


def _known_sizes(sent: Sequence[SentFrame], frames: Frames) -> list[int] | None:
    """The sizes if all are known: of native frames the metadata states it, others are in the cache."""
    sizes = []
    for one in sent:
        pixels = one.instance.prepared.pixels
        stated = pixels.frame_bytes if pixels and one.offer.form is Form.NATIVE else None
        size = stated or frames.known_size(one.reference, one.offer.form)
        if size is None:
            return None
        sizes.append(size)
    return sizes
