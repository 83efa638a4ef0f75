"""Frames as parts, in the order of the request (PS3.18 Section 10.4.1.1.6). Runs in the web processes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ahi.codecs.resolutions import resolution_ends
from ahi.image_sets.frame_reference import FrameReference
from ahi.retrieval.frames import Frames
from dicomweb.multipart import Part
from dicomweb.negotiation import Accept, Offer
from dicomweb.transfer_syntax import FrameEncoding
from runtime.file_piece import Chunk
from wado.locate import LocatedInstance
from wado.representation import InstanceKind

WAITED_FOR = 16
"""Up to so many frames are all fetched before the head, which then has a length and names what is missing."""

_MOST_SIZED = 10_000
"""Up to so many frames have their sizes added up for a Content-Length; more would take memory."""


@dataclass(frozen=True, slots=True)
class SentFrame:
    """One frame, and the offer that it is sent as; `number` counts from 1."""

    instance: LocatedInstance
    number: int
    offer: Offer

    @property
    def reference(self) -> FrameReference:
        """The reference to fetch it by."""
        return self.instance.frame(self.number)

    @property
    def path(self) -> str:
        """The path below the service root."""
        return f"{self.instance.path}/frames/{self.number}"

    @property
    def form(self) -> FrameEncoding:
        """The encoding that it is sent in."""
        return self.offer.form

    @property
    def frame_numbers(self) -> Sequence[int]:
        """The number of the frame itself."""
        return (self.number,)


def frames_of(offered: Iterable[tuple[LocatedInstance, Offer]]) -> list[SentFrame]:
    """All frames of the instances, each with the offer of its instance."""
    return [
        SentFrame(instance, number, offer)
        for instance, offer in offered
        for number in range(1, len(instance.prepared.frames) + 1)
    ]


def stored_frame(accept: Accept, *, multipart: bool) -> Callable[[SentFrame], SentFrame | None]:
    """A function that gives a frame in its stored encoding, or None if the client does not take that."""

    def stored(sent: SentFrame) -> SentFrame | None:
        offers = InstanceKind.of(sent.instance.prepared).frames
        offer = accept.find_stored(offers, sent.offer.media_type, multipart=multipart)
        return replace(sent, offer=offer) if offer and sent.form is not FrameEncoding.STORED else None

    return stored


def plan_frames(sent: Sequence[SentFrame], public_root: str, frames: Frames) -> Callable[[SentFrame], Part] | None:
    """A function that gives the part of a frame without its bytes; None if not all sizes are known."""
    if len(sent) > _MOST_SIZED or any(_known_size(frame, frames) is None for frame in sent):
        return None
    return lambda frame: _part(frame, public_root, _known_size(frame, frames) or 0, [])


def part_of(frame: SentFrame, public_root: str, body: Chunk) -> Part:
    """The part of a frame, with its bytes."""
    return _part(frame, public_root, len(body), [body])


def _part(frame: SentFrame, public_root: str, length_bytes: int, bodies: Sequence[Chunk]) -> Part:
    return Part(frame.offer.content_type, public_root + frame.path, length_bytes, lambda: bodies)


def resolution_header(offer: Offer, beginning: bytes) -> Mapping[str, str]:
    """The header `Resolution-Ends`, an extension: the bytes of an HTJ2K frame that give each resolution.

    The smallest resolution comes first. `beginning` holds at least the main header of the frame. There is no header
    where the resolutions are not in order.
    """
    if offer.form is not FrameEncoding.STORED or offer.media_type != "image/jphc":
        return {}
    ends = ", ".join(str(end) for end in resolution_ends(beginning))
    return {"Resolution-Ends": ends} if ends else {}


def _known_size(frame: SentFrame, frames: Frames) -> int | None:
    """The size of a frame in bytes: by its metadata if it is native, else by its file in the cache, if there is one."""
    pixels = frame.instance.prepared.pixels
    native_bytes = pixels.frame_bytes if pixels and frame.form is FrameEncoding.NATIVE else None
    return native_bytes or frames.cached_size(frame.reference, frame.form)
