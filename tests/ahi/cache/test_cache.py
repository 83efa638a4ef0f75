"""The cache keeps whole files within its bound, and survives what processes do to it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ahi.cache.cache import Cache
from ahi.cache.entry import TRAILER_BYTES
from runtime.shared_metrics import Metric, SharedMetrics
from tests.small_disk import small_disk
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]


def _size(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_what_was_put_is_found_by_another_cache_of_the_same_folder(tmp_path: Path) -> None:
    Cache(tmp_path, 10**6).put("a/b", b"bytes")
    assert Cache(tmp_path, 10**6).read("a/b") == b"bytes"
    assert Cache(tmp_path, 10**6).read("a/c") is None


def test_a_file_takes_the_place_of_another_and_nothing_is_left_aside(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**6)
    for blob in (b"one", b"two", b""):
        assert cache.put("a/b/c", blob)
        assert cache.read("a/b/c") == blob
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["c"]


def test_the_bound_holds_and_what_was_used_last_stays(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 100_000)
    for number in range(100):
        assert cache.put(f"k/{number}", bytes(5_000))
        os.utime(cache.root / f"k/{number}", (number, number))
    cache.evict()
    assert _size(tmp_path) <= 100_000
    assert cache.read("k/99") is not None
    assert cache.read("k/0") is None


def test_using_a_file_keeps_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 101_000)
    for number in range(20):
        assert cache.put(f"k/{number}", bytes(5_000))
        os.utime(cache.root / f"k/{number}", (number, number))
    assert cache.length("k/0") == 5_000
    cache.put("k/new", bytes(5_000))
    cache.evict()
    assert cache.read("k/0") is not None
    assert cache.read("k/1") is None


def test_an_open_file_stays_readable_when_it_is_evicted(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**6)
    cache.put("a", b"bytes")
    piece = cache.open("a")
    cache.drop("a")
    assert piece is not None
    assert (len(piece), bytes(piece), piece.read(1, 3), piece.read(3, 3)) == (5, b"bytes", b"yt", b"")


def test_a_file_that_was_cut_is_dropped_and_the_one_that_took_its_place_is_not(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**6)
    cache.put("a", b"bytes")
    first, second = cache.open("a"), cache.open("a")
    assert first is not None
    assert second is not None
    os.truncate(cache.root / "a", 2)
    first.forget()
    assert not (cache.root / "a").exists()
    cache.put("a", b"bytes")
    second.forget()
    assert cache.read("a") == b"bytes"


def test_what_a_killed_process_left_aside_goes_and_is_never_served(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**6)
    aside = tmp_path / ".aside-x"
    aside.write_bytes(b"half")
    old = time.time() - 7200
    os.utime(aside, (old, old))
    cache.evict()
    assert not aside.exists()


WRITER = """
import pathlib, sys
from ahi.cache.cache import Cache

cache = Cache(pathlib.Path(sys.argv[1]), 10**9)
number = 0
while True:
    cache.put(f"k/{number}", b"%06d" % number * 100_000)
    number += 1
"""


def test_kill_9_leaves_whole_files_and_one_aside_at_most(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT)
    wait_for(lambda: len(list(tmp_path.glob("*/k/*"))) >= 20)
    writer.kill()
    writer.wait()
    cache = Cache(tmp_path, 10**9)
    names = [path.name for path in (cache.root / "k").iterdir()]
    whole = [name for name in names if name.isdigit()]
    assert all(cache.read(f"k/{name}") == b"%06d" % int(name) * 100_000 for name in whole)
    assert len(names) - len(whole) <= 1
    assert cache.kinds()["k"].entries == len(whole)


def _write(root: Path, max_bytes: int, counters: SharedMetrics, number: int, files: int) -> int:
    """A process that fills the cache; its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        cache = Cache(root, max_bytes, process_metrics=counters.process_metrics(number))
        for file in range(files):
            cache.put(f"k{number}/{file}", bytes(10_000))
        code = 0
    finally:
        os._exit(code)


