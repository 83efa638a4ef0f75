"""Part 10 files of a target: the choice for each, and their parts or archive. Runs in the web processes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from urllib.parse import quote

from ahi.retrieval.frames import Frames
from dicomweb.media_types import DICOM
from dicomweb.multipart import Part
from dicomweb.negotiation import Accept, ChosenOffer
from runtime.file_piece import Chunk
from wado.archive import encode_zip, entry_bytes, entry_name
from wado.delivery import Delivery
from wado.locate import LocatedInstance
from wado.part10 import Part10
from wado.representation import InstanceKind, agree

_MOST_NAMED = 5  # in a header


def agree_on_files(
    located: Sequence[LocatedInstance], accept: Accept, frames: Frames, *, single: bool
) -> tuple[list[Part10], ChosenOffer]:
    """A file for each instance, and the choice that stands for all; NotAcceptable as `agree`."""
    kinds = [InstanceKind.of(one.prepared) for one in located]
    choices = agree({kind: kind.files for kind in dict.fromkeys(kinds)}, accept, single=single)
    files = [Part10(one, choices[kind].offer, frames) for one, kind in zip(located, kinds, strict=True)]
    return files, next(iter(choices.values()))


def stored_file(accept: Accept, *, multipart: bool) -> Callable[[Part10], Part10 | None]:
    """A function that gives a file with its stored frames, or None if the client does not take that."""

    def stored(file: Part10) -> Part10 | None:
        offers = InstanceKind.of(file.instance.prepared).files
        offer = accept.find_stored(offers, file.offer.media_type, multipart=multipart)
        return replace(file, offer=offer) if offer else None

    return stored


def plan_parts(files: Sequence[Part10], public_root: str) -> Callable[[Part10], Part] | None:
    """A function that gives the part of a file without its bytes; None if not all sizes are known.

    The size of a single file is found out by fetching its frames.
    """
    if len(files) > 1 and not all(file.sized for file in files):
        return None
    return lambda file: part_of_file(public_root, file, iter(()))


def encode_file(delivery: Delivery[Part10]) -> Iterator[Chunk]:
    """The bytes of the only file of a delivery that has begun."""
    for outcome in delivery.outcomes():
        yield from outcome.item.chunks(outcome.frames)


def encode_archive(delivery: Delivery[Part10], length_bytes: int | None) -> Iterator[bytes]:
    """The bytes of the ZIP file of a delivery that has begun."""

    def size_of(file: Part10) -> int:
        return entry_bytes(entry_name(file), file.length_bytes)

    outcomes = delivery.outcomes(size_of if length_bytes is not None else None)
    return encode_zip(((outcome.item, outcome.frames) for outcome in outcomes), length_bytes, delivery.report)


def missing_pixel_data(files: Sequence[Part10]) -> list[str]:
    """Warning texts on files that should have pixel data and have none."""
    return _warnings([file.instance for file in files if file.lacks_pixels], len(files))


def missing_frames(located: Sequence[LocatedInstance]) -> list[str]:
    """Warning texts on instances that should have frames and have none."""
    return _warnings([one for one in located if one.prepared.lacks_frames], len(located))


def _warnings(without: Sequence[LocatedInstance], count: int) -> list[str]:
    if not without:
        return []
    named = ", ".join(quote(one.prepared.sop_instance_uid) for one in without[:_MOST_NAMED])
    more = " and others" if len(without) > _MOST_NAMED else ""
    return [f"{len(without)} of {count} without pixel data, which AWS HealthImaging does not have: {named}{more}"]


def part_of_file(public_root: str, file: Part10, frames: Iterator[Chunk]) -> Part:
    """The part of a file, with its frames."""
    location = public_root + file.instance.path
    content_type = replace(file.offer, media_type=DICOM).content_type
    return Part(content_type, location, file.length_bytes, lambda: file.chunks(frames))
