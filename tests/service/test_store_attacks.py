"""Hostile and unlucky senders of store requests: each has a clear outcome, memory is bounded, and readers go on.

One service serves all of these tests.
"""

import gzip
import json
import resource
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom import dcmread

from store.outcome import FailureReason
from tests.app.server.web_process import answer as raw_answer
from tests.app.server.web_process import connected
from tests.service.storing import Storing, stored_uids, storing
from tests.store.dicom_files import content_type, data_set, encoded, file, multipart
from tests.waiting import wait_for

_NUMBERS = count(1)
ATTACKER, READER = "127.0.0.2", "127.0.0.3"
Files = Sequence[tuple[str, bytes]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storing]:
    with storing(tmp_path_factory.mktemp("attacks"), STORE_WAIT_SECONDS="10", LOG_LEVEL="WARNING") as running:
        yield running


@pytest.fixture(autouse=True)
def sound(running: Storing) -> Iterator[None]:
    """After each test the same processes answer, nothing is left in the spool, and no error of ours was logged."""
    before = running.service.children()
    yield
    assert running.service.children() == before
    running.service.wait(lambda: not [*running.spool.incoming.iterdir()] and not running.spool.names(), 120)
    assert "Traceback" not in running.service.log


def new_study(number: int = 2, size: int = 16) -> Files:
    """Images of a study of their own, by their UIDs."""
    study = f"1.2.6.{next(_NUMBERS)}"
    uids = [f"{study}.1.{at}" for at in range(number)]
    return [(uid, file(uid, study=study, series=f"{study}.1", size=size)) for uid in uids]


def post(running: Storing, body: Any, kind: str = content_type(), **headers: str) -> requests.Response:
    given = {"Content-Type": kind, **headers}
    return requests.post(f"{running.service.root}/studies", body, headers=given, timeout=120)


def head(length: int, *fields: str, kind: str = content_type(), path: str = "/aetitle/studies") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", *fields]
    lines += [f"Content-Length: {length}"] if length >= 0 else []
    return "\r\n".join([*lines, "", ""]).encode()


def check_refused(answer: requests.Response, status: int, detail: str) -> None:
    assert answer.status_code == status, answer.text
    assert detail in answer.json()["detail"]


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


@contextmanager
def bounded_memory(running: Storing, most_bytes: int = 64 * 2**20) -> Iterator[None]:
    """A context in which no web process may grow by more; the peaks count, as the kernel keeps them."""
    pids = running.service.all_named("web", 2)
    before = {pid: resident_bytes(pid) for pid in pids}
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    yield
    for pid in pids:
        text = Path(f"/proc/{pid}/status").read_text()
        peak = int(text.partition("VmHWM:")[2].split()[0]) * 1024
        assert peak - before[pid] < most_bytes


# --- file descriptors


