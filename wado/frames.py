"""Frames as parts (PS3.18 Section 10.4.1.1.6): in the order asked for, each labelled with what its bytes are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ahi.codecs.frames import resolution_ends
from ahi.image_sets.frame_reference import FrameReference
from ahi.retrieval.frames import Frames
from dicomweb.multipart import Part
from dicomweb.negotiation import Accept, Offer
from dicomweb.transfer_syntax import FrameEncoding
from runtime.file_piece import Chunk
from wado.locate import LocatedInstance
from wado.representation import InstanceKind

WAITED_FOR = 16
"""Frames that are all had before the first is sent, so that the answer can say how long it is, and what it lacks."""

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

    @property
    def path(self) -> str:
        """Its path below the service root."""
        return f"{self.instance.path}/frames/{self.number}"

    @property
    def form(self) -> FrameEncoding:
        """The form that it is sent in."""
        return self.offer.form

    @property
    def frame_numbers(self) -> Sequence[int]:
        """The frame itself."""
        return (self.number,)


def frames_of(offered: Iterable[tuple[LocatedInstance, Offer]]) -> list[SentFrame]:
    """All frames of the instances."""
    return [
        SentFrame(one, number, offer) for one, offer in offered for number in range(1, len(one.prepared.frames) + 1)
    ]


def stored_frame(accept: Accept, *, multipart: bool) -> Callable[[SentFrame], SentFrame | None]:
    """Gives a frame as stored, if it has such a form and the client takes that, in multipart or alone."""

    def stored(sent: SentFrame) -> SentFrame | None:
        offers = InstanceKind.of(sent.instance.prepared).frames
        taken = accept.find_stored(offers, sent.offer.media_type, multipart=multipart)
        return replace(sent, offer=taken) if taken and sent.form is not FrameEncoding.STORED else None

    return stored


def plan_frames(sent: Sequence[SentFrame], public_root: str, frames: Frames) -> Callable[[SentFrame], Part] | None:
    """Gives the part of a frame without its bytes, if the sizes of all are known."""
    if len(sent) > _MOST_SIZED or any(_known_size(one, frames) is None for one in sent):
        return None
    return lambda one: _part(one, public_root, _known_size(one, frames) or 0, [])


def part_of(one: SentFrame, public_root: str, body: Chunk) -> Part:
    """The part of a frame whose bytes are there."""
    return _part(one, public_root, len(body), [body])


def _part(one: SentFrame, public_root: str, length_bytes: int, bodies: Sequence[Chunk]) -> Part:
    return Part(one.offer.content_type, public_root + one.path, length_bytes, lambda: bodies)


def resolution_header(offer: Offer, beginning: bytes) -> Mapping[str, str]:
    """`Resolution-Ends`: how many bytes of an HTJ2K frame give each resolution, the smallest first; an extension.

    `beginning` is that of the frame, its main header at least. Empty where the levels do not follow one another.
    """
    if offer.form is not FrameEncoding.STORED or offer.media_type != "image/jphc":
        return {}
    ends = ", ".join(str(end) for end in resolution_ends(beginning))
    return {"Resolution-Ends": ends} if ends else {}


def _known_size(one: SentFrame, frames: Frames) -> int | None:
    """How many bytes a frame has, if that is known: of native ones the metadata states it, others are in the cache."""
    pixels = one.instance.prepared.pixels
    stated = pixels.frame_bytes if pixels and one.form is FrameEncoding.NATIVE else None
    return stated or frames.known_size(one.reference, one.form)
