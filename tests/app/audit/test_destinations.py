"""Messages arrive as the RFCs have them, and a destination that goes and comes back is found again."""

import os
import re
import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.audit.destinations import FileDestination, StandardOutput, SyslogTls, SyslogUdp
from tests.app.audit.receiver import Certificate, Receiver, new_certificate, receiving
from tests.waiting import wait_for

HEADER = re.compile(
    rb"<85>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?P<host>[!-~]+) ahi-dicomweb-proxy (?P<pid>\d+) "
    rb"DICOM\+RFC3881 - \xef\xbb\xbf(?P<message>.*)"
)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return new_certificate(tmp_path_factory.mktemp("ours"), "receiver")


@pytest.fixture
def receiver(ours: Certificate) -> Iterator[Receiver]:
    with receiving(ours) as receiver:
        yield receiver


def messages(receiver: Receiver) -> list[bytes]:
    found = [HEADER.fullmatch(one) for one in receiver.received]
    return [one["message"] for one in found if one]


def trusting(certificate: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate.certificate)


def test_tls_frames_have_their_length_and_a_header(ours: Certificate, receiver: Receiver) -> None:
    sink = SyslogTls("127.0.0.1", receiver.port, trusting(ours))
    sent = [b"<a/>", "<é/>".encode(), b"x" * 100_000]
    for message in sent:
        sink.write(message)
    wait_for(lambda: len(receiver.received) == 3)
    assert messages(receiver) == sent
    match = HEADER.fullmatch(receiver.received[0])
    assert match
    assert (match["host"].decode(), int(match["pid"])) == (socket.gethostname(), os.getpid())
    sink.close()


def test_a_receiver_that_was_away_is_found_again_without_a_loss(ours: Certificate, receiver: Receiver) -> None:
    sink = SyslogTls("127.0.0.1", receiver.port, trusting(ours))
    sink.write(b"1")
    wait_for(lambda: len(receiver.received) == 1)
    receiver.stop()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the moment
        sink.write(b"2")
    receiver.start()
    sink.write(b"2")
    wait_for(lambda: len(receiver.received) == 2)
    receiver.stop()
    receiver.start()
    sink.write(b"3")  # the connection is dead, and that is noticed before it is used
    wait_for(lambda: len(receiver.received) == 3)
    assert messages(receiver) == [b"1", b"2", b"3"]
    sink.close()


def test_a_receiver_with_another_certificate_is_told_nothing(receiver: Receiver, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        SyslogTls("127.0.0.1", receiver.port, trusting(new_certificate(tmp_path, "other"))).write(b"x")
    assert receiver.received == []


def test_both_sides_may_show_certificates(ours: Certificate, tmp_path: Path) -> None:
    client = new_certificate(tmp_path, "client")
    with receiving(ours, client) as receiver:
        context = trusting(ours)
        context.load_cert_chain(client.certificate, client.key)
        sink = SyslogTls("127.0.0.1", receiver.port, context)
        sink.write(b"<a/>")
        wait_for(lambda: messages(receiver) == [b"<a/>"])
        sink.close()


def test_a_datagram_is_one_message() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind(("127.0.0.1", 0))
        end.settimeout(60)
        SyslogUdp("127.0.0.1", end.getsockname()[1]).write(b"x" * 60_000)
        match = HEADER.fullmatch(end.recv(65_535))
    assert match
    assert match["message"] == b"x" * 60_000


def test_standard_output_has_a_line_for_each_message(capfd: pytest.CaptureFixture[str]) -> None:
    StandardOutput().write(b'{"audit": 1}')
    StandardOutput().write(b"x" * 100_000)
    assert capfd.readouterr().out == '{"audit": 1}\n' + "x" * 100_000 + "\n"


def test_a_renamed_file_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    sink = FileDestination(path)
    sink.write(b"1")
    path.rename(tmp_path / "audit.1")
    sink.write(b"2")
    path.unlink()
    sink.write(b"3")
    sink.close()
    sink.write(b"4")
    sink.close()
    assert (tmp_path / "audit.1").read_bytes() == b"1\n"
    assert path.read_bytes() == b"3\n4\n"
    assert path.stat().st_mode & 0o007 == 0  # not for everybody


def test_lines_of_several_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "audit"

    def write(letter: bytes) -> None:
        sink = FileDestination(path)
        for _ in range(200):
            sink.write(letter * 3000)
        sink.close()

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = path.read_bytes().splitlines()
    assert len(lines) == 600
    assert {(len(line), len(set(line))) for line in lines} == {(3000, 1)}


def test_a_file_that_took_half_a_line_is_an_error_and_the_next_line_is_whole(tmp_path: Path) -> None:
    """A disk that is full takes what fits; here the bound is one on the size of files."""
    path, sink = tmp_path / "audit", FileDestination(tmp_path / "audit")
    bounds = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, bounds[1]))
    try:
        with pytest.raises(OSError, match="full"):
            sink.write(b"x" * 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bounds)
    sink.write(b"y")
    sink.close()
    assert path.read_bytes().splitlines() == [b"x" * 10, b"y"]
