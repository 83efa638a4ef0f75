"""Bytes on a socket that are no request, nearly one, or several: no error of ours, no traceback, and no end.

`RAW_REQUESTS=20000 pytest tests/service/test_raw_requests.py` sends more; `RAW_SEEDS=1,2,3` names other seeds.
"""

import os
import random
import re
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.service.process import Service

REQUESTS = int(os.environ.get("RAW_REQUESTS", "600"))
SEEDS = [int(seed) for seed in os.environ.get("RAW_SEEDS", "1,2,3").split(",")]
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")

TARGETS = (
    b"/aetitle/live",
    b"/aetitle/studies?limit=1",
    b"/aetitle/studies?PatientName=*&offset=2&limit=" + b"0" * 5000 + b"2",
    b"/aetitle/studies/1.2.3/metadata",
    b"/aetitle/studies/1.2.3/series/1.2.3/instances/1.2.3/frames/1",
    b"/aetitle/studies?StudyInstanceUID=" + b"1.2.840.113619.2.30.1," * 200,
    b"/aetitle?requestType=WADO&studyUID=1&seriesUID=1&objectUID=1",
    b"http://127.0.0.1/aetitle/live",
    b"/nowhere/%00%ff/..//x",
)
FIELDS = (
    b'Accept: multipart/related; type="application/dicom"; transfer-syntax=*',
    b'Accept: "' + b'\\"' * 300,
    b"Accept-Encoding: gzip;q=0.5, zstd;q=nan",
    b"Authorization: Bearer " + b"e30." * 40,
    b"Connection: close",
    b"Connection: keep-alive",
    b"Content-Type: application/json",
    b"Cookie: a=" + b'"\\' * 100,
    b"Expect: 100-continue",
    b"If-Match: " + b'"x", ' * 100,
    b"If-None-Match: *",
    b"Range: bytes=0-1,5-,-7",
    b"Forwarded: for=" + b'"[::1]";' * 50,
    b"X-Request-ID: " + b"\xff" * 20,
    b"X:" + b" " * 2000 + b"x",
)
BODIES = (
    (b"Content-Length: 2", b"{}"),
    (b"Content-Length: 0", b""),
    (b"Content-Length: 99999999999999999999", b""),
    (b"Content-Length: -1", b""),
    (b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked", b"zz\r\n"),
    (b"Transfer-Encoding: chunked", b"1;" + b"x" * 2000 + b"\r\n"),
    (b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"),
    (b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
)
ODD = (b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"\xff", b'"', b"%", b"HTTP/1.1", b"\x7f", b",;=")


def valid(draw: random.Random) -> bytes:
    """A request that is in order, or has a body or a field that is not."""
    method = draw.choice((b"GET",) * 6 + (b"HEAD", b"OPTIONS", b"POST", b"DELETE", b"TRACE"))
    target = b"/aetitle/prefetch" if method == b"POST" else draw.choice(TARGETS)
    fields = draw.sample(FIELDS, draw.randint(0, 4))
    framing, body = draw.choice(BODIES) if method == b"POST" or draw.random() < 0.1 else (b"", b"")
    version = draw.choice((b"HTTP/1.1",) * 5 + (b"HTTP/1.0",))
    lines = [b"%s %s %s" % (method, target, version), b"Host: 127.0.0.1", *fields, *filter(None, [framing])]
    return b"\r\n".join([*lines, b"", b""]) + body


def _insert(draw: random.Random, text: bytes) -> bytes:
    at = draw.randrange(len(text) + 1)
    return text[:at] + draw.choice(ODD) * draw.choice((1, 1, 1, 2, 500)) + text[at:]


def _remove(draw: random.Random, text: bytes) -> bytes:
    at = draw.randrange(len(text))
    return text[:at] + text[at + draw.choice((1, 1, 2, 20)) :]


def _flip(draw: random.Random, text: bytes) -> bytes:
    at = draw.randrange(len(text))
    return text[:at] + bytes([text[at] ^ 1 << draw.randrange(8)]) + text[at + 1 :]


def _repeat(draw: random.Random, text: bytes) -> bytes:
    lines = text.split(b"\r\n")
    line = draw.randrange(len(lines))
    return b"\r\n".join(lines[:line] + [lines[line]] * draw.choice((2, 3, 300)) + lines[line + 1 :])


def _cut(draw: random.Random, text: bytes) -> bytes:
    return text[: draw.randrange(len(text)) + 1]


MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (_insert, _remove, _flip, _repeat, _cut)


def sent(draw: random.Random) -> bytes:
    """One request or several in a row, most of them spoiled in some places."""
    text = b"".join(valid(draw) for _ in range(draw.choice((1, 1, 1, 2, 5))))
    for _ in range(draw.choice((0, 1, 1, 2, 4))):
        text = draw.choice(MUTATIONS)(draw, text or b"\r\n")
    return text


def pieces(draw: random.Random, text: bytes) -> Iterator[bytes]:
    """The same bytes, at once or bit by bit."""
    size = draw.choice((len(text), len(text), 1000, 7)) or 1
    size = max(size, len(text) // 50)
    yield from (text[at : at + size] for at in range(0, len(text), size))


def converse(port: int, draw: random.Random) -> bytes:
    """All that is answered; the client may leave in the middle of it, or of its own request."""
    text, leaves = sent(draw), draw.random() < 0.15
    answered = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        try:
            for piece in pieces(draw, text):
                connection.sendall(piece)
            if leaves:
                return b""
            connection.shutdown(socket.SHUT_WR)
            while received := connection.recv(2**16):
                answered += received
        except OSError:  # it was refused before it had all been sent
            pass
    return answered


@pytest.mark.parametrize("seed", SEEDS)
def test_no_bytes_make_an_error_of_ours(service: Service, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - to be repeated
    before, children = len(service.log), service.children()
    statuses: dict[int, int] = {}
    for number in range(REQUESTS // len(SEEDS)):
        state = draw.getstate()
        answered = converse(service.port, draw)
        for status in map(int, STATUS_LINE.findall(answered)):
            statuses[status] = statuses.get(status, 0) + 1
            assert status < 500 or status in (501, 505), f"seed {seed}, request {number}: {_again(state)!r}"
        assert not answered or STATUS_LINE.match(answered), f"seed {seed}, request {number}"
    assert service.status("/live") == 200
    assert service.children() == children
    assert "Traceback" not in service.log[before:]
    assert {200, 400, 404} <= statuses.keys(), statuses  # it does get through, and is refused


def _again(state: object) -> bytes:
    draw = random.Random()  # noqa: S311
    draw.setstate(state)  # type: ignore[arg-type]
    return sent(draw)
