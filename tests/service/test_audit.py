"""A service that audits: to a syslog receiver over TLS, without which it gives nothing, and to a file."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.app.audit.messages import Read, read
from tests.app.audit.receiver import Certificate, Receiver, new_certificate, receiving
from tests.service.archive import Sample
from tests.service.process import Service

CT = "CT_small.dcm"
STUDY = b" /aetitle/studies/1.2.3/metadata"
REFUSED_BY_THE_SERVER = {
    400: b"GET" + STUDY + b" HTTP/1.1\r\nHost : x\r\n\r\n",
    408: b"GET" + STUDY + b" HTTP/1.1\r\n",
    413: b"POST" + STUDY + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
    414: b"GET" + STUDY + b"?" + b"x" * 40_000,
    431: b"GET" + STUDY + b" HTTP/1.1\r\nX-Much: " + b"x" * 40_000,
    501: b"POST" + STUDY + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
}
"""What never reaches the application."""

QUERY, ACCESS, BEGIN, TRANSFER, ACTIVITY = "110112", "110103", "110102", "110104", "110100"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return new_certificate(tmp_path_factory.mktemp("receiver"), "receiver")


@pytest.fixture(scope="module")
def receiver(certificate: Certificate) -> Iterator[Receiver]:
    with receiving(certificate) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def audited(
    datastore_root: Path, receiver: Receiver, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    environment = {
        "DATASTORE_ROOT": str(datastore_root),
        "WEB_PROCESSES": "2",
        "AUDIT": "syslog",
        "AUDIT_SYSLOG": f"tls://127.0.0.1:{receiver.port}",
        "AUDIT_SYSLOG_CA": str(certificate.certificate),
        "AUDIT_FAILURE": "refuse",
    }
    service = Service(tmp_path_factory.mktemp("audited"), environment)
    yield service
    assert service.stop() == 0


def received(receiver: Receiver) -> list[Read]:
    """What has come since the last time that this was asked."""
    taken, receiver.received[:] = list(receiver.received), []
    return [read(message.partition(b"\xef\xbb\xbf")[2]) for message in taken]


@pytest.mark.parametrize(
    ("path", "accept", "events"),
    [
        ("/studies?limit=1", None, [QUERY]),
        ("/studies/{0}", "*/*", [BEGIN, TRANSFER]),
        ("/studies/{0}/series/{1}/instances/{2}", "application/dicom", [BEGIN, TRANSFER]),
        ("/studies/{0}/metadata", None, [ACCESS]),
        ("/studies/{0}/series/{1}/instances/{2}/frames/1", None, [ACCESS]),
        ("/studies/{0}/series/{1}/instances/{2}/rendered", "image/jpeg", [ACCESS]),
        ("/studies/{0}/series/{1}/instances/{2}/thumbnail", "image/jpeg", [ACCESS]),
        ("/studies/{0}/pixeldata", None, [ACCESS]),
        (
            "/wado?requestType=WADO&studyUID={0}&seriesUID={1}&objectUID={2}&contentType=application/dicom",
            None,
            [BEGIN, TRANSFER],
        ),
        ("/wado?requestType=WADO&studyUID={0}&seriesUID={1}&objectUID={2}", None, [ACCESS]),
        ("/live", None, []),
    ],
)
def test_what_is_given_is_audited(
    audited: Service, receiver: Receiver, samples: dict[str, Sample], path: str, accept: str | None, events: list[str]
) -> None:
    received(receiver)
    sample = samples[CT]
    answer = requests.get(
        audited.root + path.format(*sample.uids), headers={"Accept": accept} if accept else {}, timeout=60
    )
    assert answer.status_code == 200, answer.text
    audited.wait(lambda: len(receiver.received) >= len(events))
    told = received(receiver)
    assert [one.event for one in told] == events
    for one in told:
        assert (one.outcome, one.user, one.client) == (0, "anonymous", "127.0.0.1")
        if one.event != QUERY:
            patient = {"Patient Number": str(sample.read().PatientID)}
            assert one.sop_classes == {sample.read().SOPClassUID: 1}
            assert one.objects == {"Study Instance UID": sample.study_instance_uid, **patient}


def test_what_is_not_there_is_a_failed_access_without_a_patient(audited: Service, receiver: Receiver) -> None:
    received(receiver)
    assert audited.status("/studies/1.2.3/metadata") == 404
    audited.wait(lambda: bool(receiver.received))
    (one,) = received(receiver)
    assert (one.event, one.outcome, one.objects) == (ACCESS, 4, {"Study Instance UID": "1.2.3"})


def test_nothing_is_given_while_the_receiver_is_away(
    audited: Service, receiver: Receiver, samples: dict[str, Sample]
) -> None:
    path = f"/studies/{samples[CT].study_instance_uid}/metadata"
    receiver.stop()
    answers = [requests.get(audited.root + path, timeout=60) for _ in range(8)]
    assert {answer.status_code for answer in answers} == {503}
    assert all(answer.headers["Retry-After"] and "PatientID" not in answer.text for answer in answers)
    assert audited.status("/health") == 200
    receiver.start()
    audited.wait(lambda: audited.status(path) == 200)
    audited.logs("audit cannot be written")


def test_a_file_has_the_start_the_stop_and_what_was_between(
    datastore_root: Path, samples: dict[str, Sample], tmp_path: Path
) -> None:
    path = tmp_path / "audit.xml"
    environment = {"DATASTORE_ROOT": str(datastore_root), "AUDIT": "file", "AUDIT_FILE": str(path)}
    service = Service(tmp_path / "service", {**environment, "WEB_PROCESSES": "1", "AUDIT_SOURCE": "reading-room"})
    assert service.status(f"/studies/{samples[CT].study_instance_uid}/metadata") == 200
    service.wait(lambda: len(path.read_text().splitlines()) == 2)
    path.rename(tmp_path / "audit.1")
    assert service.status("/patients") == 200
    assert service.stop() == 0
    first, second = (
        [read(line) for line in (tmp_path / name).read_text().splitlines()] for name in ("audit.1", "audit.xml")
    )
    assert [(one.event, one.type) for one in first] == [(ACTIVITY, "110120"), (ACCESS, None)]
    assert [(one.event, one.type) for one in second] == [(QUERY, None), (ACTIVITY, "110121")]
    assert 'AuditSourceID="reading-room"' in path.read_text()


def test_what_the_server_refuses_is_logged_but_not_audited(datastore_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "audit.xml"
    environment = {"DATASTORE_ROOT": str(datastore_root), "AUDIT": "file", "AUDIT_FILE": str(path)}
    service = Service(tmp_path / "service", {**environment, "WEB_PROCESSES": "1", "SLOW_CLIENT_SECONDS": "5"})
    for status, request in REFUSED_BY_THE_SERVER.items():
        with socket.create_connection(("127.0.0.1", service.port), 60) as connection:
            connection.sendall(request)
            assert connection.recv(12).split()[1] == b"%d" % status
        service.logs(f"status={status}")
    assert service.status("/patients") == 200
    assert service.stop() == 0
    assert [read(line).event for line in path.read_text().splitlines()] == [ACTIVITY, QUERY, ACTIVITY]