@contextmanager
def few_files(pids: Sequence[int], more: int) -> Iterator[None]:
    """A context in which these processes may open so many more files than they have."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    for pid in pids:
        used = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()) + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + more, before[pid][1]))
    try:
        yield
    finally:
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before[pid])


def test_a_web_process_without_file_descriptors_says_that_it_is_busy(running: Storing) -> None:
    """Never that the body is wrong: the client would not send it again."""
    statuses = set()
    webs = running.service.all_named("web", 2)
    for more in range(1, 8):
        files = new_study(1, 64)
        with few_files(webs, more):
            answer = post(running, multipart([files[0][1]]), Connection="close")
            statuses.add(answer.status_code)
            assert answer.status_code in (200, 503), (more, answer.status_code, answer.text)
        assert post(running, multipart([files[0][1]])).status_code == 200
        assert running.found(StudyInstanceUID=files[0][0].rpartition(".1.")[0]) == [files[0][0]]
    assert 503 in statuses


def test_a_forwarder_without_file_descriptors_is_waited_for(running: Storing) -> None:
    for more in (0, 2):
        files = new_study(1)
        with few_files(running.service.all_named("forwarder", 1), more):
            answer = post(running, multipart([files[0][1]]))
            assert answer.status_code in (200, 503), answer.text
        again = post(running, multipart([files[0][1]]))
        assert again.status_code == 200 and stored_uids(again) == [files[0][0]]


# --- clients that leave, or are slow


def test_a_client_that_leaves_within_its_body_leaves_nothing(running: Storing) -> None:
    files = new_study()
    body = multipart([content for _, content in files])
    for sent in (0, 1, len(body) // 2, len(body) - 1):
        with connected(running.service.port) as connection:
            connection.sendall(head(len(body)) + body[:sent])
    with connected(running.service.port) as connection:  # by a reset
        connection.sendall(head(len(body)) + body[:100])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert running.found(StudyInstanceUID=files[0][0].rpartition(".1.")[0]) == []


def test_a_client_that_leaves_before_its_answer_has_stored(running: Storing) -> None:
    files = new_study()
    body = multipart([content for _, content in files])
    running.datastore.faults("StoreDICOM:latency=500ms:x1")
    with connected(running.service.port) as connection:
        connection.sendall(head(len(body)) + body)
    study = files[0][0].rpartition(".1.")[0]
    wait_for(lambda: running.found(StudyInstanceUID=study) == [uid for uid, _ in files])


def test_many_slow_bodies_do_not_stop_readers(running: Storing) -> None:
    files = new_study()
    assert running.post(*(content for _, content in files)).status_code == 200
    study = files[0][0].rpartition(".1.")[0]
    body = multipart([file()])
    seconds = []
    with ExitStack() as opened, requests.Session() as reader:
        slow = [opened.enter_context(connected(running.service.port, ATTACKER)) for _ in range(150)]
        for connection in slow:
            connection.sendall(head(len(body)) + body[:10])
        for at in range(30):
            for connection in slow[at::30]:
                connection.sendall(body[10 + at : 11 + at])
            began = time.monotonic()
            url = f"http://127.0.0.1:{running.service.port}/aetitle/studies/{study}/metadata"
            assert reader.get(url, timeout=60).status_code == 200
            seconds.append(time.monotonic() - began)
    assert statistics.median(seconds) < 2


# --- what is in a body


def test_a_multipart_within_a_multipart_is_no_instance(running: Storing) -> None:
    files = new_study()
    inner = multipart([files[1][1]], "inner")
    outer = b"--b\r\nContent-Type: multipart/related; boundary=inner\r\n\r\n" + inner
    outer += b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\n" + files[0][1] + b"\r\n--b--"
    answer = post(running, outer, "multipart/related; boundary=b")
    assert answer.status_code == 202 and stored_uids(answer) == [files[0][0]]
    (failed,) = answer.json()["0008119A"]["Value"]
    assert failed["00081197"]["Value"] == [FailureReason.CANNOT_UNDERSTAND]


def test_a_million_parts_are_too_many(running: Storing) -> None:
    with bounded_memory(running):
        check_refused(
            post(running, b"--b\r\n\r\n\r\n" * 1_000_000 + b"--b--", "multipart/related; boundary=b"), 413, "parts"
        )


@pytest.mark.parametrize("line", [b"Content-Type: " + b"x" * 2**20, b"X: y\r\n" * 2**18, b"\0" * 2**20])
def test_heads_of_parts_have_a_bound(running: Storing, line: bytes) -> None:
    body = b"--b\r\n" + line + b"\r\n\r\nx\r\n--b--"
    check_refused(post(running, body, "multipart/related; boundary=b"), 400, "header")


def test_a_boundary_in_the_pixels(running: Storing) -> None:
    """With Content-Length the content is taken as it is. Without it, what follows a boundary is another part."""
    study = f"1.2.6.{next(_NUMBERS)}"
    for number, (text, fields, status) in enumerate(
        [
            (b"\r\n--b", True, 200),
            (b"\r\n--b\r\n", True, 200),
            (b"\r\n--b--", True, 200),
            (b"\r\n--because", False, 200),
            (b"\r\n--b\r\n\r\n", False, 409),
        ]
    ):
        uid = f"{study}.1.{number}"
        made = data_set(uid, study=study, series=f"{study}.1", size=16)
        made.PixelData = text.ljust(256, b"x")
        content = encoded(made)
        lines = [f"Content-Length: {len(content)}"] if fields else []
        body = multipart([content], "b", lines)
        answer = post(running, body, "multipart/related; boundary=b")
        assert answer.status_code == status, (text, answer.text)
        if status == 200:
            retrieved = running.retrieved(study, f"{study}.1", uid).content
            part = retrieved.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
            assert dcmread(BytesIO(part)).PixelData == made.PixelData
        else:
            assert running.retrieved(study, f"{study}.1", uid).status_code == 404


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, identity", "x"])
def test_no_body_is_unpacked(running: Storing, coding: str) -> None:
    bomb = gzip.compress(bytes(2**26))
    with bounded_memory(running):
        check_refused(post(running, bomb, **{"Content-Encoding": coding}), 415, "Content-Encoding")
    in_part = b"--b\r\nContent-Type: application/dicom\r\nContent-Encoding: gzip\r\n\r\n" + bomb + b"\r\n--b--"
    assert post(running, in_part, "multipart/related; boundary=b").status_code == 409


# --- metadata and bulk data


def metadata_body(files: Files, locations: Sequence[str], parts: Sequence[tuple[str, bytes]]) -> bytes:
    """Metadata whose pixels are at these locations, and parts of bulk data by their locations."""
    models = []
    for (_, content), location in zip(files, locations, strict=True):
        model = dcmread(BytesIO(content)).to_json_dict()
        models.append({**model, "7FE00010": {"vr": "OB", "BulkDataURI": location}})
    body = b"--b\r\nContent-Type: application/dicom+json\r\n\r\n" + json.dumps(models).encode()
    for location, content in parts:
        body += f"\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Location: {location}\r\n\r\n".encode()
        body += content
    return body + b"\r\n--b--"


METADATA = 'multipart/related; type="application/dicom+json"; boundary=b'


@pytest.mark.parametrize(
    "location",
    [
        "../../../etc/passwd",
        "file:///etc/passwd",
        "/etc/passwd",
        "http://127.0.0.1:1/x",
        "bulk/%2e%2e/x",
        "b\\x",
        "1.2.3",
    ],
)
def test_locations_are_names_and_nothing_is_fetched(running: Storing, location: str) -> None:
    files = new_study(1)
    missing = post(running, metadata_body(files, [location], []), METADATA)
    assert missing.status_code == 409 and "are not in the request" in missing.headers["Warning"]
    pixels = dcmread(BytesIO(files[0][1])).PixelData
    stored = post(running, metadata_body(files, [location], [(location, pixels)]), METADATA)
    assert stored.status_code == 200, stored.text


def test_two_instances_share_a_part_and_a_part_with_two_contents_is_refused(running: Storing) -> None:
    files = new_study(2)
    pixels = dcmread(BytesIO(files[0][1])).PixelData
    shared = post(running, metadata_body(files, ["x", "x"], [("x", pixels)]), METADATA)
    assert shared.status_code == 200 and len(stored_uids(shared)) == 2
    files = new_study(1)
    twice = post(running, metadata_body(files, ["x"], [("x", pixels), ("x", bytes(256))]), METADATA)
    assert twice.status_code == 409 and "several parts" in twice.headers["Warning"]


def test_metadata_cannot_name_themselves_as_bulk_data(running: Storing) -> None:
    files = new_study(1)
    body = metadata_body(files, ["self"], []).replace(
        b"application/dicom+json\r\n\r\n", b"application/dicom+json\r\nContent-Location: self\r\n\r\n", 1
    )
    assert post(running, body, METADATA).status_code == 409


# --- framing


def exchanged(running: Storing, sent: bytes) -> tuple[int, bytes]:
    with connected(running.service.port) as connection:
        connection.sendall(sent)
        return raw_answer(connection)


def test_chunk_extensions_and_trailers_are_dropped(running: Storing) -> None:
    files = new_study(1)
    body = multipart([files[0][1]])
    chunks = b"".join(
        b'%x;name="a;b" ; x\r\n%b\r\n' % (len(body[at : at + 99]), body[at : at + 99]) for at in range(0, len(body), 99)
    )
    status, _ = exchanged(running, head(-1, "Transfer-Encoding: chunked") + chunks + b"0;last\r\nX-Trailer: 1\r\n\r\n")
    assert status == 200
    assert running.found(StudyInstanceUID=files[0][0].rpartition(".1.")[0]) == [files[0][0]]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (("Transfer-Encoding: chunked", "Content-Length: 5"), {400}),
        (("Content-Length: 5", "Content-Length: 5"), {400}),
        (("Transfer-Encoding: chunked, chunked",), {400}),
        (("Transfer-Encoding: gzip, chunked",), {400, 501}),
        (("Transfer-Encoding: identity",), {400, 411, 501}),
        (("Expect: 100-continue", "Expect: 100-continue", "Content-Length: 0"), {400, 417}),
        (("Content-Length: 99999999999999",), {413}),
        (("Content-Length: -1",), {400}),
        ((), {411}),
    ],
    ids=lambda value: " + ".join(value) if isinstance(value, tuple) else "",
)
def test_framing_that_leaves_doubts_is_refused(running: Storing, fields: Sequence[str], expected: set[int]) -> None:
    status, _ = exchanged(running, head(-1, *fields))
    assert status in expected


def test_a_client_that_expects_twice_is_invited_once(running: Storing) -> None:
    files = new_study(1)
    body = multipart([files[0][1]])
    with connected(running.service.port) as connection:
        connection.sendall(head(len(body), "Expect: 100-continue", "Expect: 100-continue"))
        status, received = raw_answer(connection)
        assert (status, received) == (100, b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(body)
        assert raw_answer(connection)[0] == 200


OTHERS = [
    "/",
    "/aetitle",
    "/aetitle/series",
    "/aetitle/instances",
    "/aetitle/studies/1.2/series",
    "/aetitle/studies/1/2/3",
]


@pytest.mark.parametrize(
    "path", [*OTHERS, "/aetitle/studies/1.2/metadata", "/aetitle/health", "/studies", "/unknown/studies"]
)
def test_bodies_to_other_resources_are_refused(running: Storing, path: str) -> None:
    url = f"http://127.0.0.1:{running.service.port}{path}"
    small = requests.post(url, b"x" * 1000, headers={"Content-Type": content_type()}, timeout=60)
    assert small.status_code in (404, 405)
    with bounded_memory(running):
        status, _ = exchanged(running, head(2**33, path=path))
        assert status in (404, 405, 413)
