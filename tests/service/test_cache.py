"""The cache as an operator sees it: full, shown, emptied while clients read, and still there after a restart."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.service.ahi import Ahi
from tests.service.archive import Sample
from tests.service.process import ROOT, Service
from tests.small_disk import small_disk

SAMPLES = ("CT_small.dcm", "examples_ybr_color.dcm", "color3d_jpeg_baseline.dcm", "MR_small_RLE.dcm")


@pytest.fixture
def environment(datastore_root: Path, ahi: Ahi) -> dict[str, str]:
    return {
        **ahi.environment(),
        "FRAME_FETCHERS": "2",
        "WEB_PROCESSES": "1",
    }


def _series(service: Service, sample: Sample) -> bytes:
    url = f"{service.root}/studies/{sample.study_instance_uid}/series/{sample.series_instance_uid}"
    answer = requests.get(url, timeout=60)
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["Content-Length"])
    return answer.content


def test_with_a_full_disk_all_is_served_and_the_log_says_so(
    service: Service, samples: dict[str, Sample], environment: dict[str, str], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    bounded = {**environment, "CACHE_ROOT": str(cache), "CACHE_MIN_FREE_BYTES": "0"}
    full = Service(tmp_path, bounded, under=small_disk(cache))
    try:
        for name in SAMPLES * 2:
            content = _series(full, samples[name]).replace(full.root.encode(), b"")
            assert len(content) == len(_series(service, samples[name]).replace(service.root.encode(), b""))
        assert 1 <= full.log.count("the disk of the cache is full") <= 2  # once for each fetcher
    finally:
        assert full.stop() == 0


def test_a_restart_finds_the_cache_warm_and_emptying_it_makes_it_cold(
    samples: dict[str, Sample], environment: dict[str, str], ahi: Ahi, tmp_path: Path
) -> None:
    sample = samples["CT_small.dcm"]
    frames = []
    ahi.calls()
    for _ in range(2):
        service = Service(tmp_path, environment)
        _series(service, sample)
        frames.append(ahi.calls().get("GetImageFrame", 0))
        if len(frames) == 2:
            shown = _cache(environment, tmp_path)
            emptied = _cache(environment, tmp_path, "--empty")
            _series(service, sample)
            frames.append(ahi.calls().get("GetImageFrame", 0))
        assert service.stop() == 0
    assert frames == [1, 0, 1]
    assert [line.split()[:2] for line in shown.splitlines()[3:]] == [
        ["frames", "2"],
        ["prepared", "1"],
        ["versions", "1"],
        ["all", "4"],
    ]
    assert [line.split() for line in emptied.splitlines()[3:]] == [["all", "0", "0"]]


def _cache(environment: dict[str, str], folder: Path, *options: str) -> str:
    """What the command prints."""
    inherited = {"PATH": os.environ["PATH"], "CACHE_ROOT": str(folder / "cache")}
    command = [sys.executable, str(ROOT / "main.py"), "cache", *options]
    return subprocess.run(command, env={**inherited, **environment}, capture_output=True, text=True, check=True).stdout
