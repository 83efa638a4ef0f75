"""multipart/related as PS3.18 Section 8.6.1.2 wants it: framing and length from one place, bytes as they come."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from runtime.file_piece import Chunk


@dataclass(frozen=True)
class Part:
    """One part; a `content_location` of "" is none, a `content_range` of "" that the part is whole.

    The bytes are made when their turn comes; how many there will be is known before.
    """

    content_type: str
    content_location: str
    length_bytes: int
    chunks: Callable[[], Iterable[Chunk]]
    content_range: str = ""

    @property
    def head(self) -> bytes:
        """The header block; clients find `Content-Type:` in its first line and expect it spelt like this."""
        fields = {
            "Content-Type": self.content_type,
            "Content-Length": self.length_bytes,
            "Content-Range": self.content_range,
            "Content-Location": self.content_location,
        }
        return "".join([*(f"{name}: {value}\r\n" for name, value in fields.items() if value != ""), "\r\n"]).encode()


@lru_cache(64)
def boundary_of(tag: str) -> str:
    """The boundary of the representation with this entity tag: equal tags promise equal bytes, boundaries included.

    It is long because viewers search the whole body for it. What is stored cannot hold it by design: the tag follows
    from identifiers that AHI gives when the bytes are there already.
    """
    return f"dicomweb-{hashlib.sha256(tag.encode()).hexdigest()[:48]}"


def multipart_type(part_type: str, tag: str) -> str:
    """The Content-Type of the multipart answer with this entity tag."""
    return f'multipart/related; type="{part_type}"; boundary={boundary_of(tag)}'


def encode_multipart(parts: Iterable[Part], boundary: str) -> Iterator[Chunk]:
    """The body, from the first boundary (no preamble: some clients fail on one) to the closing one.

    A part is announced when its first bytes are there, so that what fails before them can still become a status.
    """
    opening = b"--" + boundary.encode() + b"\r\n"
    for part in parts:
        chunks = iter(part.chunks())
        first: Chunk = next(chunks, b"")
        yield opening + part.head
        yield first
        yield from chunks
        opening = b"\r\n--" + boundary.encode() + b"\r\n"
    yield b"\r\n--" + boundary.encode() + b"--\r\n"


def multipart_length(parts: Iterable[Part], boundary: str) -> int:
    """The size in bytes of what `encode_multipart` gives for the same arguments."""
    delimiter = len(boundary) + 6  # CRLF -- boundary CRLF; the first lacks its CRLF, the last has another --
    count = length_bytes = 0
    for part in parts:
        count += 1
        length_bytes += len(part.head) + part.length_bytes
    return (count + 1) * delimiter + (0 if count else 2) + length_bytes
