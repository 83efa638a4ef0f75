"""The head of a store request: what is refused before the body is read, and how the body is to be read."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from dicomweb.errors import BadRequest, LengthRequired, UnsupportedMediaType
from dicomweb.media_types import DICOM
from store.outcome import Outcome
from store.receive.assembly import PARSERS, MetadataAndBulk
from store.receive.body import ReceivedBody, too_large
from store.receive.content_type import ContentType
from store.receive.instances import Range
from store.receive.multipart import parse_boundary, parse_parts

MULTIPART = "multipart/related"
BODY_TYPES = (f'{MULTIPART}; type="{DICOM}"', DICOM, *(f'{MULTIPART}; type="{name}"' for name in PARSERS))
"""The media types of bodies, as a client writes them."""

_PATH = re.compile(r"/studies/*(?:[^/]+/*)?\Z")
_ENCODINGS = ("", "identity")
_TRANSFER_ENCODINGS = ("", "binary", "8bit", "7bit")


def is_store_request(method: str, path: str) -> bool:
    """Whether a request stores instances, below any root: its body is read by the application, however long it is."""
    return method == "POST" and _PATH.search(path) is not None


class BodyKind(Protocol):
    """The form of a body."""

    def files(self, body: ReceivedBody) -> Iterator[Range | Outcome]:
        """The ranges of the DICOM files in it, and outcomes of instances of which there is no file."""


@dataclass(frozen=True)
class SingleFile:
    """One DICOM file is the whole body."""

    def files(self, body: ReceivedBody) -> Iterator[Range | Outcome]:
        """The whole body."""
        yield 0, body.length_bytes


@dataclass(frozen=True)
class Files:
    """A DICOM file in each part."""

    boundary: bytes

    def files(self, body: ReceivedBody) -> Iterator[Range | Outcome]:
        """The content of each part; BadRequest if the body is no multipart, or has a part in a coding."""
        for part in parse_parts(body.content, self.boundary):
            if part.headers.get("content-transfer-encoding", "").lower() not in _TRANSFER_ENCODINGS:
                raise BadRequest("a part has a Content-Transfer-Encoding: send the bytes of files as they are")
            yield part.start, part.stop


def check_head(headers: Mapping[str, str], max_bytes: int) -> BodyKind:
    """The form of the body that these headers announce.

    UnsupportedMediaType, LengthRequired, ContentTooLarge for more than `max_bytes`, BadRequest without a boundary, or
    for an empty body.
    """
    kind = _kind(headers)
    check_length(headers, max_bytes)
    return kind


def check_length(headers: Mapping[str, str], max_bytes: int) -> None:
    """LengthRequired, BadRequest for an empty body, ContentTooLarge for one of more than `max_bytes`."""
    if "chunked" not in headers.get("Transfer-Encoding", "").lower():
        if "Content-Length" not in headers:
            raise LengthRequired("the request has neither Content-Length nor a chunked body")
        length_bytes = announced_length(headers)
        if not length_bytes:
            raise BadRequest("the body is empty, so nothing was stored")
        if length_bytes > max_bytes:
            raise too_large(max_bytes)


def announced_length(headers: Mapping[str, str]) -> int:
    """The Content-Length; 0 without one."""
    text = headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _kind(headers: Mapping[str, str]) -> BodyKind:
    if headers.get("Content-Encoding", "").strip().lower() not in _ENCODINGS:
        raise UnsupportedMediaType("the body has a Content-Encoding: send it as it is")
    content_type = ContentType.from_header(headers.get("Content-Type", ""))
    if content_type.media_type == DICOM:
        return SingleFile()
    if content_type.media_type == MULTIPART and content_type.part_type in ("", DICOM):
        return Files(parse_boundary(content_type))
    if content_type.media_type == MULTIPART and content_type.part_type in PARSERS:
        syntax = content_type.parameters.get("transfer-syntax", "")
        return MetadataAndBulk(parse_boundary(content_type), content_type.part_type, syntax)
    raise UnsupportedMediaType(f"the body is of another type than {' or '.join(BODY_TYPES)}")
