"""A running service whose cache is damaged in every way, as a loss of power leaves it, still gives the right bytes."""

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import requests

from ahi.cache.entry import BOOT_ID, FORMAT, TRAILER_BYTES
from datastore.embedded import Embedded
from tests.datastore.made import with_pixels, written
from tests.service.ahi import Ahi
from tests.service.archive import Sample
from tests.service.process import Service
from tests.small_disk import small_disk

NAMES = ("CT_small.dcm", "examples_ybr_color.dcm", "color3d_jpeg_baseline.dcm", "MR_small_RLE.dcm")
ANY = 'multipart/related; type="application/dicom"; transfer-syntax='
RESOURCES = {
    "metadata": "application/dicom+json",
    "metadata ": 'multipart/related; type="application/dicom+xml"',
    "": f"{ANY}*",
    " ": f"{ANY}1.2.840.10008.1.2.4.80, {ANY}*",
    "  ": f"{ANY}1.2.840.10008.1.2.5, {ANY}*",
    "frames/1": "application/octet-stream",
    "frames/1 ": "image/jphc, image/jpeg, image/jp2, application/octet-stream; transfer-syntax=*, */*",
    "rendered": "image/png",
    "thumbnail": "image/jpeg",
}
KINDS = {"prepared", "encoded", "rendered", "versions", ".stored", ".native", ".jls", ".rle"}
PUBLIC = {"PUBLIC_URL": "https://dicom.example.org"}
Answers = dict[tuple[str, str], tuple[int, bytes]]
Damage = Callable[[Path, random.Random], None]