def test_several_writers_together_keep_the_bound(tmp_path: Path) -> None:
    counters, max_bytes = SharedMetrics(4), 2_000_000
    pids = [_write(tmp_path, max_bytes, counters, number, 300) for number in range(4)]
    largest = 0
    while pids:
        largest = max(largest, sum(kept.size_bytes for kept in Cache(tmp_path, max_bytes).kinds().values()))
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended in pids:
            assert status == 0
            pids.remove(ended)
    assert counters.total(Metric.CACHE_WRITTEN_BYTES) == 4 * 300 * 10_000
    # An eviction takes a moment, in which others write; so does a look, which counts what comes and what goes.
    assert max_bytes / 2 < largest < max_bytes * 1.5
    kept_bytes = _size(tmp_path) - TRAILER_BYTES * sum(path.is_file() for path in tmp_path.rglob("*"))
    assert kept_bytes <= max_bytes * 1.1
    evicted = (4 * 300 * 10_000 - kept_bytes) // 10_000
    assert counters.total(Metric.CACHE_EVICTED_BYTES) == evicted * (10_000 + TRAILER_BYTES)


def test_what_the_disk_must_have_left_is_left(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    cache = Cache(tmp_path, 10**9, min_free_bytes=disk.f_bavail * disk.f_frsize * 2)  # more than there ever was
    assert not cache.put("a", b"bytes")
    assert not cache.kinds()
    assert cache.process_metrics.counters.total(Metric.CACHE_REFUSED) == 1


def test_for_free_space_the_oldest_goes(tmp_path: Path) -> None:
    before = Cache(tmp_path, 10**9)
    for number in range(10):
        assert before.put(f"k/{number}", bytes(100_000))
        os.utime(before.root / f"k/{number}", (number, number))
    disk = os.statvfs(tmp_path)
    Cache(tmp_path, 10**9, min_free_bytes=disk.f_bavail * disk.f_frsize * 2).evict()
    assert not before.kinds()


FILLER = """
import logging, pathlib, sys
from ahi.cache.cache import Cache

logging.basicConfig(format="%(message)s", stream=sys.stdout)
cache = Cache(pathlib.Path(sys.argv[1]), 10**9)
kept = [cache.put(f"k/{number}", bytes(200_000 + number)) for number in range(40)]
assert kept[0] and cache.read("k/0") == bytes(200_000)
assert not kept[-1] and cache.read("k/39") is None
assert not [path for path in cache.root.rglob("*") if path.name.startswith(".aside")]
cache.empty()
assert not cache.kinds() and cache.put("k/again", bytes(1000))
"""


@pytest.mark.service
def test_a_full_disk_is_said_once_and_is_no_error(tmp_path: Path) -> None:
    command = [*small_disk(tmp_path), sys.executable, "-c", FILLER, str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["the disk of the cache is full, serving without caching"]


def test_what_is_kept_is_told_by_kind_and_emptied(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**6)
    for name in ("frames/aa/1", "frames/bb/2", "prepared/d/3"):
        cache.put(name, b"bytes")
    os.utime(cache.root / "frames/bb/2", (7, 7))
    frames = cache.kinds()["frames"]
    assert (frames.entries, frames.size_bytes, frames.oldest_used_at) == (2, 10, 7)
    cache.empty()
    assert not cache.kinds()


def test_a_process_that_replaces_another_counts_on(tmp_path: Path) -> None:
    counters = SharedMetrics(2)
    counters.process_metrics(0).add(Metric.CACHE_HITS, 3)
    counters.process_metrics(0).set(Metric.JOBS_RUNNING, 5)
    pid = os.fork()
    if pid == 0:
        process_metrics = counters.process_metrics(1)
        process_metrics.add(Metric.CACHE_HITS)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    counters.process_metrics(1).add(Metric.CACHE_HITS)
    counters.process_metrics(0)
    assert (counters.total(Metric.CACHE_HITS), counters.total(Metric.JOBS_RUNNING)) == (5, 0)
