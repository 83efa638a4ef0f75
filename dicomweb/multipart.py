"""Encoder for multipart/related (PS3.18 Section 8.6.1.2): the length and the framing of the body, lazily."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from runtime.file_piece import Chunk


@dataclass(frozen=True)
class Part:
    """One part. "" means no `content_location`, or a whole part for `content_range`.

    The bytes are made lazily; their number is known before.
    """

    content_type: str
    content_location: str
    length_bytes: int
    chunks: Callable[[], Iterable[Chunk]]
    content_range: str = ""

    @property
    def head(self) -> bytes:
        """The header block. Some clients expect `Content-Type:` in its first line, in this case."""
        fields = {
            "Content-Type": self.content_type,
            "Content-Length": self.length_bytes,
            "Content-Range": self.content_range,
            "Content-Location": self.content_location,
        }
        return "".join([*(f"{name}: {value}\r\n" for name, value in fields.items() if value != ""), "\r\n"]).encode()


@lru_cache(64)
def boundary_of(tag: str) -> str:
    """The boundary for an entity tag: equal tags mean equal bytes, boundaries included.

    It is long because viewers search the whole body for it. Stored bytes cannot contain it on purpose: the tag depends
    on identifiers that AHI assigns after the bytes exist.
    """
    return f"dicomweb-{hashlib.sha256(tag.encode()).hexdigest()[:48]}"


def multipart_type(part_type: str, tag: str) -> str:
    """The Content-Type of the multipart answer with this entity tag."""
    return f'multipart/related; type="{part_type}"; boundary={boundary_of(tag)}'


def encode_multipart(parts: Iterable[Part], boundary: str) -> Iterator[Chunk]:
    """Encode the body, from the first boundary to the closing one, without a preamble, on which some clients fail.

    The head of a part comes after its first bytes are made, so that an earlier error can still become a status.
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
    """The number of bytes that `encode_multipart` gives for the same arguments."""
    delimiter = len(boundary) + 6  # CRLF -- boundary CRLF; the first lacks its CRLF, the last has another --
    count = length_bytes = 0
    for part in parts:
        count += 1
        length_bytes += len(part.head) + part.length_bytes
    return (count + 1) * delimiter + (0 if count else 2) + length_bytes
