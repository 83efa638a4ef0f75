"""Faults: how they are written, when they happen, and what a client of the data store meets."""

import gzip
import logging
import socket
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import urllib3
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError, ReadTimeoutError

from datastore.serving.effects import Corrupt, Cut, Effect, Label, Limit, Longer, Refuse, Trickle, Wait
from datastore.serving.faults import Fault, Faults, parse_faults
from tests.datastore.shelf import DATASTORE_ID, Shelf, frame_id, identifier, image_set
from tests.datastore_server import served
from tests.waiting import wait_for

FRAME = bytes(range(256)) * 400  # 102,400 bytes
ONE = {"datastoreId": DATASTORE_ID, "imageSetId": identifier(1)}
ROOT = Path(__file__).parents[3]

# --- how they are written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        ("GetImageFrame:429", Refuse(429)),
        ("*:503", Refuse(503)),
        ("*:latency=40ms", Wait(0.04)),
        ("*:latency=1.5s", Wait(1.5)),
        ("GetImageFrame:trickle=8kB/s", Trickle(8000)),
        ("GetImageFrame:trickle=500B/s", Trickle(500)),
        ("GetImageFrame:cut", Cut(in_body=False)),
        ("GetImageFrame:cut-body", Cut(in_body=True)),
        ("GetImageFrame:corrupt", Corrupt()),
        ("GetImageFrame:corrupt=0", Corrupt(0)),
        ("GetImageFrame:longer=1000", Longer(1000)),
        ("GetImageFrame:type=text/plain", Label("text/plain")),
        ("*:rate", Limit(None)),
        ("GetImageSetMetadata:rate=50/100", Limit((50, 100))),
    ],
)
def test_an_effect_is_written(text: str, effect: Effect) -> None:
    (fault,) = parse_faults(text)
    assert (fault.effect, fault.target, fault.probability, fault.calls) == (effect, None, 1.0, None)


@pytest.mark.parametrize(
    ("text", "probability", "calls"),
    [("*:429:0.1", 0.1, None), ("*:429:1", 1.0, None), ("*:429:0", 0.0, None), ("*:429:x3", 1.0, 3)],
)
def test_how_often_is_written(text: str, probability: float, calls: int | None) -> None:
    assert (Fault.from_text(text).probability, Fault.from_text(text).calls) == (probability, calls)


def test_several_are_separated_by_commas() -> None:
    faults = parse_faults("GetImageFrame/f1:429:0.1, *:latency=40ms ,")
    assert [(fault.operation, fault.target) for fault in faults] == [("GetImageFrame", "f1"), ("*", None)]


@pytest.mark.parametrize(
    "text",
    ["429", "GetImageFrames:429", "*:418", "*:", "*:latency", "*:latency=40", "*:latency=-1s", "*:trickle=0B/s",
     "*:trickle=0.00kB/s", "*:cut-head", "*:429:often", "*:429:1.5", "*:429:x", "*:429:x1:x1", "*/../x:429",
     "*:rate=50"],
)  # fmt: skip
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        Faults.from_text(text)


# --- when they happen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "operation", "targets", "happens"),
    [
        ("*:429", "GetImageSet", (), True),
        ("GetImageFrame:429", "GetImageFrame", ("a",), True),
        ("GetImageFrame:429", "GetImageSet", ("a",), False),
        ("GetImageFrame/a:429", "GetImageFrame", ("a", "b"), True),
        ("GetImageFrame/b:429", "GetImageFrame", ("a", "b"), True),
        ("GetImageFrame/c:429", "GetImageFrame", ("a", "b"), False),
        ("*:429:0", "GetImageFrame", (), False),
        ("*:429:x0", "GetImageFrame", (), False),
    ],
)
def test_a_fault_happens_to_the_calls_that_it_names(
    fault: str, operation: str, targets: tuple[str, ...], happens: bool
) -> None:
    assert Faults.from_text(fault).meet(operation, targets) == ((Refuse(429),) if happens else ())


def test_a_counted_fault_happens_to_the_next_calls_that_it_names() -> None:
    faults = Faults.from_text("GetImageFrame:429:x2")
    operations = ["GetImageFrame", "GetImageSet", "GetImageFrame", "GetImageFrame"]
    assert [bool(faults.meet(operation, ())) for operation in operations] == [True, False, True, False]
    assert faults.in_force() == {"GetImageFrame:429:x2": 2}


def test_a_probable_fault_happens_that_often() -> None:
    faults = Faults(parse_faults("*:429:0.3"), random=Random(1))  # noqa: S311 - chance that repeats
    met = sum(bool(faults.meet("GetImageFrame", ())) for _ in range(2000))
    assert 500 < met < 700


def test_a_call_waits_before_it_is_refused() -> None:
    assert Faults.from_text("*:429,*:latency=40ms").meet("GetImageSet", ()) == (Wait(0.04), Refuse(429))


