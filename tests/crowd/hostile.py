"""Hostile clients: raw requests that no viewer sends, and connections that end too early."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random

from tests.crowd.archive import Archive
from tests.crowd.client import STOP_SECONDS

_HOST = b"Host: 127.0.0.1\r\n"
_CLEAN = (501, 503, 505)
"""What may be answered beyond 4xx; 503 only with Retry-After."""

_UNDECODABLE = b"a stored frame cannot be decoded"
"""Told with 502 of a sample that is broken on purpose."""

_STALLS_SECONDS = 0.5
_ATTRIBUTES = (
    "PatientName",
    "PatientID",
    "StudyDate",
    "StudyDescription",
    "ModalitiesInStudy",
    "AccessionNumber",
    "00080090",
)
_MORE = ("PatientSex", "PatientBirthDate", "Manufacturer", "BodyPartExamined", "0020000E", "00081030", "StudyID")


class Hostile:
    """Ill requests to the service on a port of loopback, chosen at random."""

    def __init__(self, port: int, archive: Archive, random: Random) -> None:
        self._port = port
        self._archive = archive
        self._random = random
        self._ways: tuple[Callable[[], str | None], ...] = (self._search, self._head, self._object) * 3 + (
            self._leave,
            self._stall,
            self._pipeline,
        )

    def misbehave(self) -> str | None:
        """Do one ill thing; what is wrong with how the service took it, None if nothing is."""
        try:
            return self._random.choice(self._ways)()
        except TimeoutError:
            return f"nothing came for {STOP_SECONDS:g} seconds"
        except OSError:  # it may close the connection
            return None

    def _search(self) -> str | None:
        """Searches that are long, or of a shape that no other one has."""
        random = self._random
        words = [f"{random.randrange(10**6)}" for _ in range(random.choice((3, 100, 1500)))]
        some = random.sample((*_ATTRIBUTES, *_MORE), 6)
        query = random.choice(
            (
                "&".join(f"PatientName=*{word}*" for word in words),
                "StudyInstanceUID=" + ",".join(f"1.2.{word}" for word in words),
                "&".join(f"{name}={word}" for name, word in zip(some, words, strict=False)),
                "&".join(f"{name}=*{word}?" for name, word in zip(some, words, strict=False)) + "&fuzzymatching=true",
                "includefield=" + ",".join(f"0008{random.randrange(16**4):04X}" for _ in words),
                "orderby=" + ",".join(random.sample(some, 4)),
                f"limit={'9' * random.choice((1, 20, 30_000))}",
                f"offset={'9' * random.choice((5, 19, 20_000))}",
                "includefield=all&limit=200",
                "PatientName=" + "%E2%82%AC%00%F0%9F%A9%BB" * len(words),
            )
        )
        return self._sent(self._get(f"/{random.choice(('patients', 'studies', 'series', 'instances'))}?{query}"))

    def _head(self) -> str | None:
        """Heads that are costly to parse, or that two servers would understand differently."""
        size = self._random.choice((10, 1000, 30_000))
        get = b"GET /aetitle/studies?limit=1 HTTP/1.1\r\n" + _HOST
        heads = (
            get + b"X-Blank:" + b" " * size + b"x\r\n\r\n",
            get + b'Accept: "' + b'\\"' * (size // 2) + b"\r\n\r\n",
            get + b"Accept: " + b"a/b;q=0.1," * (size // 10) + b"\r\n\r\n",
            get + b"Range: bytes=" + b"0-1," * (size // 4) + b"\r\n\r\n",
            get + b"If-None-Match: " + b'"a",' * (size // 4) + b"\r\n\r\n",
            get + b"X-Forwarded-For: " + b"1.2.3.4," * (size // 8) + b"\r\n\r\n",
            get + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
            get + b"Expect: 100-continue\r\n\r\n",
            b"GET /aetitle/live HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST /aetitle/prefetch HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"get /aetitle/live HTTP/1.1\r\n" + _HOST + b"\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00" + bytes(size),
            b"GET " + b"/" * size + b" HTTP/1.1\r\n" + _HOST + b"\r\n",
            b"GET /aetitle/studies\0 HTTP/1.1\r\n" + _HOST + b"\r\n",
            self._random.randbytes(size) + b"\r\n\r\n",
        )
        return self._sent(self._random.choice(heads))

    def _object(self) -> str | None:
        """Objects that are not there, and parameters that mean nothing."""
        study, series, instance = self._random.choice(self._archive.instances)
        path = f"/studies/{study}/series/{series}/instances/{instance}"
        number = self._random.randrange(-3, 10**6)
        paths = (
            f"/studies/1.2.{number}/metadata",
            f"/studies/{study}/series/1.2.{number}/rendered",
            f"{path}/frames/{number}",
            f"{path}/frames/{','.join(map(str, range(1, 2000)))}",
            f"{path}/rendered?window={number},{number},linear&viewport={number},{-number}",
            f"{path}/rendered?viewport={number % 3000},2000",
            f"{path}/rendered?window={number % 5000},{1 + number % 3000},linear",
            f"{path}/bulkdata/{number:08X}",
            f"/studies/{'9' * 70}/metadata",
            f"/studies/../../{number}",
            f"/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}&rows={number}",
        )
        if self._random.random() < 0.1:
            body = self._random.choice((b"[" * 20_000, json.dumps({"studies": [f"1.{number}"] * 900}).encode(), b"{"))
            head = (
                f"POST /aetitle/prefetch HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            )
            return self._sent(head.encode() + _HOST + b"\r\n" + body)
        return self._sent(self._get(self._random.choice(paths)))

    def _leave(self) -> str | None:
        """A connection that ends in the middle of a request, or of an answer."""
        whole = self._get(self._long_path())
        with self._connected() as connection:
            connection.sendall(whole[: self._random.choice((1, 20, len(whole) - 1, len(whole)))])
            if self._random.random() < 0.5:
                connection.settimeout(_STALLS_SECONDS)
                with suppress(TimeoutError):
                    connection.recv(1000)
        return None

    def _stall(self) -> str | None:
        """A client that takes nothing of a long answer for a while, and goes."""
        with self._connected(receive_bytes=4096) as connection:
            connection.sendall(self._get(self._long_path()))
            time.sleep(_STALLS_SECONDS)
        return None

    def _pipeline(self) -> str | None:
        """Many requests before the first answer."""
        return self._sent(self._get("/studies?limit=1") * self._random.choice((2, 20)))

    def _long_path(self) -> str:
        study, series, instance = self._random.choice(self._archive.instances)
        return self._random.choice(
            (
                f"/studies/{study}",
                f"/studies/{study}/series/{series}/instances/{instance}/frames/1",
                "/instances?includefield=all",
            )
        )

    @staticmethod
    def _get(path: str) -> bytes:
        return f"GET /aetitle{path} HTTP/1.1\r\nAccept: */*\r\n".encode() + _HOST + b"\r\n"

    def _connected(self, receive_bytes: int | None = None) -> socket.socket:
        made = socket.socket()
        if receive_bytes:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        made.settimeout(STOP_SECONDS)
        made.connect(("127.0.0.1", self._port))
        return made

    def _sent(self, request: bytes) -> str | None:
        """Send bytes and look at the first answer; the connection is closed before its body has come."""
        with self._connected() as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            head = b"".join(_until_blank_line(connection))
            if head.startswith(b"HTTP/1.1 502 ") and _UNDECODABLE in head + connection.recv(4096):
                return None
        if not head.startswith(b"HTTP/1."):
            return f"an answer that is none: {head[:100]!r}" if head else None
        status = int(head.split(None, 2)[1])
        refused = status == 503 and b"\r\nretry-after:" in head.lower()
        wrong = status >= 500 and not refused and (status == 503 or status not in _CLEAN)
        return f"{status} for {request[:300]!r}" if wrong else None


def _until_blank_line(connection: socket.socket) -> Iterator[bytes]:
    received = b""
    while b"\r\n\r\n" not in received and len(received) < 2**16:
        more = connection.recv(4096)
        if not more:
            return
        yield more
        received += more