@pytest.fixture(scope="module")
def damaged(datastore_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of its own, which asks at once whether an image set is current: nothing stays in memory."""
    environment = {"DATASTORE_ROOT": str(datastore_root), "IMAGE_SET_FRESH_SECONDS": "0.001", **PUBLIC}
    service = Service(tmp_path_factory.mktemp("damaged"), environment)
    yield service
    assert "Traceback" not in service.log
    assert service.stop() == 0


def _answers(service: Service, samples: Mapping[str, Sample]) -> Answers:
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


def _differences(found: Answers, right: Answers) -> list[tuple[str, str, int]]:
    return [(*key, found[key][0]) for key in right if found[key] != right[key]]


@pytest.fixture(scope="module")
def right(damaged: Service, samples: dict[str, Sample]) -> Answers:
    """The answers from a cache that is in order, the second time from the files in it."""
    first = _answers(damaged, samples)
    found = _answers(damaged, samples)
    assert {status for status, _ in found.values()} == {200}
    assert _differences(first, found) == []
    kinds = {path.relative_to(_cache(damaged)).parts[0] for path in _files(_cache(damaged))}
    assert kinds - {"frames"} | {path.suffix for path in _cache(damaged).glob("frames/*/*")} >= KINDS
    return found


def _cache(service: Service) -> Path:
    return service.log_path.parent / "cache" / FORMAT


def _files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def _empty(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def _truncated(path: Path, chance: random.Random) -> None:
    os.truncate(path, int(chance.random() * path.stat().st_size))


def _without_trailer(path: Path, _: random.Random) -> None:
    os.truncate(path, max(0, path.stat().st_size - TRAILER_BYTES))


def _flipped(path: Path, chance: random.Random) -> None:
    if not path.stat().st_size:  # of a kind of entry that nobody has read since it was emptied
        return
    with path.open("r+b") as file:
        at = file.seek(chance.randrange(path.stat().st_size))
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << chance.randrange(8)]))


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


def _a_full_folder(path: Path, _: random.Random) -> None:
    path.unlink()
    (path / "inner").mkdir(parents=True)
    (path / "inner" / "file").write_bytes(b"something")


DAMAGES = [
    _empty, _truncated, _without_trailer, _flipped, _zeros, _longer, _a_folder, _a_full_folder, _a_fifo,
    _a_dangling_link,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_resource_is_right_after_damage(
    damaged: Service, samples: dict[str, Sample], right: Answers, damage: Damage
) -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    processes = damaged.children()
    for path in _files(_cache(damaged)):
        damage(path, chance)
    for _ in range(2):
        assert _differences(_answers(damaged, samples), right) == []
    assert damaged.children() == processes


def test_entries_of_one_kind_in_the_places_of_each_other_are_not_served(
    damaged: Service, samples: dict[str, Sample], right: Answers
) -> None:
    files = _files(_cache(damaged))
    contents = [path.read_bytes() for path in files]
    for path, content in zip(files, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)
    assert _differences(_answers(damaged, samples), right) == []
    for path, other in zip(files[1:], files, strict=False):
        other.rename(path)
    assert _differences(_answers(damaged, samples), right) == []


def test_files_in_the_places_of_folders_are_no_obstacle(
    damaged: Service, samples: dict[str, Sample], right: Answers
) -> None:
    for folder in [_cache(damaged) / "frames", *_cache(damaged).glob("prepared/*"), _cache(damaged) / "rendered"]:
        shutil.rmtree(folder)
        folder.touch()
    assert _differences(_answers(damaged, samples), right) == []
    assert _files(_cache(damaged) / "frames")


def test_a_loss_of_power_costs_what_it_damaged(
    datastore_root: Path, samples: dict[str, Sample], right: Answers, tmp_path: Path
) -> None:
    """A boot trusts no file; one that is in order is not fetched again."""
    ahi = Ahi(datastore_root)
    environment = {
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "DATABASE_URL": f"sqlite:///{datastore_root / 'index.sqlite'}",
        "AWS_ENDPOINT_URL_MEDICAL_IMAGING": ahi.url,
        **PUBLIC,
    }
    chance = random.Random(2)  # noqa: S311 - no secret
    try:
        fetched = []
        for boot in ("first", "second", "third"):
            ahi.calls()
            service = Service(tmp_path, {**environment, BOOT_ID: boot})
            assert _differences(_answers(service, samples), right) == []
            assert "Traceback" not in service.log
            fetched.append(ahi.calls().get("GetImageFrame", 0))
            service.stop(signal.SIGKILL)
            if boot == "second":
                for path in _files(tmp_path / "cache"):
                    times = path.stat()
                    chance.choice([_empty, _truncated, _flipped, _zeros])(path, chance)
                    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as the file system had noted it
        assert fetched[0] == fetched[2] > 0
        assert fetched[1] == 0
    finally:
        ahi.stop()


@pytest.mark.parametrize("instances", [3, 1200])
def test_what_is_cut_short_while_it_is_used_is_had_again(instances: int, tmp_path: Path) -> None:
    """The prepared form in memory, or, of more than 4 MiB, in its open file; frames that the kernel sends."""
    Embedded(tmp_path / "store").fill(list(_long_files(instances, tmp_path)))
    environment = {"DATASTORE_ROOT": str(tmp_path / "store"), "IMAGE_SET_FRESH_SECONDS": "3600"}
    service = Service(tmp_path / "service", environment)
    accepted = {"": 'multipart/related; type="application/dicom"', "/metadata": "application/dicom+json"}

    def answers() -> Answers:
        (study,) = requests.get(f"{service.root}/studies", timeout=60).json()
        found = {}
        for resource, accept in accepted.items():
            url = f"{service.root}/studies/{study['0020000D']['Value'][0]}{resource}"
            answer = requests.get(url, headers={"Accept": accept, "Accept-Encoding": "identity"}, timeout=300)
            found[url, accept] = (answer.status_code, answer.content)
        return found

    try:
        expected, processes = answers(), service.children()
        assert {status for status, _ in expected.values()} == {200}
        (prepared,) = _files(_cache(service) / "prepared")
        assert (prepared.stat().st_size >= 2**22) == (instances > 3)
        for size_bytes in (0, prepared.stat().st_size // 2):
            for path in _files(_cache(service)):
                os.truncate(path, min(size_bytes, max(0, path.stat().st_size - 1)))
            assert _differences(answers(), expected) == []
        assert service.children() == processes
        assert "Traceback" not in service.log
    finally:
        assert service.stop() == 0


def _long_files(count: int, folder: Path) -> Iterator[Path]:
    """Files of one series; the data set of each takes some 4 KB, and its frame 128 KiB."""
    pixels = np.arange(256 * 256, dtype=np.uint16).reshape(1, 256, 256)
    for number in range(1, count + 1):
        comments = f"{number:09}" * 400
        data_set = with_pixels(pixels, SOPInstanceUID=f"1.2.3.{number}", InstanceNumber=number, ImageComments=comments)
        yield written(data_set, folder / f"{number}.dcm")


def test_a_cache_that_becomes_read_only_is_done_without(
    samples: dict[str, Sample],
    right: Answers,
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
        assert _differences(_answers(service, samples), right) == []
        remount = ["mount", "-o", "remount,ro", str(cache)]
        enter = ["nsenter", f"--target={service.process.pid}", "--user", "--preserve-credentials", "--mount"]
        subprocess.run([*enter, *remount], check=True)
        for _ in range(2):
            assert _differences(_answers(service, samples), right) == []
        os.kill(service.named("web")[0], signal.SIGKILL)
        for path in ("metadata?includefield=PatientID", "rendered?viewport=50,50"):  # nobody has had these
            sample = samples[NAMES[0]]
            uids = "/studies/{}/series/{}/instances/{}".format(*sample.uids)
            service.wait(lambda at=f"{uids}/{path}": service.status(at) == 200)
        told = service.log.count("the cache cannot be used, serving without it: Read-only file system")
        assert 1 <= told <= 8  # once a process and minute
        assert "Traceback" not in service.log
    finally:
        assert service.stop() == 0


def test_a_service_starts_on_a_cache_that_is_read_only(
    samples: dict[str, Sample], right: Answers, datastore_root: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    mounted = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    under = [*mounted, 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"', str(cache)]
    if subprocess.run([*under, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    environment = {"DATASTORE_ROOT": str(datastore_root), "CACHE_ROOT": str(cache), **PUBLIC}
    service = Service(tmp_path, environment, under=under)
    try:
        assert _differences(_answers(service, samples), right) == []
        assert "the cache cannot be used, serving without it: Read-only file system" in service.log
        assert "Traceback" not in service.log
    finally:
        assert service.stop() == 0
