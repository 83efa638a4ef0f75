"""Bodies that the application reads from the socket: of any size, in little memory, refused before they are sent."""

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.server.web_process import answer, connected, headers_of, is_closed, is_held_by_server, serving, status
from tests.waiting import wait_for

PIECE = bytes(range(256)) * 1024


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(tmp_path_factory.mktemp("server") / "log", patience_seconds=60.0) as port:
        yield port


def head(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode()


def described(body: bytes) -> bytes:
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()


def chunks(body: bytes, size: int) -> bytes:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 100, 8192, 1_000_000, 5_000_000])
def test_a_body_comes_as_it_was_sent_and_the_connection_lives_on(port: int, size: int) -> None:
    body = (PIECE * 20)[:size]
    with connected(port) as connection:
        for _ in range(2):
            connection.sendall(head("/taken", f"Content-Length: {size}") + body)
            assert answer(connection)[1].endswith(described(body))
            connection.sendall(head("/taken", "Transfer-Encoding: chunked") + chunks(body, 65_535))
            assert answer(connection)[1].endswith(described(body))


def test_a_body_that_trickles_in_is_whole(port: int) -> None:
    body = PIECE[:300]
    sent = head("/taken", "Transfer-Encoding: chunked") + chunks(body, 7)
    with connected(port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(sent), 5):
            connection.sendall(sent[at : at + 5])
        assert answer(connection)[1].endswith(described(body))


def test_a_client_that_expects_it_is_invited_once(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(head("/taken", f"Content-Length: {len(PIECE)}", "Expect: 100-continue"))
        invitation = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert connection.recv(100) == invitation
        connection.sendall(PIECE)
        code, text = answer(connection)
        assert code == 200 and text.endswith(described(PIECE)) and b"100" not in text.partition(b"\r\n")[0]


def test_a_refused_client_is_not_invited(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(head("/untaken", "Content-Length: 999999999999", "Expect: 100-continue"))
        code, text = answer(connection)
        assert code == 403 and headers_of(text)["connection"] == "close"
        assert is_closed(connection)


def test_a_client_that_goes_on_sending_can_read_its_refusal(port: int) -> None:
    """Without the bytes being taken, the kernel resets the connection, and the answer is lost."""
    with connected(port) as connection:
        connection.sendall(head("/untaken", f"Content-Length: {100 * len(PIECE)}"))
        for _ in range(100):
            connection.sendall(PIECE)
        assert answer(connection)[0] == 403
        connection.shutdown(socket.SHUT_WR)
        assert is_closed(connection)


def test_a_refused_client_that_never_ends_is_let_go(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(head("/untaken", "Content-Length: 999999999999") + PIECE[:100])
        assert answer(connection)[0] == 403
        wait_for(lambda: not is_held_by_server(port, connection))


def test_what_follows_a_body_is_another_request_or_the_end(port: int) -> None:
    """Bytes after the end that came in together with it are not read as a body, and not lost silently."""
    with connected(port) as connection:
        connection.sendall(head("/taken", "Content-Length: 4") + b"abcdGET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        code, text = answer(connection)
        assert code == 200 and text.endswith(described(b"abcd"))
        assert headers_of(text)["connection"] == "close" and is_closed(connection)


def test_a_cut_off_body_is_no_body(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(head("/taken", "Content-Length: 100") + b"abc")
        connection.shutdown(socket.SHUT_WR)
        assert answer(connection)[0] == 400


def test_chunks_that_are_none_are_refused(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(head("/taken", "Transfer-Encoding: chunked") + b"5\r\nabcdefgh\r\n0\r\n\r\n")
        code, text = answer(connection)
        assert code == 400 and headers_of(text)["connection"] == "close"


@pytest.mark.parametrize("framing", ["Content-Length: 0", "X: no length"])
def test_an_empty_body_is_empty(port: int, framing: str) -> None:
    with connected(port) as connection:
        connection.sendall(head("/taken", framing))
        assert answer(connection)[1].endswith(described(b""))
        connection.sendall(head("/taken", framing))
        assert answer(connection)[1].endswith(described(b""))


def test_the_limit_of_other_bodies_holds_for_others_alone(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(head("/other", f"Content-Length: {2**21}"))
        assert answer(connection)[0] == 413


def test_a_slow_body_is_given_up(tmp_path: Path) -> None:
    with serving(tmp_path / "log", patience_seconds=2.0) as port, connected(port) as connection:
        connection.sendall(head("/taken", "Content-Length: 100000") + b"abc")
        assert answer(connection)[0] == 408


def test_slow_senders_take_no_threads(port: int) -> None:
    """The server has 4 threads for answers; each sender has sent a part of its body."""
    senders = [connected(port) for _ in range(20)]
    try:
        for sender in senders:
            sender.sendall(head("/taken", f"Content-Length: {len(PIECE)}") + PIECE[:1000])
        assert status(port, "/live", "10.0.0.9") == 200
        assert status(port, "/counts", "10.0.0.9") == 200
        for sender in senders:
            sender.sendall(PIECE[1000:])
        assert all(answer(sender)[1].endswith(described(PIECE)) for sender in senders)
    finally:
        for sender in senders:
            sender.close()


def test_many_senders_at_once_are_each_answered(port: int) -> None:
    failed: list[int] = []

    def send(number: int) -> None:
        body = bytes([number]) * 2_000_000
        with connected(port) as connection:
            for _ in range(3):
                connection.sendall(head("/taken", f"Content-Length: {len(body)}") + body)
                if not answer(connection)[1].endswith(described(body)):
                    failed.append(number)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failed == [] and not any(thread.is_alive() for thread in threads)


def test_a_large_body_takes_no_memory(port: int) -> None:
    count = 1024  # of 256 KiB
    with connected(port) as connection:
        before = _memory(port)
        connection.sendall(head("/taken", f"Content-Length: {count * len(PIECE)}"))
        for _ in range(count):
            connection.sendall(PIECE)
        assert answer(connection)[0] == 200
    time.sleep(0.1)
    assert _memory(port) - before < 32 * 2**20


def _memory(port: int) -> int:
    with connected(port) as connection:
        connection.sendall(b"GET /memory HTTP/1.1\r\nHost: x\r\n\r\n")
        return int(answer(connection)[1].rpartition(b"\r\n")[2])
