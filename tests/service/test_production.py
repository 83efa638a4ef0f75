"""The production way: credentials from Secrets Manager, the index in MariaDB, AHI at an endpoint; and their outages."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
from dicomweb_client import DICOMwebClient

from tests.servers import MariaDb
from tests.service.ahi import CREDENTIALS, Ahi
from tests.service.archive import Sample
from tests.service.process import Service


@pytest.fixture(scope="module")
def production(secret_arn: tuple[str, str], ahi: Ahi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    arn, secrets = secret_arn
    environment = {
        **CREDENTIALS,
        "DB_SECRET_ARN": arn,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": secrets,
        "AWS_ENDPOINT_URL_MEDICAL_IMAGING": ahi.url,
        "IMAGE_SET_FRESH_SECONDS": "0.5",
    }
    service = Service(tmp_path_factory.mktemp("production"), environment)
    yield service
    assert service.stop() == 0


def test_the_log_is_what_operators_know(production: Service) -> None:
    log = production.log
    assert log.index("[Startup] - Forking FrameFetcher FF0") < log.index("QIDO/WADO-RS service started.")
    assert "p@ss" not in log


def test_search_and_retrieval_work_from_the_index_as_its_writer_fills_it(
    production: Service, samples: dict[str, Sample]
) -> None:
    client = DICOMwebClient(production.root)
    found = client.search_for_studies(limit=1000)
    assert {one["0020000D"]["Value"][0] for one in found} >= {sample.study_instance_uid for sample in samples.values()}
    sample = samples["CT_small.dcm"]
    instance = client.retrieve_instance(*sample.uids)
    assert np.array_equal(instance.pixel_array, sample.read().pixel_array)


def _get(production: Service, sample: Sample, rest: str) -> requests.Response:
    study, series, instance = sample.uids
    path = f"/studies/{study}/series/{series}/instances/{instance}{rest}"
    return requests.get(production.root + path, timeout=60)


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("MR_small.dcm", "GetImageFrame:429:x2"),
        ("MR_small_RLE.dcm", "GetImageFrame:500:x2"),
        ("MR_small_bigendian.dcm", "GetImageFrame:cut:x1"),
        ("MR_small_expb.dcm", "GetImageFrame:cut-body:x1"),
        ("MR_small_implicit.dcm", "GetImageFrame:corrupt:x1"),
        ("MR_small_padded.dcm", "GetImageSetMetadata:409:x2"),
    ],
)
def test_what_passes_is_not_noticed(
    production: Service, ahi: Ahi, samples: dict[str, Sample], name: str, faults: str
) -> None:
    ahi.faults(faults)
    answer = _get(production, samples[name], "/frames/1")
    ahi.faults("")
    assert answer.status_code == 200
    assert samples[name].read().Rows * samples[name].read().Columns * 2 < len(answer.content)


@pytest.mark.parametrize(
    ("name", "faults", "status"),
    [
        ("JPEG2000.dcm", "GetImageFrame:corrupt", 502),
        ("693_J2KI.dcm", "GetImageFrame:403", 502),
        ("image_dfl.dcm", "GetImageFrame:404", 404),
        ("rtdose_1frame.dcm", "GetImageFrame:429", 503),
    ],
)
def test_what_lasts_is_told_and_forgotten_when_it_is_over(
    production: Service, ahi: Ahi, samples: dict[str, Sample], name: str, faults: str, status: int
) -> None:
    ahi.faults(faults)
    answer = _get(production, samples[name], "/frames/1")
    ahi.faults("")
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert ("Retry-After" in answer.headers) == (status == 503 or "corrupt" in faults)  # which may pass
    assert _get(production, samples[name], "/frames/1").status_code == 200


def told(service: Service, name: str, before: str) -> list[str]:
    """What the log says of one outage of a service and its end, after what it said before."""

    def lines() -> list[str]:
        found = service.log[len(before) :].splitlines()
        return [line[line.index(name) :] for line in found if f"{name} does not" in line or f"{name} answers" in line]

    service.wait(lambda: len(lines()) >= 2)
    return lines()


def test_an_outage_of_ahi_is_survived(production: Service, ahi: Ahi, samples: dict[str, Sample]) -> None:
    sample, before = samples["examples_rgb_color.dcm"], production.log
    ahi.stop()
    answer = _get(production, sample, "/metadata")
    production.answer("/health", 503)  # it is looked at once a second
    ahi.start()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert _get(production, sample, "/metadata").status_code == 200
    production.answer("/health", 200)  # it is renewed in the background
    gone, back = told(production, "AHI", before)
    assert gone == "AHI does not answer: EndpointConnectionError"
    assert re.fullmatch(r"AHI answers again after=[0-9.]+s", back)


def test_an_outage_of_the_index_is_survived(production: Service, mariadb: MariaDb) -> None:
    before = production.log
    mariadb.stop()
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(production.status, ["/studies"] * 24)) == {503}
    answer = requests.get(production.root + "/studies", timeout=60)
    health = production.answer("/health", 503)  # each web process looks once a second
    mariadb.start()
    assert answer.status_code == 503
    assert "index" in health.json()["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    assert "SELECT" not in answer.text
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(production.status, ["/studies?limit=1"] * 24)) == {200}
    production.answer("/health", 200)  # it is looked at once a second
    gone, back = told(production, "index", before)
    assert gone.startswith("index does not answer: OperationalError")
    assert float(re.match(r"index answers again after=([0-9.]+)s", back)[1]) < 120  # type: ignore[index]


def test_an_index_that_has_fallen_silent_holds_up_nobody_else(production: Service, mariadb: MariaDb) -> None:
    with ThreadPoolExecutor(12) as threads:
        with mariadb.silent():
            waiting = [threads.submit(production.status, "/studies?limit=1") for _ in range(12)]
            assert [production.status(path) for path in 20 * ["/live"]] == [200] * 20
            assert not any(one.done() for one in waiting)
        assert [one.result() for one in waiting] == [200] * 12


def test_neither_log_nor_errors_name_patients(production: Service, samples: dict[str, Sample]) -> None:
    named, sample = f"{production.root}/studies?PatientName=CompressedSamples*", samples["CT_small.dcm"]
    found, wrong = requests.get(named, timeout=60), requests.get(f"{named}&limit=x", timeout=60)
    assert (found.status_code, wrong.status_code) == (200, 400)
    assert "CompressedSamples" in found.text
    assert "CompressedSamples" not in wrong.text
    assert _get(production, sample, "/metadata").status_code == 200
    production.logs(sample.study_instance_uid)
    assert "CompressedSamples" not in production.log
