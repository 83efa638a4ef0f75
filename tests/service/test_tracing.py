"""Requests are traced with OpenTelemetry when its variables ask for it, and nothing of patients is in a trace."""

import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.service.archive import Sample
from tests.service.collector import Collector, Received, collecting
from tests.service.process import Service

CT = "CT_small.dcm"
FRAME = "/studies/{0}/series/{1}/instances/{2}/frames/1"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced(datastore_root: Path, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    environment = {
        "DATASTORE_ROOT": str(datastore_root),
        "WEB_PROCESSES": "2",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=hospital",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    service = Service(tmp_path_factory.mktemp("traced"), environment)
    yield service
    assert service.stop() == 0


def get(service: Service, path: str, *, sampled: bool = True, **headers: str) -> str:
    """Ask as part of a trace of our own; its ID."""
    trace_id = uuid.uuid4().hex
    sent = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-{int(sampled):02}", **headers}
    requests.get(service.root + path, headers=sent, timeout=60)
    return trace_id


def server_span(found: list[Received]) -> Received:
    (one,) = [one for one in found if one.span.kind == Span.SPAN_KIND_SERVER]
    return one


def named(found: list[Received], pattern: str) -> list[Received]:
    return [one for one in found if re.fullmatch(pattern, one.span.name)]


def test_a_request_is_a_span_of_the_trace_of_its_client(traced: Service, collector: Collector) -> None:
    one = server_span(collector.of(get(traced, "/studies?limit=1&PatientName=DOE*")))
    assert one.span.name == "GET /aetitle/studies"
    assert one.span.parent_span_id.hex() == "00f067aa0ba902b7"
    assert 0 < one.span.end_time_unix_nano - one.span.start_time_unix_nano < 30e9
    told = one.attributes
    assert (told["http.request.method"], told["http.route"]) == ("GET", "/aetitle/studies")
    assert (told["http.response.status_code"], told["url.scheme"], told["url.path"]) == (
        200,
        "http",
        "/aetitle/studies",
    )
    assert (told["client.address"], told["network.protocol.version"]) == ("127.0.0.1", "1.1")
    traced.logs(f"request={told['http.response.header.x-request-id'][0]}")
    assert one.span.status.code == Status.STATUS_CODE_UNSET


def test_the_service_says_who_it_is(traced: Service, collector: Collector) -> None:
    told = server_span(collector.of(get(traced, "/live"))).resource
    assert (told["service.name"], told["deployment.environment.name"]) == ("ahi-dicomweb-proxy", "test")
    path, headers = collector.asked[-1]
    assert (path, headers["x-tenant"]) == ("/v1/traces", "hospital")


def test_statements_of_the_index_are_spans_without_values(
    traced: Service, collector: Collector, samples: dict[str, Sample]
) -> None:
    patient = samples[CT].read()
    query = f"PatientID={patient.PatientID}&StudyDate={patient.StudyDate}&StudyInstanceUID={patient.StudyInstanceUID}"
    found = collector.of(get(traced, f"/studies?{query}"))
    statements = named(found, "SELECT|WITH")
    texts = [one.attributes["db.query.text"] for one in statements]
    assert any("patientid" in text.lower() for text in texts)
    assert not any(str(value) in text for value in (patient.PatientID, patient.StudyInstanceUID) for text in texts)
    for one in statements:
        assert one.attributes["db.system.name"] == "sqlite"
        assert one.span.parent_span_id == server_span(found).span.span_id
        assert one.span.start_time_unix_nano >= server_span(found).span.start_time_unix_nano - 1e6
        assert one.span.end_time_unix_nano <= server_span(found).span.end_time_unix_nano + 1e6


def test_calls_to_ahi_are_spans_below_the_waiting_for_them(
    traced: Service, collector: Collector, samples: dict[str, Sample]
) -> None:
    path = FRAME.format(*samples[CT].uids)
    cold, warm = (collector.of(get(traced, path)) for _ in range(2))
    (call,) = named(cold, "Medical Imaging/GetImageFrame")
    (waiting,) = named(cold, "fetchers fetch_frame")
    assert call.span.parent_span_id == waiting.span.span_id
    assert waiting.span.parent_span_id == server_span(cold).span.span_id
    assert waiting.span.start_time_unix_nano <= call.span.start_time_unix_nano
    assert call.span.end_time_unix_nano <= waiting.span.end_time_unix_nano
    assert (call.attributes["rpc.service"], call.attributes["rpc.method"]) == ("Medical Imaging", "GetImageFrame")
    assert server_span(cold).attributes["http.route"].endswith("/frames/<frame_list>")
    assert not named(warm, ".*fetch_frame|.*GetImageFrame")


def test_what_nobody_samples_is_not_told(traced: Service, collector: Collector) -> None:
    dropped, kept = get(traced, "/studies", sampled=False), get(traced, "/studies")
    collector.of(kept)
    assert not [one for one in collector.spans if one.trace_id == dropped]


@pytest.mark.parametrize("header", ["", "nonsense", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "00-xyz-1-01"])
def test_a_trace_that_is_none_is_not_taken(traced: Service, collector: Collector, header: str) -> None:
    known = len(collector.spans)
    agent = uuid.uuid4().hex
    requests.get(f"{traced.root}/studies", headers={"traceparent": header, "User-Agent": agent}, timeout=60)
    mine: list[Received] = []

    def told() -> bool:
        mine[:] = [one for one in collector.spans[known:] if one.attributes.get("user_agent.original") == agent]
        return bool(mine)

    collector.wait(told)
    assert mine[0].span.parent_span_id == b""


def test_refusals_and_failures_are_told(traced: Service, collector: Collector) -> None:
    missing = server_span(collector.of(get(traced, "/nothing/DOE%5EJANE")))
    assert (missing.span.name, missing.attributes["url.path"]) == ("GET", "/aetitle/***/***")
    assert "http.route" not in missing.attributes
    assert (missing.attributes["http.response.status_code"], missing.span.status.code) == (
        404,
        Status.STATUS_CODE_UNSET,
    )


PATIENT_DATA = [
    "/studies?PatientName=DOE%5EJANE*&fuzzymatching=true",
    "/studies?PatientID=PAT-4711,PAT-4712&ModalitiesInStudy=CT&limit=7",
    "/studies?PatientBirthDate=19471231-19480101&orderby=-StudyDate",
    "/studies?00100020=PAT-4711&includefield=all&count=true",
    "/series?PatientName=DOE%5EJANE&Modality=CT",
    "/instances?PatientID=PAT-4711&SOPClassUID=1.2.840.10008.5.1.4.1.1.2",
    "/patients?PatientName=*JANE*",
    "/studies/DOE%5EJANE/series?PatientID=PAT-4711",
    "/studies/count?ReferringPhysicianName=DOE%5EJANE&AccessionNumber=PAT-4711",
]


@pytest.mark.parametrize("path", PATIENT_DATA)
def test_no_value_of_a_query_is_in_a_trace(traced: Service, collector: Collector, path: str) -> None:
    known = len(collector.bodies)
    collector.of(get(traced, path))
    sent = b"".join(collector.bodies[known:])
    hidden = (b"DOE", b"JANE", b"PAT-47", b"19471231", b"1947-12-31", b"PatientName=")
    assert sent and not [value for value in hidden if value in sent]


def test_what_is_not_sent_yet_is_sent_at_the_end(collector: Collector, datastore_root: Path, tmp_path: Path) -> None:
    environment = {
        "DATASTORE_ROOT": str(datastore_root),
        "WEB_PROCESSES": "1",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{collector.port}/own/path",
        "OTEL_SERVICE_NAME": "dicom",
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
    }
    service = Service(tmp_path, environment)
    trace_id = get(service, "/studies")
    assert not [one for one in collector.spans if one.trace_id == trace_id]
    assert service.stop() == 0
    assert server_span(collector.of(trace_id)).resource["service.name"] == "dicom"
    assert "/own/path" in [path for path, _ in collector.asked]


def test_a_collector_that_is_away_is_told_once_and_holds_up_nobody(datastore_root: Path, tmp_path: Path) -> None:
    with collecting() as collector:
        collector.status = 400
        environment = {
            "DATASTORE_ROOT": str(datastore_root),
            "WEB_PROCESSES": "2",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        service = Service(tmp_path, environment)
        for _ in range(4):
            known = len(collector.asked)
            assert service.status("/studies") == 200
            collector.wait(lambda known=known: len(collector.asked) > known)  # type: ignore[misc]
        time.sleep(2)  # for what is under way between the two: who was refused last has told it
        collector.status = 200
        collector.of(get(service, "/studies"))
        service.logs("OpenTelemetry collector answers again")
        assert service.stop() == 0
    assert service.log.count("OpenTelemetry collector does not answer") == 1
    assert "Traceback" not in service.log


def test_without_the_variables_nothing_of_it_is_loaded(service: Service) -> None:
    maps = [Path(f"/proc/{pid}/maps").read_text() for pid in (service.process.pid, *service.children())]
    assert maps and not [text for text in maps if "google/_upb" in text]


def test_with_them_it_is_loaded_in_web_processes_alone(traced: Service) -> None:
    loaded = {pid for pid in traced.children() if "google/_upb" in Path(f"/proc/{pid}/maps").read_text()}
    assert loaded == set(traced.named("web"))


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT is not a URL"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is neither otlp nor none"),
    ],
)
def test_a_wrong_variable_stops_the_start_in_one_line(
    datastore_root: Path, tmp_path: Path, variables: dict[str, str], problem: str
) -> None:
    with pytest.raises(AssertionError):
        Service(tmp_path, {"DATASTORE_ROOT": str(datastore_root), **variables})
    assert (tmp_path / "log").read_text().splitlines()[-1].startswith(problem)