@pytest.mark.parametrize(
    ("fault", "operation", "burst"),
    [("*:rate", "GetImageSetMetadata", 100), ("*:rate", "ListDatastores", 10), ("*:rate=0/7", "GetImageFrame", 7)],
)
def test_a_rate_takes_a_burst_and_then_refuses(fault: str, operation: str, burst: int) -> None:
    faults = Faults.from_text(fault)
    answers = Counter(faults.meet(operation, ()) for _ in range(burst + 50))
    assert burst <= answers[()] <= burst + 5  # what is refilled meanwhile
    assert answers[(Refuse(429),)] >= 45


def test_a_rate_refills() -> None:
    faults = Faults.from_text("*:rate=100/1")
    assert [bool(faults.meet("GetImageSet", ())) for _ in range(2)] == [False, True]
    time.sleep(0.03)
    assert not faults.meet("GetImageSet", ())


# --- what a client meets ----------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, new_client: Callable[..., Any]) -> Iterator["Store"]:
    path = tmp_path / "frame"
    path.write_bytes(FRAME)
    frames = {frame_id(number): (path, "image/jph") for number in (1, 2)}
    with served(Shelf(image_set(1), image_set(2), frames=frames)) as url, urllib3.PoolManager(retries=False) as http:
        yield Store(url, new_client(url, read_timeout=1), http)


class Store:
    """A data store, its client and its controls."""

    def __init__(self, url: str, client: Any, http: urllib3.PoolManager) -> None:
        self.url, self.client, self._http = url, client, http

    def frame(self, number: int = 1) -> bytes:
        which = {"imageFrameInformation": {"imageFrameId": frame_id(number)}}
        return bytes(self.client.get_image_frame(**ONE, **which)["imageFrameBlob"].read())

    def control(self, method: str, path: str, body: Any = None) -> urllib3.BaseHTTPResponse:
        return self._http.request(method, self.url + path, json=body)

    def disturb(self, *faults: str) -> None:
        assert self.control("PUT", "/faults", {"faults": list(faults)}).status == 200


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "ValidationException"),
        (402, "ServiceQuotaExceededException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (406, "NotAcceptableException"),
        (409, "ConflictException"),
        (429, "ThrottlingException"),
        (500, "InternalServerException"),
        (503, "ServiceUnavailableException"),
    ],
)
@pytest.mark.slow
def test_a_refused_call_is_an_error_of_ahi(store: Store, status: int, error: str) -> None:
    store.disturb(f"GetImageFrame:{status}:x1")
    with pytest.raises(ClientError) as refused:
        store.frame()
    answer = refused.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (error, status)
    assert store.frame() == FRAME


def test_latency_delays_the_answer(store: Store) -> None:
    store.disturb("GetImageFrame:latency=150ms:x1")
    started = time.monotonic()
    assert store.frame() == FRAME
    assert time.monotonic() - started >= 0.15


def test_a_client_gives_up_on_an_answer_that_is_too_late(store: Store) -> None:
    store.disturb("GetImageFrame:latency=1.3s:x1")
    with pytest.raises(ReadTimeoutError):
        store.frame()


def test_a_trickle_begins_at_once_and_takes_its_time(store: Store) -> None:
    store.disturb("GetImageFrame:trickle=100kB/s:x1")
    which = {"imageFrameInformation": {"imageFrameId": frame_id(1)}}
    body = store.client.get_image_frame(**ONE, **which)["imageFrameBlob"]
    first = body.read(1000)
    began = time.monotonic()
    assert first + body.read() == FRAME
    assert time.monotonic() - began > 0.3


