"""The cache keeps whole files within its bound, and survives what processes do to it."""

import os
import time
from pathlib import Path

import pytest

from ahi.cache import Cache


def _size(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_what_was_put_is_found_by_another_cache_of_the_same_folder(tmp_path: Path) -> None:
    Cache(tmp_path, 10**6).put("a/b", b"bytes")
    assert Cache(tmp_path, 10**6).read("a/b") == b"bytes"
    assert Cache(tmp_path, 10**6).read("a/c") is None


def test_the_bound_holds_and_what_was_used_last_stays(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 100_000)
    for number in range(100):
        path = cache.put(f"k/{number}", bytes(5_000))
        assert path is not None
        os.utime(path, (number, number))
    cache.evict()
    assert _size(tmp_path) <= 100_000
    assert cache.read("k/99") is not None
    assert cache.read("k/0") is None


def test_using_a_file_keeps_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 100_000)
    for number in range(20):
        path = cache.put(f"k/{number}", bytes(5_000))
        assert path is not None
        os.utime(path, (number, number))
    assert cache.find("k/0") is not None
    cache.put("k/new", bytes(5_000))
    cache.evict()
    assert cache.read("k/0") is not None
    assert cache.read("k/1") is None


def test_an_open_file_stays_readable_when_it_is_evicted(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**6)
    cache.put("a", b"bytes")
    file = cache.open("a")
    cache.drop("a")
    assert file is not None
    with file:
        assert file.read() == b"bytes"


def test_what_a_killed_process_left_aside_goes_and_is_never_served(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**6)
    aside = tmp_path / ".aside-x"
    aside.write_bytes(b"half")
    old = time.time() - 7200
    os.utime(aside, (old, old))
    cache.evict()
    assert not aside.exists()


def test_a_full_disk_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    monkeypatch.setattr("tempfile.mkstemp", lambda **_: (os.open(full, os.O_WRONLY), str(tmp_path / ".aside-full")))
    assert Cache(tmp_path, 10**6).put("a", b"bytes") is None
