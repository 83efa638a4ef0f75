"""Answers and errors of AHI over real HTTP: their translation, and the retries."""

import gzip
import json
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from urllib3 import HTTPResponse

from ahi.client.calls import AhiClient
from ahi.image_sets.image_set import ImageSetKey
from datastore.serving.faults import Faults, parse_faults
from dicomweb.errors import NotFound, ProxyError, UpstreamBusy, UpstreamFailed
from runtime.shared_metrics import Metric, ProcessMetrics
from runtime.timing import TimedPart, start_timing
from tests.datastore.shelf import DATASTORE_ID, Shelf, frame_id, identifier, image_set
from tests.datastore_server import served
from tests.servers import free_port

KEY = ImageSetKey(DATASTORE_ID, identifier(1))
FRAME = frame_id(1)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def process_metrics() -> ProcessMetrics:
    return ProcessMetrics.alone()


@pytest.fixture(params=["the first frame", "a later frame"])
def client(
    request: pytest.FixtureRequest,
    faults: Faults,
    process_metrics: ProcessMetrics,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[AhiClient]:
    """boto3 asks for the first frame, and `ahi.client.frame_calls` for those that follow."""
    path = tmp_path / "frame"
    path.write_bytes(b"stored bytes")
    with served(Shelf(image_set(1), frames={FRAME: (path, "image/jph")}), faults) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        client = AhiClient(region="us-east-1", deadline_seconds=3, process_metrics=process_metrics)
        if request.param == "a later frame":
            client.image_frame(KEY, FRAME)
            process_metrics.set(Metric.AHI_GET_IMAGE_FRAME, 0)
        yield client
        client.close()


def test_the_three_calls_of_a_reader(client: AhiClient) -> None:
    properties = client.image_set(KEY)
    assert (properties.version, properties.is_primary) == ("1", True)
    assert json.loads(gzip.decompress(client.image_set_metadata(KEY, "1")))["ImageSetID"] == KEY.image_set_id
    assert client.image_frame(KEY, FRAME) == b"stored bytes"


@pytest.mark.parametrize(
    ("key", "frame"),
    [
        (ImageSetKey(DATASTORE_ID, identifier(2)), FRAME),
        (ImageSetKey("x" * 32, identifier(1)), FRAME),
        (ImageSetKey(DATASTORE_ID, "ill-formed"), FRAME),
        (KEY, frame_id(2)),
    ],
)
@pytest.mark.slow
def test_what_ahi_does_not_have_is_not_found(client: AhiClient, key: ImageSetKey, frame: str) -> None:
    with pytest.raises(NotFound):
        client.image_frame(key, frame)


@pytest.mark.parametrize("fault", ["429:x2", "409:x2", "500:x2", "503:x2", "cut:x1", "cut-body:x1"])
@pytest.mark.slow
def test_what_passes_is_tried_again(client: AhiClient, faults: Faults, fault: str) -> None:
    faults.replace(parse_faults(f"GetImageFrame:{fault}"))
    assert client.image_frame(KEY, FRAME) == b"stored bytes"


@pytest.mark.parametrize(
    ("fault", "error"), [("429", UpstreamBusy), ("409", UpstreamBusy), ("503", UpstreamBusy), ("403", UpstreamFailed)]
)
@pytest.mark.slow
def test_what_lasts_is_given_up_within_the_deadline(
    client: AhiClient, faults: Faults, fault: str, error: type[ProxyError]
) -> None:
    faults.replace(parse_faults(f"GetImageFrame:{fault}"))
    began = time.monotonic()
    with pytest.raises(error) as raised:
        client.image_frame(KEY, FRAME)
    assert time.monotonic() - began < 30
    assert "arn:" not in str(raised.value)


def test_refusals_are_not_tried_again(client: AhiClient, faults: Faults) -> None:
    faults.replace(parse_faults("GetImageFrame:403:x1"))
    with pytest.raises(UpstreamFailed):
        client.image_frame(KEY, FRAME)
    assert client.image_frame(KEY, FRAME) == b"stored bytes"


def test_a_ping_tells_whether_ahi_answers(client: AhiClient, faults: Faults) -> None:
    client.ping(DATASTORE_ID)
    client.ping(None)
    faults.replace(parse_faults("GetDatastore:500"))
    with pytest.raises(UpstreamBusy):
        client.ping(DATASTORE_ID)
    faults.replace(parse_faults("GetDatastore:403"))  # it knows us; reading image sets needs no right to this call
    client.ping(DATASTORE_ID)


def test_nobody_at_the_endpoint_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client = AhiClient(region="us-east-1", deadline_seconds=1)
    with pytest.raises(UpstreamBusy):
        client.image_set(KEY)
    client.close()


def test_the_service_of_aws_is_asked_under_its_runtime_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client = AhiClient(region="eu-west-1")
    asked: list[str] = []

    def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        asked.append(request.url)
        raw = HTTPResponse(BytesIO(b"{}"), preload_content=False)
        return AWSResponse(
            request.url, 404, HTTPHeaders.from_dict({"x-amzn-errortype": "ResourceNotFoundException"}), raw
        )

    client._client.meta.events.register("before-send.medical-imaging", answer)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        client.image_set(KEY)
    client.close()
    assert asked[0].startswith("https://runtime-medical-imaging.eu-west-1.amazonaws.com/datastore/")


def test_a_call_passes_the_trace_on_that_it_is_part_of(client: AhiClient) -> None:
    sent: list[Any] = []
    client._client.meta.events.register("before-send.medical-imaging", lambda request, **_: sent.append(request))
    timing = start_timing()
    client.image_set(KEY)
    timing.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    client.image_set(KEY)
    start_timing()
    assert [request.headers.get("traceparent") for request in sent] == [None, timing.traceparent.encode()]


def test_what_a_call_took_is_told_with_each_attempt(client: AhiClient, faults: Faults) -> None:
    faults.replace(parse_faults("GetImageFrame:429:x1"))
    timing, parts = start_timing(), list[TimedPart]()
    timing.tell = parts.append
    client.image_frame(KEY, FRAME)
    start_timing()
    assert [(part.name, part.what, part.error) for part in parts] == [
        ("ahi", "GetImageFrame", "ThrottlingException"),
        ("ahi", "GetImageFrame", ""),
    ]


def test_calls_are_counted_and_what_was_wrong_with_them(
    client: AhiClient, faults: Faults, process_metrics: ProcessMetrics
) -> None:
    faults.replace(parse_faults("GetImageFrame:429:x2,GetImageSet:500:x1"))
    client.image_frame(KEY, FRAME)
    client.image_set(KEY)
    counted = {count: number for count, number in process_metrics.counters.totals().items() if number}
    assert counted == {
        Metric.AHI_GET_IMAGE_FRAME: 3,
        Metric.AHI_GET_IMAGE_SET: 2,
        Metric.AHI_RETRIES: 3,
        Metric.AHI_THROTTLES: 2,
    }