def test_a_connection_is_cut_before_the_answer(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.disturb("GetImageFrame:cut:x1")
    with caplog.at_level(logging.WARNING), pytest.raises(ConnectionClosedError):
        store.frame()
    assert store.frame() == FRAME
    assert not [record for record in caplog.records if record.name.startswith(("waitress", "datastore"))]


def test_a_connection_is_cut_in_the_body(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.disturb("GetImageFrame:cut-body:x1")
    with socket.create_connection(("127.0.0.1", int(store.url.rpartition(":")[2]))) as connection:
        body = b'{"imageFrameId": "%s"}' % frame_id(1).encode()
        path = f"/datastore/{DATASTORE_ID}/imageSet/{identifier(1)}/getImageFrame"
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head_bytes, _, got = received.partition(b"\r\n\r\n")
    assert f"content-length: {len(FRAME)}".encode() in head_bytes.lower()
    assert got == FRAME[: len(FRAME) // 2]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_boto3_notices_a_body_that_is_cut(store: Store) -> None:
    store.disturb("GetImageFrame:cut-body:x1")
    with pytest.raises(BotoCoreError):
        store.frame()
    assert store.frame() == FRAME


def test_one_byte_of_a_corrupt_body_is_wrong(store: Store) -> None:
    store.disturb("GetImageFrame:corrupt:x1")
    assert [index for index, (ours, sent) in enumerate(zip(store.frame(), FRAME, strict=True)) if ours != sent] == [
        len(FRAME) // 2
    ]


@pytest.mark.parametrize(("position", "wrong"), [(0, 0), (17, 17), (999_999_999, len(FRAME) - 1)])
def test_a_chosen_byte_is_wrong(store: Store, position: int, wrong: int) -> None:
    store.disturb(f"GetImageFrame:corrupt={position}:x1")
    pairs = enumerate(zip(store.frame(), FRAME, strict=True))
    assert [index for index, (ours, sent) in pairs if ours != sent] == [wrong]


def test_a_length_beyond_the_body_is_noticed(store: Store) -> None:
    store.disturb("GetImageFrame:longer=1000:x1")
    with pytest.raises(BotoCoreError):
        store.frame()
    assert store.frame() == FRAME


@pytest.mark.parametrize(
    ("fault", "content_type"), [("type=text/plain", "text/plain"), ("body=html", "text/html"), ("half", "image/jph")]
)
def test_a_type_may_be_another_one(store: Store, fault: str, content_type: str) -> None:
    store.disturb(f"GetImageFrame:{fault}:x1")
    which = {"imageFrameInformation": {"imageFrameId": frame_id(1)}}
    assert store.client.get_image_frame(**ONE, **which)["contentType"].startswith(content_type)


def test_corrupt_metadata_cannot_be_unpacked(store: Store) -> None:
    store.disturb("GetImageSetMetadata:corrupt")
    with pytest.raises((OSError, EOFError, zlib.error)):
        gzip.decompress(store.client.get_image_set_metadata(**ONE)["imageSetMetadataBlob"].read())


@pytest.mark.parametrize(
    "fault", [f"*/{frame_id(2)}:500", f"GetImageSet/{identifier(1)}:500", "GetImageSetMetadata:cut"]
)
def test_other_calls_are_left_alone(store: Store, fault: str) -> None:
    store.disturb(fault)
    assert store.frame(1) == FRAME


@pytest.mark.parametrize("fault", [f"*/{frame_id(2)}:500", f"GetImageFrame/{identifier(1)}:500"])
def test_a_fault_of_one_frame_or_image_set_happens_to_it(store: Store, fault: str) -> None:
    store.disturb(fault)
    with pytest.raises(ClientError, match="InternalServerException"):
        store.frame(2)


def test_faults_are_seen_and_lifted_at_run_time(store: Store) -> None:
    assert store.control("PUT", "/faults", {"faults": "GetImageFrame:429:x1, *:latency=1ms"}).status == 200
    with pytest.raises(ClientError):
        store.frame()
    assert store.control("GET", "/faults").json() == {"faults": {"GetImageFrame:429:x1": 1, "*:latency=1ms": 1}}
    assert store.control("DELETE", "/faults").json() == {"faults": {}}
    assert store.frame() == FRAME


@pytest.mark.parametrize("body", [None, [], {}, {"faults": 429}, {"faults": "GetImageFrame:999"}, {"faults": ["*"]}])
def test_faults_that_cannot_be_change_nothing(store: Store, body: Any) -> None:
    store.disturb("GetImageSet:429")
    answer = store.control("PUT", "/faults", body)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "ValidationException")
    assert store.control("GET", "/faults").json() == {"faults": {"GetImageSet:429": 0}}


def test_calls_are_counted_refused_ones_too(store: Store) -> None:
    store.disturb("GetImageFrame:429:x1")
    with pytest.raises(ClientError):
        store.frame()
    store.frame()
    store.client.get_datastore(datastoreId=DATASTORE_ID)
    assert store.control("GET", "/calls").json() == {"GetImageFrame": 2, "GetDatastore": 1}
    assert store.control("DELETE", "/calls").json() == {"GetImageFrame": 2, "GetDatastore": 1}
    assert store.control("GET", "/calls").json() == {}


# --- the server -------------------------------------------------------------------------------------------------------

PROGRAM = """
from datastore.serving.faults import Faults
from datastore.serving.server import listen, serve
from tests.datastore.shelf import Shelf, image_set

listener = listen()
print(listener.getsockname()[1], flush=True)
serve(Shelf(image_set(1)), Faults.from_text("GetImageSet:latency=400ms"), listener)
"""


@contextmanager
def program() -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process, f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def test_sigterm_ends_the_server_after_what_is_being_answered(new_client: Callable[..., Any]) -> None:
    with program() as (process, url), urllib3.PoolManager(retries=False) as http, ThreadPoolExecutor(1) as thread:
        answer = thread.submit(new_client(url).get_image_set, **ONE)
        wait_for(lambda: "GetImageSet" in http.request("GET", f"{url}/calls").json())
        process.terminate()
        assert process.wait(timeout=60) == 0
        assert answer.result()["versionId"] == "1"
