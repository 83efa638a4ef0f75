"""All bulk values of a target as parts (PS3.18 Section 10.4.1.1.4), each labelled with what it is."""

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
"""How pixel data of a kind is sent, and how values of a natural media type are; None is that of mere bytes."""


@dataclass(frozen=True)
class SentValue:
    """One value that is no pixel data, and what it is sent as."""

    instance: LocatedInstance
    value: BulkValue
    offer: Offer
    form = FrameEncoding.NATIVE
    frame_numbers: Sequence[int] = ()

    @property
    def path(self) -> str:
        """Its path below the service root."""
        return f"{self.instance.path}/bulkdata/{self.value.path}"

    def part(self, public_root: str) -> Part:
        """Its part; the bytes are read when their turn comes."""
        where = self.value.where
        block = self.instance.image_set.block
        return Part(self.offer.content_type, public_root + self.path, where[1], lambda: [block(where)])


Sent = SentFrame | SentValue


def agree_on_bulk(located: Sequence[LocatedInstance], accept: Accept) -> Offers:
    """An offer for all there is; NotAcceptable where no image, or without images no value, can be had as asked.

    A client that names a type for pixels, `image/jphc` say, gets other values as octet-stream.
    """
    kinds = dict.fromkeys(InstanceKind.of(one.prepared) for one in located if one.prepared.frames)
    types = dict.fromkeys(value.media_type for one in located for value in one.prepared.bulk)
    pixels = agree({kind: kind.frames for kind in kinds}, accept, single=False)
    offers: dict[InstanceKind | str | None, Offer] = {kind: chosen.offer for kind, chosen in pixels.items()}
    for media_type in types:
        possible = bulk_offers(media_type)
        found = accept.find(possible, single=False)
        if found is None and not kinds:
            accept.choose(possible, single=False)
        offers[media_type] = found.offer if found else possible[-1]
    return offers


def all_bulk(located: Sequence[LocatedInstance], offers: Offers) -> list[Sent]:
    """All values, instance by instance, and its frames behind them."""
    sent: list[Sent] = []
    for one in located:
        sent += (SentValue(one, value, offers[value.media_type]) for value in one.prepared.bulk)
        if one.prepared.frames:
            sent += frames_of([(one, offers[InstanceKind.of(one.prepared)])])
    return sent


def stored_bulk(accept: Accept) -> Callable[[Sent], Sent | None]:
    """Gives a frame as stored, if the client takes that."""
    frame = stored_frame(accept, multipart=True)
    return lambda one: frame(one) if isinstance(one, SentFrame) else None


def plan_bulk(sent: Sequence[Sent], public_root: str, frames: Frames) -> Callable[[Sent], Part] | None:
    """Gives the part of a value or frame without its bytes, if the sizes of all are known."""
    planned = plan_frames([one for one in sent if isinstance(one, SentFrame)], public_root, frames)
    if planned is None:
        return None
    return lambda one: one.part(public_root) if isinstance(one, SentValue) else planned(one)


def part_of_bulk(one: Sent, public_root: str, frames: Iterator[Chunk]) -> Part:
    """The part of a value, or of a frame with its bytes."""
    return one.part(public_root) if isinstance(one, SentValue) else part_of(one, public_root, next(frames))
