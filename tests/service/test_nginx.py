"""TLS in front of the service, by Debian's nginx with the configuration that the project shows."""

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from threading import Event, Thread

import pytest
import requests
from dicomweb_client import DICOMwebClient

from app.auth.bearer import new_token
from tests.servers import free_port
from tests.service.clinic import SLICES, Clinic
from tests.service.nginx import Nginx
from tests.service.process import Service
from tests.service.storing import storing
from tests.store.dicom_files import content_type, file, multipart


@pytest.fixture(scope="module")
def behind(clinic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service as the configuration wants it, but for PUBLIC_URL, so that the headers have to say it."""
    environment = {"DATASTORE_ROOT": str(clinic_root), "TRUSTED_PROXY": "127.0.0.1"}
    service = Service(tmp_path_factory.mktemp("behind-nginx"), environment)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def nginx(behind: Service) -> Iterator[Nginx]:
    server = Nginx(behind.port)
    yield server
    server.close()


@pytest.fixture
def session(nginx: Nginx) -> Iterator[requests.Session]:
    with trusting(nginx) as made:
        yield made


def trusting(nginx: Nginx) -> requests.Session:
    """A client that trusts the certificate of this nginx, and no other."""
    made = requests.Session()
    made.trust_env = False
    made.verify = str(nginx.certificate)
    return made


@pytest.fixture
def client(nginx: Nginx, session: requests.Session) -> DICOMwebClient:
    return DICOMwebClient(nginx.root, session=session)


def curl(nginx: Nginx, path: str, *options: str) -> "subprocess.CompletedProcess[bytes]":
    command = ["curl", "--silent", "--max-time", "60", "--cacert", str(nginx.certificate), *options, nginx.root + path]
    return subprocess.run(command, capture_output=True, check=False)


def test_urls_in_answers_are_those_that_the_client_came_by(
    nginx: Nginx, session: requests.Session, clinic: Clinic
) -> None:
    uid = clinic.paths["study"]
    (found,) = session.get(f"{nginx.root}/studies?StudyInstanceUID={uid}", timeout=60).json()
    assert found["00081190"]["Value"] == [f"{nginx.root}/studies/{uid}"]
    (described,) = session.get(f"{nginx.root}{clinic.paths['document']}/metadata", timeout=60).json()
    uri = described["00420011"]["BulkDataURI"]
    assert uri.startswith(f"{nginx.root}/studies/{uid}/")
    assert session.get(uri, timeout=60).status_code == 200


def test_a_client_retrieves_a_study(client: DICOMwebClient, clinic: Clinic) -> None:
    received = {one.SOPInstanceUID: one for one in client.iter_study(clinic.paths["study"])}
    assert received.keys() == {one.SOPInstanceUID for one in clinic.instances if one is not clinic.slide}
    for source in clinic.slices:
        assert (received[source.SOPInstanceUID].pixel_array == source.pixel_array).all()


def test_frames_and_ranges_of_them_are_the_same_bytes(
    nginx: Nginx, session: requests.Session, behind: Service, clinic: Clinic
) -> None:
    path = f"{clinic.paths['ct']}/frames/1"
    stored = {"Accept": "application/octet-stream; transfer-syntax=*"}
    whole = session.get(nginx.root + path, headers=stored, timeout=60)
    assert whole.content == requests.get(behind.root + path, headers=stored, timeout=60).content
    part = session.get(nginx.root + path, headers={**stored, "Range": "bytes=100-299"}, timeout=60)
    assert (part.status_code, part.headers["Content-Range"]) == (206, f"bytes 100-299/{len(whole.content)}")
    assert part.content == whole.content[100:300]
    same = session.get(nginx.root + path, headers={**stored, "If-None-Match": whole.headers["ETag"]}, timeout=60)
    assert (same.status_code, same.content) == (304, b"")


def test_http_2_carries_many_requests_on_one_connection(nginx: Nginx, clinic: Clinic) -> None:
    """As a browser: curl says for each the protocol and how many connections it had to make."""
    urls = [f"{nginx.root}{clinic.paths['slide']}/frames/{number}" for number in range(1, 13)]
    outputs = [word for _ in range(13) for word in ("--output", "/dev/null")]
    done = curl(
        nginx,
        "/studies",
        "--http2",
        "--parallel",
        *outputs,
        "-w",
        "%{http_version} %{http_code} %{num_connects}\n",
        *urls,
    )
    lines = done.stdout.decode().splitlines()
    assert [line.rpartition(" ")[0] for line in lines] == ["2 200"] * 13
    assert sum(int(line.rpartition(" ")[2]) for line in lines) <= 2


@pytest.mark.parametrize(
    ("path", "accept", "coding"),
    [
        ("/studies", "application/dicom+json", "zstd"),
        ("/studies", "application/dicom+json", "gzip"),
        ("/frames/1", "application/octet-stream", None),
    ],
)
def test_the_service_compresses_and_nobody_else(
    nginx: Nginx, session: requests.Session, clinic: Clinic, path: str, accept: str, coding: str | None
) -> None:
    where = nginx.root + (path if coding else clinic.paths["ct"] + path)
    headers = {"Accept": accept, "Accept-Encoding": coding or "gzip"}
    with session.get(where, headers=headers, stream=True, timeout=60) as answer:
        assert answer.headers.get("Content-Encoding") == coding
        assert answer.headers["ETag"].startswith('"')  # still strong: the very bytes


FORGED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Port": "81",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=203.0.113.9;host=evil.example;proto=http",
}


def test_a_client_cannot_say_where_it_came_from(nginx: Nginx, session: requests.Session, behind: Service) -> None:
    for host in (nginx.origin.removeprefix("https://"), "localhost"):  # the latter is what is sent to port 443
        (study,) = session.get(f"{nginx.root}/studies?limit=1", headers={**FORGED, "Host": host}, timeout=60).json()
        assert study["00081190"]["Value"][0].startswith(f"https://{host}/aetitle/studies/")
    behind.logs("from=127.0.0.1")
    assert "203.0.113.9" not in behind.log


def test_connections_to_the_service_are_kept(nginx: Nginx, session: requests.Session, behind: Service) -> None:
    before = connections_to(behind.port)
    for _ in range(20):
        assert session.get(f"{nginx.root}/studies?limit=1", timeout=60).status_code == 200
    assert len(connections_to(behind.port) - before) <= 2


def connections_to(port: int) -> set[str]:
    """Those that are or just were open to a port of this machine, by the port they come from."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[2] == f"0100007F:{port:04X}"}


def test_no_query_and_no_image_gets_to_the_disk(
    nginx: Nginx, session: requests.Session, client: DICOMwebClient, clinic: Clinic
) -> None:
    assert session.get(f"{nginx.root}/studies?PatientName=KEPT^SECRET", timeout=60).status_code == 200
    assert (
        session.post(f"{nginx.root}/prefetch", data=b"[" + b" " * 900_000, timeout=60).status_code == 400
    )  # by the service
    study, series = clinic.paths["ct_series"].split("/")[2::2]
    assert len(client.retrieve_series(study, series)) == SLICES
    assert "SECRET" not in nginx.logged


def test_the_limits_are_those_of_the_service(nginx: Nginx, session: requests.Session) -> None:
    uids = "\\".join(f"1.2.{number}" for number in range(2000))
    assert session.get(f"{nginx.root}/studies", params={"StudyInstanceUID": uids}, timeout=60).status_code == 200
    assert session.get(f"{nginx.root}/studies?x={'x' * 40_000}", timeout=60).status_code == 414
    assert session.post(f"{nginx.root}/prefetch", data=b" " * (2**20 + 1), timeout=60).status_code == 413


def test_http_is_sent_to_https(nginx: Nginx) -> None:
    connection = HTTPConnection("127.0.0.1", nginx.plain_port, timeout=60)
    connection.request("GET", "/aetitle/studies?limit=1", headers={"Host": "evil.example"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, "https://localhost/aetitle/studies?limit=1")
    connection.close()


def test_another_name_is_not_served(nginx: Nginx) -> None:
    trusting = ssl.create_default_context(cafile=str(nginx.certificate))
    connection = HTTPSConnection("localhost", nginx.port, context=trusting, timeout=60)
    connection.request("GET", "/aetitle/studies", headers={"Host": "evil.example"})
    assert connection.getresponse().status == 421
    connection.close()
    with socket.create_connection(("127.0.0.1", nginx.port)) as raw, pytest.raises(ssl.SSLError, match="UNRECOGNIZED"):
        trusting.wrap_socket(raw, server_hostname="evil.example")


@pytest.mark.parametrize(("version", "spoken"), [("1.1", False), ("1.2", True), ("1.3", True)])
def test_tls_is_not_older_than_1_2(nginx: Nginx, version: str, spoken: bool) -> None:
    old = ["--ciphers", "DEFAULT@SECLEVEL=0"] if version == "1.1" else []
    done = curl(nginx, "/live", f"--tlsv{version}", "--tls-max", version, *old)
    assert (done.returncode == 0) is spoken


@pytest.fixture
def upstream() -> Iterator[socket.socket]:
    """A place for a service that a test plays itself."""
    with socket.create_server(("127.0.0.1", free_port())) as listening:
        listening.settimeout(60)
        yield listening


def test_a_stream_goes_on_as_it_comes(upstream: socket.socket) -> None:
    """The service sends nothing more before the client has what was sent: what is held back would never come."""
    arrived = Event()

    def play() -> None:
        connection, _ = upstream.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            last = b"4\r\nlast\r\n0\r\n\r\n" if arrived.wait(60) else b""
            connection.sendall(last)

    playing = Thread(target=play)
    playing.start()
    nginx = Nginx(upstream.getsockname()[1])
    with trusting(nginx) as session:
        pieces = session.get(f"{nginx.root}/studies/1", stream=True, timeout=60).iter_content(None)
        assert next(pieces) == b"first"
        arrived.set()
        assert b"".join(pieces) == b"last"
    playing.join()
    nginx.close()


def test_a_service_that_is_away_is_told_so() -> None:
    nginx = Nginx(free_port())
    with trusting(nginx) as session:
        answer = session.get(f"{nginx.root}/studies?PatientID=SECRET", timeout=60)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert json.loads(answer.text)["status"] == 503
    assert "SECRET" not in nginx.logged
    nginx.close()


def test_long_bodies_are_stored(tmp_path: Path) -> None:
    """Bodies of more than a megabyte go through, and one without a login is refused before it has been sent."""
    token, line = new_token("sender")
    (tmp_path / "tokens").write_text(line)
    (tmp_path / "rules").write_text(json.dumps([{"name": "sender", "rights": ["store"]}]))
    settings = {
        "AUTH": "bearer",
        "AUTH_TOKENS_FILE": str(tmp_path / "tokens"),
        "ACCESS_RULES": str(tmp_path / "rules"),
        "TRUSTED_PROXY": "127.0.0.1",
    }
    body = multipart([file(f"1.2.77.1.{number}", study="1.2.77", series="1.2.77.1", size=1200) for number in range(3)])
    with storing(tmp_path / "running", **settings) as running:
        server = Nginx(running.service.port)
        try:
            with trusting(server) as session:
                headers = {"Content-Type": content_type(), "Authorization": f"Bearer {token}"}
                url = f"{server.root}/studies"
                answer = session.post(url, iter([body[:1_000_000], body[1_000_000:]]), headers=headers, timeout=120)
                assert answer.status_code == 200, answer.text
                assert answer.json()["00081190"]["Value"] == [f"{server.root}/studies/1.2.77"]
                assert session.post(url, body, headers=headers, timeout=120).status_code == 200
                stranger = session.post(url, body, headers={"Content-Type": content_type()}, timeout=120)
                assert stranger.status_code == 401
        finally:
            server.close()
