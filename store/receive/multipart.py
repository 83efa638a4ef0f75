"""Parser for multipart/related (RFC 2046 Section 5.1.1): the parts as ranges of a file.

It takes what clients send: boundaries of more than 70 characters, lines that end with LF, a preamble, anything after
the closing boundary, no line end there. Each byte is examined a fixed number of times.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from dicomweb.errors import BadRequest, ContentTooLarge
from store.receive.content_type import ContentType
from store.receive.file_bytes import FileBytes

MAX_PARTS = 10_000
_LONGEST_BOUNDARY = 256
_HEAD_BYTES = 16 * 2**10
_PADDING_BYTES = 64  # blanks between a boundary and the end of its line
_LONGEST_LENGTH = 15  # digits of Content-Length
_AFTER_END = b" \t\r\n\0"
_KEPT = frozenset(
    {"content-type", "content-length", "content-location", "content-transfer-encoding", "content-disposition"}
)
_KEPT_BYTES = 8 * 2**20  # of the values of all these headers
_MOST_CHANCES = 10_000


@dataclass(frozen=True)
class BodyPart:
    """One part: its content from `start` to before `stop`, and those headers that are used.

    Their names are in lower case.
    """

    start: int
    stop: int
    headers: Mapping[str, str]

    @property
    def content_type(self) -> ContentType:
        """Its Content-Type."""
        return ContentType.from_header(self.headers.get("content-type", ""))


@dataclass
class _Boundary:
    """What is searched for. `chances` is the number of times at which its text may still be part of the content."""

    text: bytes
    chances: int = _MOST_CHANCES


@dataclass(frozen=True)
class _Delimiter:
    """A line with the boundary: where the content before it ends, and where the next head begins."""

    content_stop: int
    head_start: int
    closes: bool


def parse_boundary(content_type: ContentType) -> bytes:
    """The boundary of a multipart body; BadRequest if it has none, or one that cannot be."""
    boundary = content_type.parameters.get("boundary", "")
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii() or not boundary.isprintable():
        raise BadRequest(f"Content-Type has no boundary of 1 to {_LONGEST_BOUNDARY} characters")
    return boundary.encode()


def parse_parts(body: FileBytes, boundary: bytes) -> list[BodyPart]:
    """The parts of a body, at least one.

    BadRequest if it is not multipart with this boundary, or does not end. ContentTooLarge for more than MAX_PARTS, or
    for headers that are too long.
    """
    parts: list[BodyPart] = []
    kept_bytes = 0
    for part in islice(_parts(body, _Boundary(b"\n--" + boundary)), MAX_PARTS + 1):
        parts.append(part)
        kept_bytes += sum(map(len, part.headers.values()))
        if kept_bytes > _KEPT_BYTES:
            raise ContentTooLarge("the headers of the parts are too long: send fewer instances in one request")
    if not parts:
        raise BadRequest("the body has no parts")
    if len(parts) > MAX_PARTS:
        raise ContentTooLarge(f"the body has more than {MAX_PARTS} parts: send them in several requests")
    return parts


def _parts(body: FileBytes, boundary: _Boundary) -> Iterator[BodyPart]:
    delimiter = _first(body, boundary)
    while not delimiter.closes:
        headers, start = _head(body, delimiter.head_start)
        following = _as_announced(body, boundary.text, headers, start) or _next(body, boundary, start - 1)
        yield BodyPart(start, max(start, following.content_stop), headers)
        delimiter = following


def _first(body: FileBytes, boundary: _Boundary) -> _Delimiter:
    """The first boundary. At the beginning of a body it has no line end before it."""
    text = boundary.text
    at_start = body.read(0, len(text) - 1) == text[1:]
    found = _delimiter(body, text, -1) if at_start else None
    return found or _next(body, boundary, 0)


def _next(body: FileBytes, boundary: _Boundary, start: int) -> _Delimiter:
    while (at := body.find(boundary.text, max(0, start))) >= 0:
        if found := _delimiter(body, boundary.text, at):
            return found
        boundary.chances -= 1
        if boundary.chances < 0:
            raise BadRequest("the boundary that Content-Type names is in the content of parts, too")
        start = at + 1
    raise BadRequest("the body does not end with the boundary that Content-Type names")


def _delimiter(body: FileBytes, text: bytes, at: int) -> _Delimiter | None:
    """The delimiter whose LF is at this position; None if the line goes on with other text."""
    stop = at + len(text)
    after = body.read(stop, _PADDING_BYTES)
    before = body.read(at - 1, 1) if at > 0 else b""
    content_stop = at - 1 if before == b"\r" else at
    if after.startswith(b"--") and after[2:3] in _AFTER_END:  # also if nothing follows
        return _Delimiter(content_stop, stop, closes=True)
    padding, line_end, _ = after.partition(b"\n")
    if line_end and not padding.removesuffix(b"\r").strip(b" \t"):
        return _Delimiter(content_stop, stop + len(padding) + 1, closes=False)
    return None


def _as_announced(body: FileBytes, text: bytes, headers: Mapping[str, str], start: int) -> _Delimiter | None:
    """The delimiter after as many bytes as Content-Length says, if there is one: the content need not be searched."""
    announced = headers.get("content-length", "")
    if not (announced.isascii() and announced.isdigit() and len(announced) <= _LONGEST_LENGTH):
        return None
    stop = start + int(announced)
    for line_end in (b"\r\n", b"\n"):
        if stop < body.length_bytes and body.read(stop, len(line_end) + len(text) - 1) == line_end + text[1:]:
            found = _delimiter(body, text, stop + len(line_end) - 1)
            return found and replace(found, content_stop=stop)
    return None


def _head(body: FileBytes, start: int) -> tuple[dict[str, str], int]:
    """The headers of a part, and where its content starts."""
    headers: dict[str, str] = {}
    block, at = body.read(start, _HEAD_BYTES), 0
    while (stop := block.find(b"\n", at)) >= 0:
        line = block[at:stop].removesuffix(b"\r")
        at = stop + 1
        if not line:
            return headers, start + at
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise BadRequest("a part of the body has a header without a colon, or no empty line after its headers")
        if (known := name.strip().lower()) in _KEPT:
            headers.setdefault(known, value.strip())
    raise BadRequest(f"a part of the body has no end of its headers within {_HEAD_BYTES} bytes")
