"""Store requests that are spoiled, or end early: a clear answer, no error of ours, and nothing left behind."""

import os
import random
import re
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.service.storing import Storing, storing
from tests.store.dicom_files import content_type, file, multipart

REQUESTS = int(os.environ.get("STORE_REQUESTS", "150"))
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
_EXPECTED = {100, 200, 202, 400, 404, 405, 408, 409, 411, 413, 414, 415, 431, 501, 505}
_ODD = (
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"--",
    b"\xff",
    b'"',
    b";",
    b"%",
    b"DICM",
    b"\x02\0\x10\0",
    b"\xfe\xff\0\xe0",
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storing]:
    with storing(tmp_path_factory.mktemp("hostile")) as running:
        yield running


def spoiled(draw: random.Random, text: bytes) -> bytes:
    """The text with a change, or several."""
    for _ in range(draw.choice((0, 1, 1, 2, 5))):
        at = draw.randrange(len(text) + 1)
        text = draw.choice(
            (
                text[:at] + draw.choice(_ODD) * draw.choice((1, 1, 50)) + text[at:],
                text[:at] + text[at + draw.choice((1, 2, 30, 500)) :],
                text[:at],
                text[:at] + text[at : at + 200] * 3 + text[at:],
            )
        )
    return text


def request(draw: random.Random, number: int) -> bytes:
    files = [
        file(f"1.2.99.1.{number}.{part}", study="1.2.99", series="1.2.99.1") for part in range(draw.choice((1, 1, 3)))
    ]
    body = spoiled(draw, multipart([spoiled(draw, one) for one in files]))
    path = draw.choice(
        (b"/aetitle/studies", b"/aetitle/studies", b"/aetitle/studies/1.2.99", b"/aetitle/studies/1.2.98/")
    )
    kind = draw.choice(
        (content_type(), content_type(), "application/dicom", "multipart/related; boundary=-", "text/plain")
    )
    head = [b"POST %s HTTP/1.1" % path, b"Host: localhost", b"Content-Type: " + kind.encode()]
    if draw.random() < 0.3:
        head.append(b"Expect: 100-continue")
    if draw.random() < 0.5:
        size = draw.choice((len(body), len(body), len(body) - 7, len(body) + 100, 0))
        return b"\r\n".join([*head, b"Content-Length: %d" % max(0, size), b"", body])
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[at : at + 300]), body[at : at + 300]) for at in range(0, len(body), 300)
    )
    framed = chunks + b"0\r\n\r\n"
    return b"\r\n".join(
        [*head, b"Transfer-Encoding: chunked", b"", spoiled(draw, framed) if draw.random() < 0.3 else framed]
    )


def answered(port: int, sent: bytes) -> bytes:
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection, suppress(ConnectionError):
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(2**16):
            received += piece
    return received


def test_no_body_makes_an_error_of_ours(running: Storing) -> None:
    draw = random.Random(7)  # noqa: S311 - to be repeated
    statuses: dict[int, int] = {}
    children = running.service.children()
    for number in range(REQUESTS):
        for status in map(int, _STATUS.findall(answered(running.service.port, request(draw, number)))):
            statuses[status] = statuses.get(status, 0) + 1
    assert statuses.keys() <= _EXPECTED, statuses
    assert {200, 400, 409} <= statuses.keys(), statuses
    assert "Traceback" not in running.service.log and " ERROR " not in running.service.log
    assert running.service.children() == children
    running.service.wait(lambda: not [*running.spool.incoming.iterdir()] and not running.spool.names(), 60)
