"""A study whose image sets the index has lost, on a running service: what becomes of it when SearchImageSets fails."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from datastore.embedded import Embedded
from tests.datastore.made import with_pixels
from tests.service.ahi import Ahi
from tests.service.process import Service

SERIES = "1.2.3.9"
LOST = [f"1.2.3.1.{number}" for number in range(12)]
"""Studies of Anna, whose series other studies use, too: the index has filed it under the last of all studies."""
KEPT = "1.2.3.2"
FAULTS = ("403", "429", "cut", "latency=9s", "body=html", "body=wrong-types")
RESOURCES = ("", "/metadata", "/rendered", "/thumbnail")


@pytest.fixture(scope="module")
def ahi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ahi, Path]]:
    folder = tmp_path_factory.mktemp("lost")
    pixels = np.arange(64, dtype="<u2").reshape(1, 8, 8)
    for number, study in enumerate([*LOST, KEPT]):
        who = (
            {"PatientID": "B", "PatientName": "BETA^BERT"}
            if study == KEPT
            else {"PatientID": "A", "PatientName": "ALPHA^ANNA"}
        )
        file = with_pixels(pixels, **who, StudyInstanceUID=study, SeriesInstanceUID=SERIES, SOPInstanceUID=f"{study}.5")
        file.save_as(folder / f"{number:03}", enforce_file_format=True)
        Embedded(folder / "store", clean_index=False).fill([folder / f"{number:03}"])
    ahi = Ahi(folder / "store")
    yield ahi, folder
    ahi.stop()


@pytest.fixture(scope="module")
def service(ahi: tuple[Ahi, Path]) -> Iterator[Service]:
    server, folder = ahi
    environment = {
        "DATABASE_URL": f"sqlite:///{folder / 'store' / 'index.sqlite'}",
        "AWS_ENDPOINT_URL_MEDICAL_IMAGING": server.url,
        **{"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"},
        **{"AHI_DEADLINE_SECONDS": "3", "WEB_PROCESSES": "1", "FRAME_FETCHERS": "1"},
    }
    service = Service(folder / "service", environment)
    yield service
    assert "Traceback" not in service.log
    assert service.stop() == 0


def get(service: Service, path: str) -> requests.Response:
    answer = requests.get(f"{service.root}/studies/{path}", headers={"Accept": "*/*"}, timeout=60)
    assert answer.status_code in (200, 404, 503), (path, answer.status_code, answer.text)
    assert answer.status_code != 503 or int(answer.headers["Retry-After"]) > 0
    return answer


def opens(service: Service, study: str) -> bool:
    answer = get(service, f"{study}/metadata")
    return answer.status_code == 200 and b"ALPHA^ANNA" in answer.content


@pytest.mark.parametrize(("number", "fault"), [*enumerate(FAULTS)])
def test_a_failure_shows_nobody_else_and_hides_nobody_for_good(
    service: Service, ahi: tuple[Ahi, Path], number: int, fault: str
) -> None:
    server, _ = ahi
    server.faults(f"SearchImageSets:{fault}")
    for resource in RESOURCES:
        lost, kept = get(service, f"{LOST[2 * number]}{resource}"), get(service, f"{KEPT}{resource}")
        assert lost.status_code in (404, 503), (resource, lost.status_code)
        assert b"BETA^BERT" not in lost.content
        assert kept.status_code == 200, (resource, kept.status_code)
        assert b"ALPHA^ANNA" not in kept.content
    of_series = get(service, f"{LOST[2 * number]}/series/{SERIES}/metadata")
    assert (of_series.status_code, b"BETA^BERT" in of_series.content) == (200, False), "the index knows its image sets"
    server.faults("")
    patience_seconds = 120 if fault == "403" else 60  # a refusal is believed for half a minute
    deadline = time.monotonic() + patience_seconds
    while not opens(service, LOST[2 * number]) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert opens(service, LOST[2 * number])
    assert opens(service, LOST[2 * number + 1])
    answer = requests.get(f"{service.root}/studies/{LOST[2 * number]}/instances", timeout=60)
    assert answer.status_code == 200
    assert b"BETA^BERT" not in answer.content
