"""An answer says what its time went into, and whether it came from the cache."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.service.archive import Sample
from tests.service.process import Service

CT = "CT_small.dcm"
INSTANCE = "/studies/{0}/series/{1}/instances/{2}"


@pytest.fixture(scope="module")
def slow(datastore_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Each call to AHI takes 60 ms."""
    environment = {"DATASTORE_ROOT": str(datastore_root), "WEB_PROCESSES": "1", "DATASTORE_FAULTS": "*:latency=60ms"}
    service = Service(tmp_path_factory.mktemp("slow"), environment)
    yield service
    assert service.stop() == 0


def told(service: Service, path: str) -> dict[str, str]:
    """The parts of Server-Timing, milliseconds or words."""
    header = requests.get(service.root + path, timeout=60).headers["Server-Timing"]
    return dict(part.replace(";dur=", ";").replace(";desc=", ";").split(";") for part in header.split(", "))


def test_a_frame_says_what_ahi_took_until_it_is_in_the_cache(slow: Service, samples: dict[str, Sample]) -> None:
    path = INSTANCE.format(*samples[CT].uids) + "/frames/1"
    cold, warm = told(slow, path), told(slow, path)
    assert set(cold) == {"total", "db", "fetchers", "ahi", "cache"}
    assert 2 * 60 <= float(cold["ahi"]) <= float(cold["fetchers"]) <= float(cold["total"]) + 0.2
    assert (cold["cache"], warm["cache"]) == ("miss", "hit")
    assert not {"fetchers", "ahi"} & set(warm)


def test_a_picture_says_what_drawing_took(slow: Service, samples: dict[str, Sample]) -> None:
    path = INSTANCE.format(*samples["MR_small.dcm"].uids) + "/rendered?viewport=40,40"
    cold, warm = told(slow, path), told(slow, path)
    assert float(cold["ahi"]) >= 2 * 60
    assert 0 < float(cold["render"]) <= float(cold["fetchers"])
    assert (cold["cache"], warm["cache"]) == ("miss", "hit")
    assert not {"render", "ahi"} & set(warm)


def test_metadata_says_whether_it_was_prepared(slow: Service, samples: dict[str, Sample]) -> None:
    path = INSTANCE.format(*samples["JPEG2000.dcm"].uids) + "/metadata"
    assert [told(slow, path)["cache"] for _ in range(2)] == ["miss", "hit"]


def test_a_search_without_doubts_takes_nothing_from_the_cache(slow: Service, samples: dict[str, Sample]) -> None:
    study = samples["CT_small.dcm"].study_instance_uid
    assert set(told(slow, f"/studies?StudyInstanceUID={study}")) == {"total", "db"}
