"""A running service whose cache is damaged in every way, as a loss of power leaves it, still gives the right bytes."""

import os
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import requests

from ahi.cache_entry import SEAL_BYTES
from tests.service.archive import Sample
from tests.service.process import Service
from tests.small_disk import small_disk

NAMES = ("CT_small.dcm", "examples_ybr_color.dcm", "color3d_jpeg_baseline.dcm", "MR_small_RLE.dcm")
RESOURCES = {
    "metadata": "application/dicom+json",
    "": 'multipart/related; type="application/dicom"; transfer-syntax=*',
    "frames/1": "application/octet-stream",
    "frames/1 ": "image/jphc, image/jpeg, image/jp2, application/octet-stream; transfer-syntax=*, */*",
    "rendered": "image/png",
    "thumbnail": "image/jpeg",
}
PUBLIC = {"PUBLIC_URL": "https://dicom.example.org"}
Damage = Callable[[Path, random.Random], None]


@pytest.fixture(scope="module")
def damaged(datastore_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of its own, which asks at once whether an image set is current: nothing stays in memory."""
    environment = {"DATASTORE_ROOT": str(datastore_root), "IMAGE_SET_FRESH_SECONDS": "0.001", **PUBLIC}
    service = Service(tmp_path_factory.mktemp("damaged"), environment)
    yield service
    assert service.stop() == 0


def _answers(service: Service, samples: Mapping[str, Sample]) -> dict[tuple[str, str], tuple[int, bytes]]:
    found = {}
    for name in NAMES:
        sample = samples[name]
        study = f"{service.root}/studies/{sample.study_instance_uid}/series/{sample.series_instance_uid}"
        instance = f"{study}/instances/{sample.sop_instance_uid}"
        for resource, accept in RESOURCES.items():
            url = f"{instance}/{resource.strip()}".rstrip("/")
            answer = requests.get(url, headers={"Accept": accept}, timeout=60)
            found[name, resource] = (answer.status_code, answer.content)
    return found


@pytest.fixture(scope="module")
def right(damaged: Service, samples: dict[str, Sample]) -> dict[tuple[str, str], tuple[int, bytes]]:
    """The answers from a cache that is in order, the second time from the files in it."""
    _answers(damaged, samples)
    found = _answers(damaged, samples)
    assert {status for status, _ in found.values()} == {200}
    return found


def _files(service: Service) -> list[Path]:
    """Its entries, but for what an earlier damage has left and nobody has asked for since."""
    found = [path for path in (service.log_path.parent / "cache").rglob("*") if path.is_file()]
    return [path for path in found if path.stat().st_size > SEAL_BYTES]


def _after_boot(path: Path) -> None:
    """Take the proof away that the checksum holds, which a boot does."""
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(bytes(8))


def _empty(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def _truncated(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def _without_seal(path: Path, _: random.Random) -> None:
    os.truncate(path, path.stat().st_size - SEAL_BYTES)


def _flipped(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content) - SEAL_BYTES)] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    _after_boot(path)


def _zeros(path: Path, _: random.Random) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _longer(path: Path, _: random.Random) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def _a_folder(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _a_fifo(path: Path, _: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _a_dangling_link(path: Path, _: random.Random) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _in_order(path: Path, _: random.Random) -> None:
    _after_boot(path)


@pytest.mark.parametrize(
    "damage",
    [_in_order, _empty, _truncated, _without_seal, _flipped, _zeros, _longer, _a_folder, _a_fifo, _a_dangling_link],
)
def test_every_resource_is_right_after_damage(
    damaged: Service,
    samples: dict[str, Sample],
    right: dict[tuple[str, str], tuple[int, bytes]],
    damage: Damage,
) -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    files = _files(damaged)
    assert len(files) >= 10
    for path in files:
        damage(path, chance)
    found = _answers(damaged, samples)
    assert [key for key in right if found[key] != right[key]] == []


def test_entries_of_one_kind_in_the_places_of_each_other_are_not_served(
    damaged: Service, samples: dict[str, Sample], right: dict[tuple[str, str], tuple[int, bytes]]
) -> None:
    files = sorted(_files(damaged))
    contents = [path.read_bytes() for path in files]
    for path, content in zip(files, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)
    found = _answers(damaged, samples)
    assert [key for key in right if found[key] != right[key]] == []


def test_a_cache_that_becomes_read_only_is_done_without(
    samples: dict[str, Sample],
    right: dict[tuple[str, str], tuple[int, bytes]],
    datastore_root: Path,
    damaged: Service,
    tmp_path: Path,
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    under = small_disk(cache)
    if under[0] != "unshare":
        pytest.skip("no file system can be mounted here")
    environment = {
        "DATASTORE_ROOT": str(datastore_root),
        "CACHE_ROOT": str(cache),
        "CACHE_MIN_FREE_BYTES": "0",
        **PUBLIC,
    }
    service = Service(tmp_path, environment, under=under)
    try:
        assert _answers(service, samples).keys() == right.keys()
        remount = ["mount", "-o", "remount,ro", str(cache)]
        enter = ["nsenter", f"--target={service.process.pid}", "--user", "--preserve-credentials", "--mount"]
        subprocess.run([*enter, *remount], check=True)
        for _ in range(2):
            found = _answers(service, samples)
            wrong = [key for key in right if found[key][0] != 200]
            assert wrong == []
            for key, (_, content) in found.items():
                assert content == right[key][1]
        assert 1 <= service.log.count("the cache cannot be written: Read-only file system") <= 4  # once a process
        assert "Traceback" not in service.log
    finally:
        assert service.stop() == 0
