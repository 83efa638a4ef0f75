"""Multipart bodies are framed as clients need it, and their length is known beforehand."""

from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP
from typing import cast

import pytest

from dicomweb.multipart import Part, boundary_of, encode_multipart, multipart_length
from runtime.file_piece import FilePiece


def _part(*chunks: bytes) -> Part:
    return Part("image/jphc; transfer-syntax=1.2", "http://h/x", sum(map(len, chunks)), lambda: chunks)


def _joined(pieces: Iterator[bytes | FilePiece]) -> bytes:
    """A body of which no part is in a file."""
    return b"".join(cast(Iterator[bytes], pieces))


@pytest.mark.parametrize("count", [0, 1, 2, 17])
def test_the_length_is_that_of_the_body(count: int) -> None:
    parts, boundary = [_part(b"abc", b"", b"\r\n--") for _ in range(count)], boundary_of('"tag"')
    assert multipart_length(parts, boundary) == len(_joined(encode_multipart(parts, boundary)))


def test_another_parser_reads_the_parts_back() -> None:
    boundary = boundary_of('"tag"')
    body = _joined(encode_multipart([_part(b"one"), _part(b"t", b"wo")], boundary))
    head = f'Content-Type: multipart/related; boundary="{boundary}"\r\n\r\n'.encode()
    parts = list(BytesParser(policy=HTTP).parsebytes(head + body).iter_parts())
    assert [part.get_payload(decode=True) for part in parts] == [b"one", b"two"]
    assert {part["Content-Location"] for part in parts} == {"http://h/x"}


def test_nothing_precedes_the_first_boundary_and_content_type_is_the_first_header() -> None:
    body = _joined(encode_multipart([_part(b"x")], "B"))
    assert body.startswith(b"--B\r\nContent-Type: image/jphc; transfer-syntax=1.2\r\n")
    assert body.endswith(b"\r\nx\r\n--B--\r\n") or body.endswith(b"\r\n\r\nx\r\n--B--\r\n")
