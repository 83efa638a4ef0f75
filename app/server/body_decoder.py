"""Where the body of a request ends, by its length or by its chunks (RFC 9112 Sections 6 and 7.1). No I/O.

A decoder goes once over each byte, however the bytes are cut into pieces and chunks.
"""

import re
from typing import Protocol

from dicomweb.errors import BadRequest

_LONGEST_LINE = 1024  # bytes that begin a chunk, or of one trailer
_LONGEST_TRAILERS = 8192
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n\Z")
_TRAILER = re.compile(rb"[\t -~\x80-\xff]*\r\n\Z")
_LINE_END = b"\r\n"


class BodyDecoder(Protocol):
    """Tells the bytes of a body from those around it."""

    @property
    def ended(self) -> bool:
        """Whether the last byte of the body has come in."""

    @property
    def excess(self) -> bytes:
        """The bytes that came in after the end."""

    def wanted(self, most_bytes: int) -> int:
        """The number of bytes to receive next, `most_bytes` at most."""

    def decode(self, data: bytes) -> bytes:
        """The bytes of the body among those received; BadRequest if they are no body."""


class LengthDecoder:
    """A body of a known length."""

    def __init__(self, length_bytes: int) -> None:
        self._left_bytes = length_bytes
        self.excess = b""

    @property
    def ended(self) -> bool:
        """Whether all of it has come in."""
        return not self._left_bytes

    def wanted(self, most_bytes: int) -> int:
        """No byte after the end is wanted."""
        return min(most_bytes, self._left_bytes)

    def decode(self, data: bytes) -> bytes:
        """The bytes up to the end of the body."""
        body, self.excess = data[: self._left_bytes], data[self._left_bytes :]
        self._left_bytes -= len(body)
        return body


class ChunkedDecoder:
    """A body in chunks. Extensions and trailers are dropped."""

    def __init__(self) -> None:
        self._line = b""
        self._left_bytes = 0  # of the current chunk
        self._take_line = self._begin_chunk
        self._trailer_bytes = 0
        self.ended = False
        self.excess = b""

    def wanted(self, most_bytes: int) -> int:
        """As many as there are: the end is not known."""
        return most_bytes

    def decode(self, data: bytes) -> bytes:
        """The content of the chunks in these bytes."""
        pieces, at = [], 0
        while at < len(data) and not self.ended:
            if self._left_bytes:
                piece = data[at : at + self._left_bytes]
                pieces.append(piece)
                self._left_bytes -= len(piece)
            else:
                piece = self._add_to_line(data, at)
            at += len(piece)
        self.excess = data[at:]
        return b"".join(pieces)

    def _add_to_line(self, data: bytes, at: int) -> bytes:
        """Add bytes to the current line, and take it once it is whole; the bytes that were added."""
        stop = data.find(b"\n", at, at + _LONGEST_LINE) + 1
        piece = data[at : stop or at + _LONGEST_LINE]
        self._line += piece
        if len(self._line) > _LONGEST_LINE:
            raise BadRequest("a chunk of the body begins with too long a line, or too long a trailer follows")
        if stop:
            line, self._line = self._line, b""
            self._take_line(line)
        return piece

    def _begin_chunk(self, line: bytes) -> None:
        found = _SIZE.match(line)
        if not found:
            raise BadRequest("the body is not in chunks")
        self._left_bytes = int(found[1], 16)
        self._take_line = self._end_chunk if self._left_bytes else self._drop_trailer

    def _end_chunk(self, line: bytes) -> None:
        if line != _LINE_END:
            raise BadRequest("a chunk of the body is longer than it says")
        self._take_line = self._begin_chunk

    def _drop_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if not _TRAILER.match(line) or self._trailer_bytes > _LONGEST_TRAILERS:
            raise BadRequest("the trailers of the body are malformed or too long")
        self.ended = line == _LINE_END
