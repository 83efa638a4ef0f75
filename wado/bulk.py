"""All bulk values of a target as parts (PS3.18 Section 10.4.1.1.4). Runs in the web processes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ahi.image_sets.prepared_reader import BulkValue
from ahi.retrieval.frames import Frames
from dicomweb.multipart import Part
from dicomweb.negotiation import Accept, Offer
from dicomweb.transfer_syntax import FrameEncoding
from runtime.file_piece import Chunk
from wado.frames import SentFrame, frames_of, part_of, plan_frames, stored_frame
from wado.locate import LocatedInstance
from wado.representation import InstanceKind, agree, bulk_offers

Offers = Mapping[InstanceKind | str | None, Offer]
"""The offer for pixel data by instance kind, and for other values by media type; None stands for plain bytes."""


@dataclass(frozen=True)
class SentValue:
    """One bulk value other than pixel data, and the offer that it is sent as."""

    instance: LocatedInstance
    value: BulkValue
    offer: Offer
    form = FrameEncoding.NATIVE
    frame_numbers: Sequence[int] = ()

    @property
    def path(self) -> str:
        """The path below the service root."""
        return f"{self.instance.path}/bulkdata/{self.value.path}"

    def part(self, public_root: str) -> Part:
        """Its part; the bytes are read only when they are sent."""
        where = self.value.where
        block = self.instance.image_set.block
        return Part(self.offer.content_type, public_root + self.path, where[1], lambda: [block(where)])


Sent = SentFrame | SentValue


def agree_on_bulk(located: Sequence[LocatedInstance], accept: Accept) -> Offers:
    """The offers for all values of the instances.

    A client that names a type for pixels, such as `image/jphc`, gets other values as octet-stream. NotAcceptable if it
    takes none of the images, or none of the values where there are no images.
    """
    kinds = dict.fromkeys(InstanceKind.of(instance.prepared) for instance in located if instance.prepared.frames)
    types = dict.fromkeys(value.media_type for instance in located for value in instance.prepared.bulk)
    pixels = agree({kind: kind.frames for kind in kinds}, accept, single=False)
    offers: dict[InstanceKind | str | None, Offer] = {kind: choice.offer for kind, choice in pixels.items()}
    for media_type in types:
        possible = bulk_offers(media_type)
        chosen = accept.find(possible, single=False)
        if chosen is None and not kinds:
            accept.choose(possible, single=False)
        offers[media_type] = chosen.offer if chosen else possible[-1]
    return offers


def all_bulk(located: Sequence[LocatedInstance], offers: Offers) -> list[Sent]:
    """All values, instance by instance; the frames of an instance follow its other values."""
    sent: list[Sent] = []
    for instance in located:
        sent += (SentValue(instance, value, offers[value.media_type]) for value in instance.prepared.bulk)
        if instance.prepared.frames:
            sent += frames_of([(instance, offers[InstanceKind.of(instance.prepared)])])
    return sent


def stored_bulk(accept: Accept) -> Callable[[Sent], Sent | None]:
    """A function that gives a frame in its stored encoding, or None if the client does not take that."""
    as_stored = stored_frame(accept, multipart=True)
    return lambda item: as_stored(item) if isinstance(item, SentFrame) else None


def plan_bulk(sent: Sequence[Sent], public_root: str, frames: Frames) -> Callable[[Sent], Part] | None:
    """A function that gives the part of a value or frame without its bytes; None if not all sizes are known."""
    planned = plan_frames([item for item in sent if isinstance(item, SentFrame)], public_root, frames)
    if planned is None:
        return None
    return lambda item: item.part(public_root) if isinstance(item, SentValue) else planned(item)


def part_of_bulk(item: Sent, public_root: str, frames: Iterator[Chunk]) -> Part:
    """The part of a value, or of a frame with its bytes."""
    return item.part(public_root) if isinstance(item, SentValue) else part_of(item, public_root, next(frames))
