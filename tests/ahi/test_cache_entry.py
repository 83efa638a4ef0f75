"""What is in the place of an entry is served only if it is what was written there."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ahi import cache_entry
from ahi.cache import Cache
from ahi.counters import Count

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path, 10**9)


def path_of(cache: Cache, name: str) -> Path:
    return cache.root / name


def reboot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_entry, "boot", lambda: b"another")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def _seal_alone(path: Path) -> None:
    path.write_bytes(path.read_bytes()[-cache_entry.SEAL_BYTES :])


def _content_alone(path: Path) -> None:
    path.write_bytes(CONTENT)


def _other(path: Path) -> None:
    shutil.copy(path.with_name("other"), path)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [_cut, _empty, _lengthen, _seal_alone, _content_alone, _other, _link, _dangling, _fifo, _folder]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_entry_is_not_served_and_can_be_had_anew(cache: Cache, damage: Callable[[Path], None]) -> None:
    cache.put("k/entry", CONTENT)
    cache.put("k/other", CONTENT[::-1])
    damage(path_of(cache, "k/entry"))
    assert (cache.read("k/entry"), cache.length("k/entry"), cache.piece("k/entry", 0, 9)) == (None, None, None)
    assert cache.tally.counters.total(Count.CACHE_DAMAGED) >= 1
    assert cache.put("k/entry", CONTENT)
    assert cache.read("k/entry") == CONTENT


def test_a_folder_with_something_in_it_stays_and_is_passed_by(cache: Cache) -> None:
    path = path_of(cache, "k/entry")
    path.mkdir(parents=True)
    (path / "file").touch()
    assert cache.read("k/entry") is None
    assert not cache.put("k/entry", CONTENT)
    assert (path / "file").exists()
    assert [one.name for one in path.parent.iterdir()] == ["entry"]  # nothing is left aside


@given(at=st.integers(0, len(CONTENT) + cache_entry.SEAL_BYTES - 1), change=st.integers(1, 255))
def test_no_changed_byte_is_served_after_a_boot(at: int, change: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = Cache(tmp_path_factory.mktemp("cache"), 10**9)
    cache.put("k/entry", CONTENT)
    path = path_of(cache, "k/entry")
    changed = bytearray(path.read_bytes())
    changed[at] ^= change
    path.write_bytes(changed)
    with pytest.MonkeyPatch.context() as patch:
        reboot(patch)
        assert cache.read("k/entry") in (None, CONTENT)  # the latter where it was the proof, or what fills the seal


@given(length=st.integers(0, len(CONTENT) + cache_entry.SEAL_BYTES - 1))
def test_no_truncated_entry_is_served(length: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = Cache(tmp_path_factory.mktemp("cache"), 10**9)
    cache.put("k/entry", CONTENT)
    os.truncate(path_of(cache, "k/entry"), length)
    assert cache.read("k/entry") is None


def test_a_checksum_is_computed_once_in_each_boot(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    checksum = cache_entry._checksum

    def counting(handle: int, length_bytes: int) -> int:
        computed.append(length_bytes)
        return checksum(handle, length_bytes)

    monkeypatch.setattr(cache_entry, "_checksum", counting)
    cache.put("k/entry", CONTENT)
    used_at = path_of(cache, "k/entry").stat().st_mtime_ns
    for _ in range(3):
        assert cache.read("k/entry") == CONTENT
    assert computed == []
    reboot(monkeypatch)
    for _ in range(3):
        assert cache.read("k/entry") == CONTENT
    assert computed == [len(CONTENT)]
    assert path_of(cache, "k/entry").stat().st_mtime_ns == used_at


def test_a_copy_is_not_trusted(cache: Cache, tmp_path: Path) -> None:
    """Whoever restores a cache within the same boot: other inodes, so other proofs."""
    cache.put("k/entry", CONTENT)
    path = path_of(cache, "k/entry")
    damaged = bytearray(path.read_bytes())
    damaged[100] ^= 1
    copy = path.with_name("copy")
    copy.write_bytes(damaged)
    copy.rename(path)
    assert cache.read("k/entry") is None


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENOTDIR, errno.EACCES, errno.ESTALE, errno.EMFILE])
def test_a_cache_that_cannot_be_used_is_empty_and_says_so_once(
    cache: Cache, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache.put("k/entry", CONTENT)

    def fail(*_arguments: object, **_named: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    for _ in range(3):
        assert cache.read("k/entry") is None
        assert not cache.use("k/entry")
        assert not cache.put("k/entry", CONTENT)
    cache.evict()
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [f"the cache cannot be {what}: {os.strerror(number)}" for what in ("read", "written")]


def test_a_folder_of_the_cache_that_became_a_file_is_passed_by(cache: Cache) -> None:
    path_of(cache, "k").touch()
    assert cache.read("k/entry") is None
    assert not cache.put("k/entry", CONTENT)


def test_entries_of_another_form_are_not_read_and_go_first(tmp_path: Path) -> None:
    old = tmp_path / "frames" / "aa" / "1.stored"
    old.parent.mkdir(parents=True)
    old.write_bytes(CONTENT)
    cache = Cache(tmp_path, 15_000)
    assert cache.read("frames/aa/1.stored") is None
    assert cache.kinds()["old"].entries == 1
    os.utime(old, (1, 1))
    cache.put("frames/aa/1.stored", CONTENT)
    cache.evict()
    assert not old.exists()
    assert cache.read("frames/aa/1.stored") == CONTENT
