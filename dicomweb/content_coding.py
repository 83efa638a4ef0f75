"""Content codings: compression of answers for clients that accept it (RFC 9110 Sections 8.4.1 and 12.5.3)."""

import re
import zlib
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Protocol

from backports.zstd import ZstdCompressor

from dicomweb.negotiation import parse_quality

_ENTRY = re.compile(r"\s*([\w*.+-]+)\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?\Z", re.IGNORECASE | re.ASCII)
_SMALL_BYTES = 1024  # smaller bodies fit into one packet
_GZIP_LEVEL, _GZIP_FORMAT = 4, 31
_ZSTD_LEVEL = 3


class Coding(Enum):
    """A content coding, by its name in Content-Encoding; with equal quality, the first one is taken."""

    ZSTD = "zstd"
    GZIP = "gzip"
    IDENTITY = "identity"


def choose_coding(accept_encoding: str | None) -> Coding:
    """The coding that the client prefers; IDENTITY if it names none of ours.

    `*` stands for gzip, which all clients that send it can read.
    """
    quality = {"gzip": 0.0, "zstd": 0.0, "identity": 0.0}
    for name, value in sorted(_qualities(accept_encoding or "")):  # `*` before all names
        quality["gzip" if name == "*" else name] = value
    best = max(Coding, key=lambda coding: quality[coding.value])
    return best if quality[best.value] > 0 else Coding.IDENTITY


def _qualities(text: str) -> Iterator[tuple[str, float]]:
    """Names in lower case with their qualities; ill-formed entries are left out."""
    for entry in text.split(","):
        if found := _ENTRY.match(entry):
            try:
                yield found[1].lower().removeprefix("x-"), parse_quality(found[2] or "1")
            except ValueError:
                continue


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def compress(chunks: Iterable[bytes], coding: Coding) -> list[bytes]:
    """Compress the chunks; equal chunks give equal bytes."""
    if coding is Coding.IDENTITY:
        return list(chunks)
    compressor = _compressor(coding)
    return [piece for chunk in chunks if (piece := compressor.compress(chunk))] + [compressor.flush()]


def _compressor(coding: Coding) -> _Compressor:
    if coding is Coding.GZIP:
        return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    compressor: _Compressor = ZstdCompressor(_ZSTD_LEVEL)
    return compressor


def is_worth_compressing(length_bytes: int) -> bool:
    """Whether compression makes a body of this size arrive sooner."""
    return length_bytes >= _SMALL_BYTES
