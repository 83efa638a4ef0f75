"""A spell of 404 hides nothing for good, and a GetImageSet that is throttled or down stops nothing that is cached."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.service.ahi import Ahi
from tests.service.archive import Sample
from tests.service.process import Service

NAMES = ("CT_small.dcm", "MR_small.dcm", "color3d_jpeg_baseline.dcm", "JPEG2000.dcm", "examples_rgb_color.dcm")
STORED = "multipart/related; type=application/octet-stream; transfer-syntax=*, */*; transfer-syntax=*"
FRESH_SECONDS = 0.5

Start = Callable[[], Service]


@pytest.fixture
def start(datastore_root: Path, ahi: Ahi, tmp_path: Path) -> Iterator[Start]:
    """Starts the service, again and again with the same cache."""
    environment = {
        **ahi.environment(),
        "AHI_DEADLINE_SECONDS": "2",
        "IMAGE_SET_FRESH_SECONDS": str(FRESH_SECONDS),
        "PREFETCH_FRAMES": "0",
        "WEB_PROCESSES": "1",
        "FRAME_FETCHERS": "1",
    }
    running: list[Service] = []

    def start() -> Service:
        for one in running:
            one.stop()
        running[:] = [Service(tmp_path, environment)]
        return running[0]

    yield start
    ahi.faults("")
    for one in running:
        assert "Traceback" not in one.log
        assert one.stop() == 0


@pytest.fixture
def chosen(samples: dict[str, Sample]) -> list[Sample]:
    return [samples[name] for name in NAMES]


def _get(service: Service, sample: Sample, rest: str) -> requests.Response:
    study, series, instance = sample.uids
    path = f"/studies/{study}/series/{series}/instances/{instance}{rest}"
    return requests.get(service.root + path, headers={"Accept": STORED} if "frames" in rest else {}, timeout=60)


def _metadata(service: Service, samples: list[Sample]) -> list[int]:
    return [_get(service, sample, "/metadata").status_code for sample in samples]


def _found(service: Service, samples: list[Sample]) -> int | None:
    """How many of the samples searches find; None where lists and counts differ, as they may while that changes.

    None of them is in doubt, so no search asks AHI.
    """
    found = 0
    for sample in samples:
        key = {"StudyInstanceUID": sample.study_instance_uid}
        listed = requests.get(f"{service.root}/studies", params=key, timeout=60)
        assert listed.status_code in (200, 204), listed.text
        count = requests.get(f"{service.root}/studies/count", params=key, timeout=60).json()["count"]
        if count != (len(listed.json()) if listed.content else 0):
            return None
        found += count
    return found


def test_a_spell_of_404_hides_nothing_for_good(start: Start, ahi: Ahi, chosen: list[Sample]) -> None:
    service = start()
    assert _metadata(service, chosen) == [200] * len(chosen)
    assert _found(service, chosen) == len(chosen)
    ahi.faults("GetImageSet:404,GetImageSetMetadata:404")
    time.sleep(2 * FRESH_SECONDS)
    assert _metadata(service, chosen) == [404] * len(chosen)
    service.wait(lambda: _found(service, chosen) == 0)
    ahi.faults("")
    service.wait(lambda: _found(service, chosen) == len(chosen), 60)  # nobody retrieves any of them
    assert _metadata(service, chosen) == [200] * len(chosen)


def test_a_restart_in_a_spell_of_404_hides_nothing_for_good(start: Start, ahi: Ahi, chosen: list[Sample]) -> None:
    service = start()
    ahi.faults("GetImageSet:404")
    assert _metadata(service, chosen) == [404] * len(chosen)
    service = start()
    service.wait(lambda: _found(service, chosen) == 0)
    ahi.faults("")
    service = start()
    service.wait(lambda: _found(service, chosen) == len(chosen), 60)
    assert _metadata(service, chosen) == [200] * len(chosen)


def test_what_is_deleted_stays_hidden_and_is_asked_for_less_and_less(
    start: Start, ahi: Ahi, chosen: list[Sample]
) -> None:
    service = start()
    ahi.faults("GetImageSet:404")
    assert _metadata(service, chosen) == [404] * len(chosen)
    service.wait(lambda: _found(service, chosen) == 0)
    ahi.calls()
    time.sleep(8)
    assert _found(service, chosen) == 0
    assert ahi.calls().get("GetImageSet", 0) <= 3 * len(chosen)  # at once, then after 5 seconds, then after 10


def test_metadata_that_is_missing_deletes_nothing(start: Start, ahi: Ahi, chosen: list[Sample]) -> None:
    service = start()
    ahi.faults("GetImageSetMetadata:404")
    answer = _get(service, chosen[0], "/metadata")
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert _found(service, chosen) == len(chosen)
    ahi.faults("")
    assert _metadata(service, chosen) == [200] * len(chosen)


@pytest.mark.parametrize("fault", ["429", "503", "cut"])
def test_what_is_cached_is_served_while_only_versions_are_not_told(
    start: Start, ahi: Ahi, chosen: list[Sample], fault: str
) -> None:
    service = start()
    warm, deleted, cold = chosen[:2], chosen[2], chosen[3]
    fresh = [_get(service, sample, rest) for sample in warm for rest in ("/metadata", "/frames/1")]
    assert {answer.status_code for answer in fresh} == {200}
    assert not any("Warning" in answer.headers for answer in fresh)
    assert _metadata(service, [deleted]) == [200]
    ahi.faults("GetImageSet:404")
    time.sleep(2 * FRESH_SECONDS)
    assert _metadata(service, [deleted]) == [404]
    ahi.faults(f"GetImageSet:{fault}")
    for restarted in (False, True):  # which changes nothing
        service = start() if restarted else service
        again = [_get(service, sample, rest) for sample in warm for rest in ("/metadata", "/frames/1")]
        assert [answer.status_code for answer in again] == [200] * 4
        if not restarted:  # entity tags follow from the port, too
            assert [answer.headers["ETag"] for answer in again] == [answer.headers["ETag"] for answer in fresh]
        assert all("latest version" in answer.headers["Warning"] for answer in again)
        assert _metadata(service, [deleted, cold]) == [404, 503]
        began = time.monotonic()
        assert _metadata(service, warm * 10) == [200] * 20  # AHI is not asked for each of them
        assert time.monotonic() - began < 30
    ahi.faults("")
    service.wait(lambda: "Warning" not in _get(service, warm[0], "/metadata").headers, 90)
    assert _metadata(service, [*warm, cold]) == [200] * 3
