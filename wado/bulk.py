"""All bulk values of a target as parts (PS3.18 Section 10.4.1.1.4), each labelled with what it is."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice

from ahi.prepared import BulkValue
from ahi.store import Frames
from dicomweb.multipart import Part
from wado.frames import encode_frames, frames_of
from wado.locate import LocatedInstance
from wado.representation import Accept, Kind, Offer, agree, bulk_offers

Offers = Mapping[Kind | str | None, Offer]
"""How pixel data of a kind is sent, and how values of a natural media type are; None is that of mere bytes."""


def agree_on_bulk(located: Sequence[LocatedInstance], accept: Accept) -> Offers:
    """An offer for all there is; NotAcceptable where no image, or without images no value, can be had as asked.

    A client that names a type for pixels, `image/jphc` say, gets other values as octet-stream.
    """
    kinds = dict.fromkeys(Kind.of(one.prepared) for one in located if one.prepared.frames)
    types = dict.fromkeys(value.media_type for one in located for value in one.prepared.bulk)
    pixels = agree({kind: kind.frames for kind in kinds}, accept, single=False)
    offers: dict[Kind | str | None, Offer] = {kind: chosen.offer for kind, chosen in pixels.items()}
    for media_type in types:
        possible = bulk_offers(media_type)
        found = accept.find(possible, single=False)
        if found is None and not kinds:
            accept.choose(possible, single=False)
        offers[media_type] = found.offer if found else possible[-1]
    return offers


def encode_bulk(
    located: Sequence[LocatedInstance], offers: Offers, root: str, frames: Frames
) -> Sequence[Part] | Iterator[Part]:
    """The parts, instance by instance: a sequence where all sizes are known, else made when their turn comes.

    `root` is the public one.
    """
    images = [(one, offers[Kind.of(one.prepared)]) for one in located if one.prepared.frames]
    pixels = encode_frames(frames_of(images), root, frames)
    of_frames = iter(pixels)
    parts = (
        part
        for one in located
        for part in chain(
            (_part(one, value, offers[value.media_type], root) for value in one.prepared.bulk),
            islice(of_frames, len(one.prepared.frames)),
        )
    )
    return list(parts) if isinstance(pixels, Sequence) else parts


def _part(instance: LocatedInstance, value: BulkValue, offer: Offer, root: str) -> Part:
    location = f"{root}{instance.path}/bulkdata/{value.path}"
    return Part(offer.content_type, location, value.where[1], partial(_chunks, instance, value))


def _chunks(instance: LocatedInstance, value: BulkValue) -> list[bytes]:
    return [instance.image_set.block(value.where)]
