"""What Prometheus is told: the sums of all processes, in its own format, with nothing of patients."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import free_port
from tests.service.archive import Sample
from tests.service.process import Service
from tests.waiting import PATIENCE_SECONDS, wait_for

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def measured(datastore_root: Path, tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Service]:
    environment = {
        "DATASTORE_ROOT": str(datastore_root),
        "WEB_PROCESSES": "2",
        "FRAME_FETCHERS": "2",
        "METRICS_PORT": str(port),
        "CORS_ORIGINS": "https://viewer.example.org",
        "PUBLIC_URL": "https://dicom.example.org",
    }
    service = Service(tmp_path_factory.mktemp("measured"), environment)
    yield service
    assert service.stop() == 0


def told(port: int) -> Samples:
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_SECONDS).text
    return {
        (sample.name.removeprefix("dicomweb_proxy_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0)


def test_requests_are_counted_by_resource_and_status(measured: Service, port: int) -> None:
    before = told(port)
    for _ in range(20):
        assert measured.status("/studies?PatientName=DOE*&limit=1") == 200
    assert measured.status("/studies/1.2.3/metadata") == 404
    after = told(port)

    def grown(name: str, **labels: str) -> float:
        return of(after, name, **labels) - of(before, name, **labels)

    def all_counted() -> bool:
        after.update(told(port))  # a request is counted when its answer has been sent
        answered = {"/studies": "200", "/studies/<study>/metadata": "404"}
        return sum(grown("requests_total", resource=one, status=status) for one, status in answered.items()) >= 21

    wait_for(all_counted)
    assert grown("requests_total", resource="/studies", status="200") == 20
    assert grown("requests_total", resource="/studies/<study>/metadata", status="404") == 1
    assert grown("request_seconds_count", resource="/studies") == 20
    assert grown("request_seconds_bucket", resource="/studies", le="+Inf") == 20
    assert 0 < grown("request_seconds_sum", resource="/studies") < 20 * PATIENCE_SECONDS
    assert not [labels for _, labels in after if "DOE" in str(labels) or "1.2.3" in str(labels)]


def test_what_fetchers_do_is_in_it(measured: Service, port: int, samples: dict[str, Sample]) -> None:
    study, series, instance = samples["CT_small.dcm"].uids
    assert measured.status(f"/studies/{study}/series/{series}/instances/{instance}/frames/1") == 200
    found = told(port)
    assert of(found, "ahi_calls_total", operation="GetImageFrame") >= 1
    assert of(found, "cache_misses_total") >= 1
    assert of(found, "cache_written_bytes_total") > 0
    assert of(found, "jobs_done_total") >= 1
    at_rest = ("jobs_queued", "index_connections_in_use")  # but for the health check, which looks once a second
    wait_for(lambda: [of(told(port), name) for name in at_rest] == [0, 0])
    assert of(found, "index_connections_max") == 2 * 8 + 1


def test_what_the_server_refuses_by_itself_is_counted_logged_and_marked(measured: Service, port: int) -> None:
    before = told(port)
    sent = {"Origin": "https://viewer.example.org", "Content-Length": str(2**21), "X-Request-ID": "too-long"}
    found = requests.post(f"{measured.root}/prefetch?PatientID=PAT-4711", headers=sent, timeout=PATIENCE_SECONDS)
    measured.logs("request=too-long")  # as it is when it has been counted
    after, refused = told(port), {"resource": "other", "status": "413"}
    assert found.status_code == 413
    assert of(after, "requests_total", **refused) == of(before, "requests_total", **refused) + 1
    assert found.headers["Access-Control-Allow-Origin"] == "https://viewer.example.org"
    assert found.headers["Strict-Transport-Security"]
    (line,) = [line for line in measured.log.splitlines() if "request=too-long" in line]
    assert "method=POST path=/aetitle/prefetch status=413" in line
    assert "PAT-4711" not in measured.log


def test_the_service_itself_does_not_tell(measured: Service) -> None:
    assert measured.status("/metrics") == 404


def test_a_port_that_is_taken_stops_the_start_in_one_line(measured: Service, port: int, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        Service(tmp_path, {"DATASTORE_ROOT": str(tmp_path / "store"), "METRICS_PORT": str(port)})
    assert (tmp_path / "log").read_text().splitlines()[-1].startswith(f"METRICS_HOST 127.0.0.1, METRICS_PORT {port}:")
