"""Reading answers by what they say they are, with decoders that are not those of the service."""

import gzip
import json
from contextlib import closing
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from http.client import HTTPConnection, HTTPResponse
from io import BytesIO
from urllib.parse import urlsplit

import numpy as np
from backports import zstd
from openjpeg.utils import decode as openjpeg_decode
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from dicomweb.transfer_syntax import TRANSFER_SYNTAXES

J2K_START = b"\xff\x4f\xff\x51"
HIGH_THROUGHPUT = b"\xff\x50"  # the CAP marker segment, which HTJ2K has and JPEG 2000 part 1 does not


@dataclass(frozen=True)
class Part:
    """One part of an answer, or all of it: what it is labelled as, and its bytes."""

    content_type: str
    location: str | None
    body: bytes


@dataclass(frozen=True)
class Answer:
    """Status, headers and body as they came."""

    status: int
    headers: Message
    body: bytes

    @property
    def content_type(self) -> str:
        """With its parameters; empty without one."""
        return self.headers.get("Content-Type", "")

    @property
    def parts(self) -> list[Part]:
        """The parts of multipart/related; else one, which is the whole."""
        if not self.content_type.startswith("multipart/related"):
            return [Part(self.content_type, self.headers.get("Content-Location"), self.body)]
        return _parts(self.content_type, self.body)

    @property
    def epilogue(self) -> str:
        """What follows the parts of multipart/related."""
        boundary = _parameter(self.content_type, "boundary").encode()
        return self.body.partition(b"\r\n--" + boundary + b"--\r\n")[2].decode("ascii")

    @property
    def json(self) -> list[dict[str, dict[str, object]]]:
        """The data sets."""
        data_sets: list[dict[str, dict[str, object]]] = json.loads(self.body)
        return data_sets


def get(root: str, target: str, headers: dict[str, str], method: str = "GET") -> Answer:
    """Ask for `target` below the service root with these headers and no others: the request line goes out as it is."""
    address = urlsplit(root)
    with closing(HTTPConnection(address.netloc, timeout=60)) as connection:
        connection.putrequest(method, address.path + target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        with connection.getresponse() as response:
            body = _unpacked(response, headers.get("Accept-Encoding", ""))
            return Answer(response.status, response.headers, body)


def _unpacked(response: HTTPResponse, accept_encoding: str) -> bytes:
    """The body; it is only compressed for who asked for that."""
    body, coding = response.read(), response.headers.get("Content-Encoding")
    if coding is None:
        return body
    assert coding in accept_encoding
    return zstd.decompress(body) if coding == "zstd" else gzip.decompress(body)


def _parts(content_type: str, body: bytes) -> list[Part]:
    """As strict as the strictest reader: no preamble, CRLF everywhere, a type on the first line, a final boundary.

    What follows the final boundary is no part (RFC 2046 Section 5.1.1).
    """
    boundary = _parameter(content_type, "boundary").encode()
    assert body.startswith(b"--" + boundary + b"\r\n")
    parts_of_body, final, _ = body.partition(b"\r\n--" + boundary + b"--\r\n")
    assert final
    pieces = (b"\r\n" + parts_of_body).split(b"\r\n--" + boundary)[1:]
    parts = []
    for piece in pieces:
        head, _, payload = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        assert head.startswith(b"Content-Type: ")
        assert len(head) < 1000
        fields = BytesParser().parsebytes(head + b"\r\n\r\n", headersonly=True)
        assert int(fields["Content-Length"]) == len(payload)
        parts.append(Part(fields["Content-Type"], fields["Content-Location"], payload))
    return parts


def _parameter(content_type: str, name: str) -> str:
    message = Message()
    message["Content-Type"] = content_type
    return str(message.get_param(name))


def native(part: Part) -> bytes:
    """The pixels of a frame, decoded by its label alone: little endian and interleaved."""
    media_type, _, syntax = part.content_type.partition("; transfer-syntax=")
    assert TRANSFER_SYNTAXES[syntax].media_type == media_type
    if syntax == ExplicitVRLittleEndian:
        return part.body
    if media_type == "image/jpeg":
        return np.asarray(Image.open(BytesIO(part.body)).convert("RGB")).tobytes()
    assert media_type in ("image/jphc", "image/jp2")
    assert part.body.startswith(J2K_START)
    assert (HIGH_THROUGHPUT in part.body[:200]) == (media_type == "image/jphc")
    return np.ascontiguousarray(openjpeg_decode(part.body)).tobytes()
