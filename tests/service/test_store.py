"""Store requests as clients send them, to the service with its forwarder and the embedded data store behind.

The bodies are those that were recorded of each client: how they begin and end, their boundaries, headers and framing.
"""

import http.client
import http.server
import json
import os
import re
import resource
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests
from dicomweb_client import DICOMwebClient
from pydicom import dcmread

from tests.app.server.web_process import answer as raw_answer
from tests.service.process import PROGRAM, Service
from tests.service.storing import Storing, stored_uids, storing
from tests.store.dicom_files import content_type, data_set, encoded, file, multipart

_NUMBERS = count(1)
Files = Sequence[tuple[str, bytes]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storing]:
    with storing(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def files() -> Files:
    """Two images of a study of their own, by their UIDs."""
    study = f"1.2.3.{next(_NUMBERS)}"
    uids = [f"{study}.1.{number}" for number in range(2)]
    return [(uid, file(uid, study=study, series=f"{study}.1", size=16)) for uid in uids]


def resident_bytes(pid: int) -> int:
    """The resident size of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def post(running: Storing, body: Any, headers: dict[str, str]) -> requests.Response:
    return requests.post(f"{running.service.root}/studies", body, headers=headers, timeout=120)


def test_readers_come_before_the_forwarder_where_the_cores_are_busy(running: Storing) -> None:
    webs = running.service.all_named("web", 2)
    nice = {os.getpriority(os.PRIO_PROCESS, pid) for pid in webs}

    def comes_after() -> bool:
        (forwarder,) = running.service.named("forwarder")
        return os.getpriority(os.PRIO_PROCESS, forwarder) > max(nice)

    running.service.wait(comes_after, 60)  # it says so itself, after its start


def check_stored(running: Storing, files: Files) -> None:
    """All can be searched and retrieved at once, as they were sent."""
    study = files[0][0].rpartition(".1.")[0]
    assert running.found(StudyInstanceUID=study) == sorted(uid for uid, _ in files)
    for uid, content in files:
        retrieved = running.retrieved(study, f"{study}.1", uid)
        assert retrieved.status_code == 200
        sent, part = dcmread(BytesIO(content)), retrieved.content.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
        received = dcmread(BytesIO(part))
        assert (received.pixel_array == sent.pixel_array).all()
        assert received.PatientID == sent.PatientID and received.SOPInstanceUID == uid


def body_of(contents: Sequence[bytes], boundary: str, fields: Callable[[bytes], Sequence[str]], end: str) -> bytes:
    body = b""
    for content in contents:
        head = "\r\n".join([f"--{boundary}", *fields(content), "", ""]).encode()
        body += head + content + b"\r\n"
    return body + f"--{boundary}--{end}".encode()


def _dicom(_: bytes) -> Sequence[str]:
    return ["Content-Type: application/dicom"]


def _with_length(content: bytes) -> Sequence[str]:
    return ["Content-Type: application/dicom", f"Content-Length: {len(content)}"]


def _with_location(content: bytes) -> Sequence[str]:
    return ["Content-Type: application/dicom", "Content-Location: /studies/1", f"Content-Length: {len(content)}"]


ORTHANC = "a" * 73

CLIENTS: dict[str, tuple[str, str, Callable[[bytes], Sequence[str]], bytes, str]] = {
    # client: Content-Type, boundary, headers of a part, beginning, end
    "OHIF": ('multipart/related; type="application/dicom"; boundary="4f-1"', "4f-1", _dicom, b"\r\n", ""),
    "dicomweb-client for JavaScript": (
        "multipart/related; type=application/dicom; boundary=x-1", "x-1", _dicom, b"\r\n", "\0" * 300
    ),
    "Orthanc": (
        f"multipart/related; type=application/dicom; boundary={ORTHANC}", ORTHANC, _with_length, b"", ""
    ),
    "Weasis": (
        'multipart/related;type="application/dicom";boundary=weasisDicomBoundary',
        "weasisDicomBoundary",
        _dicom,
        b"\r\n",
        "\r\n",
    ),
    "Static-DICOMWeb": ('multipart/related; type="application/dicom"; boundary=9', "9", _with_location, b"", "\r\n"),
    "the DIMSE proxy of AWS": ('multipart/related; boundary="b o u"', "b o u", _dicom, b"", "\r\n"),
    "a mail program": ("multipart/related; boundary=b", "b", lambda _: [], b"It is MIME.\r\n\r\n", "\r\nThe end.\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
@pytest.mark.parametrize("client", CLIENTS)
def test_bodies_of_clients(running: Storing, files: Files, client: str, chunked: bool) -> None:
    content_type, boundary, fields, beginning, end = CLIENTS[client]
    body = beginning + body_of([content for _, content in files], boundary, fields, end)
    pieces = (body[at : at + 1000] for at in range(0, len(body), 1000))
    answer = post(running, pieces if chunked else body, {"Content-Type": content_type})
    assert answer.status_code == 200, answer.text
    assert stored_uids(answer) == [uid for uid, _ in files]
    check_stored(running, files)


def test_one_file_alone(running: Storing, files: Files) -> None:
    assert post(running, files[0][1], {"Content-Type": "application/dicom"}).status_code == 200
    check_stored(running, files[:1])


def test_curl_as_guides_show_it(running: Storing, files: Files, tmp_path: Path) -> None:
    (tmp_path / "one.dcm").write_bytes(files[0][1])
    script = (
        r"echo -ne '\r\n--myboundary\r\nContent-Type: application/dicom\r\n\r\n' > body; cat one.dcm >> body; "
        r"echo -ne '\r\n--myboundary--' >> body; "
        "curl -sS -w '%{http_code}' -o answer -X POST -H 'Content-Type: multipart/related; type=\"application/dicom\"; "
        f"boundary=myboundary' -H 'Expect: 100-continue' --data-binary @body {running.service.root}/studies"
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "200", done
    check_stored(running, files[:1])


def test_the_python_client(running: Storing, files: Files) -> None:
    client = DICOMwebClient(running.service.root)
    answer = client.store_instances([dcmread(BytesIO(content)) for _, content in files])
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [uid for uid, _ in files]
    assert answer.RetrieveURL == f"{running.service.root}/studies/{files[0][0].rpartition('.1.')[0]}"
    check_stored(running, files)


def test_the_python_client_with_a_large_body(running: Storing) -> None:
    """Above 1 MB it sends chunks, and gives Host without the port otherwise."""
    study = f"1.2.3.{next(_NUMBERS)}"
    made = data_set(f"{study}.1.1", study=study, series=f"{study}.1", size=1500)
    content = encoded(made)
    answer = DICOMwebClient(running.service.root).store_instances([dcmread(BytesIO(content))])
    assert len(answer.ReferencedSOPSequence) == 1
    check_stored(running, [(f"{study}.1.1", content)])


class BusyOnce(http.server.BaseHTTPRequestHandler):
    """A proxy in front of the service, which is busy for the first request."""

    service: Storing
    bodies: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.bodies.append(len(body))
        status = 503
        if len(self.bodies) > 1:
            headers = {"Content-Type": self.headers["Content-Type"]}
            status = post(self.service, iter([body] if body else []), headers).status_code
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_a_retry_with_an_empty_body_is_not_believed(running: Storing) -> None:
    """dicomweb-client sends its chunks again after a 503, and none is left: it must not think that all is stored."""
    study = f"1.2.3.{next(_NUMBERS)}"
    large = encoded(data_set(f"{study}.1.1", study=study, series=f"{study}.1", size=1500))
    BusyOnce.service = running
    with http.server.HTTPServer(("127.0.0.1", 0), BusyOnce) as front:
        thread = threading.Thread(target=front.serve_forever)
        thread.start()
        try:
            client = DICOMwebClient(f"http://127.0.0.1:{front.server_port}/aetitle")
            client.set_http_retry_params(retry=True, max_attempts=3, wait_exponential_multiplier=10)
            with pytest.raises(requests.HTTPError) as error:
                client.store_instances([dcmread(BytesIO(large))])
        finally:
            front.shutdown()
            thread.join()
    assert error.value.response is not None and error.value.response.status_code == 400
    assert len(BusyOnce.bodies) == 2 and BusyOnce.bodies[0] > 1_000_000 and BusyOnce.bodies[1] == 0


def test_a_lone_failure_is_409_and_others_are_stored(running: Storing, files: Files) -> None:
    assert running.post(b"not DICOM").status_code == 409
    answer = running.post(files[0][1], b"not DICOM", files[1][1])
    assert answer.status_code == 202 and stored_uids(answer) == [uid for uid, _ in files]
    check_stored(running, files)


def test_the_same_again_is_a_success(running: Storing, files: Files) -> None:
    contents = [content for _, content in files]
    assert running.post(*contents).status_code == 200
    again = running.post(*contents)
    assert again.status_code == 200 and stored_uids(again) == [uid for uid, _ in files]
    check_stored(running, files)


def test_what_was_looked_for_before_is_found_as_soon_as_it_is_stored(running: Storing) -> None:
    """Every web process has just learnt that the study is not there."""
    url = f"{running.service.root}/studies/1.99.1"

    def statuses(path: str) -> set[int]:
        with ThreadPoolExecutor(8) as threads:
            return set(threads.map(lambda _: requests.get(url + path, timeout=60).status_code, range(24)))

    assert statuses("/metadata") == statuses("/series/1.99.1.1/metadata") == {404}
    for number in (1, 2):
        body = multipart([file(f"1.99.1.1.{number}", study="1.99.1", series="1.99.1.1")])
        assert post(running, body, {"Content-Type": content_type()}).status_code == 200
        assert statuses("/metadata") == statuses("/series/1.99.1.1/metadata") == {200}
        found = requests.get(f"{url}/metadata", timeout=60).json()
        assert len(found) == number


def test_answers_in_xml(running: Storing, files: Files) -> None:
    body = body_of([files[0][1]], "b", _dicom, "")
    answer = post(running, body, {"Content-Type": "multipart/related; boundary=b", "Accept": "application/dicom+xml"})
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/dicom+xml"
    assert re.search(
        r'keyword="ReferencedSOPInstanceUID"[^>]*><Value number="1">' + re.escape(files[0][0]), answer.text
    )


def test_a_refused_type_is_told_before_the_body(running: Storing) -> None:
    with socket.create_connection(("127.0.0.1", running.service.port), timeout=60) as connection:
        head = (
            "POST /aetitle/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\n"
        )
        connection.sendall(f"{head}Content-Length: 4000000000\r\n\r\n".encode())
        assert raw_answer(connection)[0] == 415


def test_metadata_and_bulk_data(running: Storing) -> None:
    study = f"1.2.3.{next(_NUMBERS)}"
    made = dcmread(BytesIO(encoded(data_set(f"{study}.1.1", study=study, series=f"{study}.1", size=16))))
    pixels = made.PixelData
    model = made.to_json_dict(bulk_data_threshold=100, bulk_data_element_handler=lambda _: "bulk/1")
    body = b"--b\r\nContent-Type: application/dicom+json\r\n\r\n" + json.dumps([model]).encode()
    body += (
        b"\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Location: bulk/1\r\n\r\n" + pixels + b"\r\n--b--"
    )
    answer = post(running, body, {"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=b'})
    assert answer.status_code == 200, answer.text
    check_stored(running, [(f"{study}.1.1", encoded(made))])


def test_many_senders_at_once(running: Storing) -> None:
    """20 connections with 5 images each: none is lost, and the process does not grow."""
    study = f"1.2.3.{next(_NUMBERS)}"
    answers: list[int] = []
    sent: list[tuple[str, bytes]] = []
    lock = threading.Lock()

    def send(sender: int) -> None:
        for number in range(5):
            uid = f"{study}.1.{sender * 100 + number}"
            content = file(uid, study=study, series=f"{study}.1", size=64)
            answer = running.post(content)
            with lock:
                sent.append((uid, content))
                answers.append(answer.status_code)

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert answers == [200] * 100, running.service.log[-3000:]
    check_stored(running, sent)


@pytest.mark.slow
def test_a_gigabyte_costs_little_memory(running: Storing) -> None:
    study = f"1.2.3.{next(_NUMBERS)}"
    image = file(f"{study}.1.1", study=study, series=f"{study}.1", size=4096)  # 16 MiB
    part = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + image + b"\r\n"
    webs = running.service.named("web")
    before = {pid: resident_bytes(pid) for pid in webs}
    peaks = dict(before)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            for pid in webs:
                peaks[pid] = max(peaks[pid], resident_bytes(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    connection = http.client.HTTPConnection("127.0.0.1", running.service.port, timeout=600)
    try:
        connection.request(
            "POST",
            "/aetitle/studies",
            body=iter([*[part] * 64, b"--b--"]),
            headers={"Content-Type": "multipart/related; boundary=b"},
            encode_chunked=True,
        )
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
    finally:
        connection.close()
        ended.set()
        watcher.join()
    assert all(peaks[pid] - before[pid] < 64 * 2**20 for pid in webs)


def test_the_embedded_default_stores(tmp_path: Path) -> None:
    """A newcomer sets nothing. What was stored is there after a restart, and an import goes on beside it."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one.dcm").write_bytes(file("1.2.66.1.1", study="1.2.66", series="1.2.66.1"))
    environment = {"DATASTORE_ROOT": str(tmp_path / "data")}
    imported = subprocess.run(
        [*PROGRAM, "import", str(tmp_path / "files")], env={**os.environ, **environment}, check=False, timeout=120
    )
    assert imported.returncode == 0
    for number, again in ((2, False), (3, True)):
        service = Service(tmp_path / f"service{number}", environment)
        try:
            content = file(f"1.2.66.1.{number}", study="1.2.66", series="1.2.66.1")
            answer = requests.post(
                f"{service.root}/studies", content, headers={"Content-Type": "application/dicom"}, timeout=120
            )
            assert answer.status_code == 200, answer.text
            found = requests.get(f"{service.root}/instances?StudyInstanceUID=1.2.66", timeout=60).json()
            assert len(found) == number, again
        finally:
            service.stop()


def test_an_embedded_service_that_others_reach_does_not_store(tmp_path: Path) -> None:
    environment = {"DATASTORE_ROOT": str(tmp_path / "data"), "TRUSTED_PROXY": "127.0.0.1"}
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one.dcm").write_bytes(file())
    subprocess.run(
        [*PROGRAM, "import", str(tmp_path / "files")], env={**os.environ, **environment}, check=True, timeout=120
    )
    service = Service(tmp_path / "service", environment)
    try:
        assert requests.post(f"{service.root}/studies", b"x", timeout=60).status_code == 405
    finally:
        service.stop()
