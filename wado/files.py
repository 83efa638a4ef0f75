"""The Part 10 objects of a target: agreed on one by one, and put into parts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from ahi.store import Frames
from dicomweb.file_piece import Chunk
from dicomweb.multipart import Part
from wado.locate import LocatedInstance
from wado.part10 import Part10
from wado.representation import DICOM, Accept, Chosen, Kind, agree


def agree_on_files(
    located: Sequence[LocatedInstance], accept: Accept, frames: Frames, *, single: bool
) -> tuple[list[Part10], Chosen]:
    """A file for each instance, and the choice that speaks for all; NotAcceptable as `agree` says."""
    kinds = [Kind.of(one.prepared) for one in located]
    choices = agree({kind: kind.files for kind in dict.fromkeys(kinds)}, accept, single=single)
    files = [Part10(one, choices[kind].offer, frames) for one, kind in zip(located, kinds, strict=True)]
    return files, next(iter(choices.values()))


def encode_parts(
    files: Sequence[Part10], public_root: str, fetch: Callable[[Part10], Iterator[Chunk]]
) -> Iterable[Part]:
    """A part for each file: a list where all sizes are known, else made one by one."""
    parts = (_part(file, public_root, fetch) for file in files)
    return list(parts) if all(file.sized for file in files) or len(files) == 1 else parts


def _part(file: Part10, public_root: str, fetch: Callable[[Part10], Iterator[Chunk]]) -> Part:
    location = public_root + file.instance.path
    content_type = replace(file.offer, media_type=DICOM).content_type
    return Part(content_type, location, file.length_bytes, lambda: file.chunks(fetch(file)))
