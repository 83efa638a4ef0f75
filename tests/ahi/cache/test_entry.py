"""A file of the cache is served only if it is the entry that was written under its name."""

import errno
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ahi.cache import entry as cache_entry
from ahi.cache.cache import Cache
from ahi.cache.entry import TRAILER_BYTES
from ahi.image_sets.deleted import DeletedImageSets
from ahi.image_sets.image_set import ImageSetKey
from runtime.shared_metrics import Metric

CONTENT = bytes(range(256)) * 40
NAME, OTHER = "k/entry", "k/other"
FIRST, SECOND = "the first boot", "the second boot"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path, 10**9, boot=FIRST)


def rebooted(cache: Cache) -> Cache:
    """The same cache after a boot."""
    return Cache(cache.root.parent, 10**9, boot=SECOND)


def path_of(cache: Cache, name: str = NAME) -> Path:
    return cache.root / name


def all_of(cache: Cache) -> tuple[object, ...]:
    """Whatever the cache gives of the entry."""
    return cache.read(NAME), cache.length(NAME), cache.piece(NAME, 0, 9), cache.open(NAME), cache.use(NAME)


NOTHING = (None, None, None, None, False)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def _huge(path: Path) -> None:
    os.truncate(path, 2**40)


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _trailer_alone(path: Path) -> None:
    path.write_bytes(path.read_bytes()[-TRAILER_BYTES:])


def _content_alone(path: Path) -> None:
    path.write_bytes(CONTENT)


def _other(path: Path) -> None:
    shutil.copy(path.with_name("other"), path)


def _renamed(path: Path) -> None:
    path.with_name("other").rename(path)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _socket(path: Path) -> None:
    path.unlink()
    folder = os.open(path.parent, os.O_RDONLY)  # a path of a socket has a hundred bytes at most
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _full_folder(path: Path) -> None:
    _folder(path)
    (path / "inner").mkdir()
    (path / "inner" / "file").touch()
    (path / "link").symlink_to(path.parent)


DAMAGES = [
    _cut, _empty, _lengthen, _huge, _zeros, _trailer_alone, _content_alone, _other, _renamed, _link, _dangling, _fifo,
    _socket, _folder, _full_folder,
]  # fmt: skip


@pytest.mark.parametrize("booted", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_entry_is_not_served_and_can_be_had_anew(
    cache: Cache, damage: Callable[[Path], None], booted: bool
) -> None:
    cache.put(NAME, CONTENT)
    cache.put(OTHER, CONTENT[::-1])
    damage(path_of(cache))
    found = rebooted(cache) if booted else cache
    assert not found.has(NAME)
    assert all_of(found) == NOTHING
    assert found.process_metrics.counters.total(Metric.CACHE_DAMAGED) == 1
    assert not os.path.lexists(path_of(cache))
    assert found.put(NAME, CONTENT)
    assert found.read(NAME) == CONTENT


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_written_takes_the_place_of_anything(cache: Cache, damage: Callable[[Path], None]) -> None:
    cache.put(NAME, CONTENT)
    cache.put(OTHER, CONTENT[::-1])
    damage(path_of(cache))
    assert cache.put(NAME, CONTENT)
    assert cache.read(NAME) == CONTENT


@pytest.mark.parametrize("what", ["file", "link", "loop"])
@pytest.mark.parametrize("folder", ["a/b", "a", "."])
def test_what_stands_in_the_way_of_a_folder_is_removed(cache: Cache, folder: str, what: str) -> None:
    path = cache.root / folder
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch() if what == "file" else path.symlink_to("nowhere" if what == "link" else path.name)
    assert cache.read("a/b/c") is None
    assert cache.put("a/b/c", CONTENT)
    assert cache.read("a/b/c") == CONTENT


@given(at=st.integers(0, len(CONTENT) + TRAILER_BYTES - 1), change=st.integers(1, 255), booted=st.booleans())
def test_no_changed_byte_is_served(
    at: int, change: int, booted: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The byte is changed in place: inode and length stay."""
    cache = Cache(tmp_path_factory.mktemp("cache"), 10**9, boot=FIRST)
    cache.put(NAME, CONTENT)
    with path_of(cache).open("r+b") as file:
        file.seek(at)
        before = file.read(1)[0]
        file.seek(at)
        file.write(bytes([before ^ change]))
    assert all_of(rebooted(cache) if booted else cache) == NOTHING


@given(length=st.integers(0, len(CONTENT) + TRAILER_BYTES - 1), booted=st.booleans())
def test_no_truncated_entry_is_served(length: int, booted: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = Cache(tmp_path_factory.mktemp("cache"), 10**9, boot=FIRST)
    cache.put(NAME, CONTENT)
    os.truncate(path_of(cache), length)
    assert all_of(rebooted(cache) if booted else cache) == NOTHING


@given(at=st.integers(0, len(CONTENT) + TRAILER_BYTES), tail=st.binary(max_size=64))
@settings(max_examples=200)
def test_no_other_end_is_served(at: int, tail: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """After a loss of power the end of a file may be anything."""
    cache = Cache(tmp_path_factory.mktemp("cache"), 10**9, boot=FIRST)
    cache.put(NAME, CONTENT)
    whole = path_of(cache).read_bytes()
    path_of(cache).write_bytes(whole[:at] + tail)
    expected = CONTENT if whole[:at] + tail == whole else None
    assert rebooted(cache).read(NAME) == expected


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of entries whose checksum was computed."""
    names: list[str] = []
    is_intact = cache_entry._is_intact

    def counting(handle: int, name: str, size_bytes: int) -> bool:
        names.append(name)
        return is_intact(handle, name, size_bytes)

    monkeypatch.setattr(cache_entry, "_is_intact", counting)
    return names


def test_a_checksum_is_computed_once_in_each_boot(cache: Cache, checked: list[str]) -> None:
    cache.put(NAME, CONTENT)
    for _ in range(3):
        assert cache.read(NAME) == CONTENT
    assert checked == []
    for _ in range(3):
        assert rebooted(cache).read(NAME) == CONTENT  # other processes know it, too
    assert rebooted(cache).length(NAME) == len(CONTENT)
    assert checked == [NAME]


def test_a_use_keeps_the_seal(cache: Cache, checked: list[str]) -> None:
    cache.put(NAME, CONTENT)
    status = path_of(cache).stat()
    os.utime(path_of(cache), ns=(10**9, status.st_mtime_ns))  # it was used long ago
    assert cache.read(NAME) == CONTENT
    assert time.time() - path_of(cache).stat().st_atime < 60
    os.utime(path_of(cache), ns=(10**9, status.st_mtime_ns))
    assert cache.use(NAME)
    assert time.time() - path_of(cache).stat().st_atime < 60
    assert checked == []


def test_a_copy_is_not_trusted(cache: Cache, checked: list[str]) -> None:
    """As of an operator who restores a cache, with the times of its files."""
    cache.put(NAME, CONTENT)
    path = path_of(cache)
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    assert copy.stat().st_mtime_ns == path.stat().st_mtime_ns
    copy.rename(path)
    assert cache.read(NAME) == CONTENT
    assert checked == [NAME]


def test_what_cannot_be_sealed_is_checked_at_each_use(
    cache: Cache, checked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.put(NAME, CONTENT)

    def fail(*_arguments: object, **_named: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "utime", fail)
    for _ in range(2):
        assert rebooted(cache).read(NAME) == CONTENT
    assert checked == [NAME, NAME]


def test_an_open_piece_of_a_file_that_is_cut_short_is_had_again(cache: Cache) -> None:
    for again in (lambda: CONTENT, lambda: cache.open(OTHER)):
        cache.put(NAME, CONTENT)
        cache.put(OTHER, CONTENT)
        piece = cache.open(NAME)
        assert piece is not None
        assert piece.is_there()
        os.truncate(path_of(cache), 100)
        assert not piece.is_there()
        with pytest.raises(OSError, match="shorter"):
            bytes(piece)
        assert not path_of(cache).exists()
        piece.again = again  # type: ignore[assignment]
        assert (bytes(piece), piece.read(50, 150)) == (CONTENT, CONTENT[50:150])


NUMBERS = [
    errno.EIO, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.ENOSPC, errno.ELOOP, errno.ESTALE,
    errno.EMFILE,
]  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "call", ["open", "write", "pread", "rename", "makedirs", "utime", "fstat", "unlink", "statvfs"]
)
def test_a_cache_that_cannot_be_used_is_empty_and_says_so_once(
    cache: Cache, number: int, call: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of EIO: no disk that fails can be had here, so a call fails in its place."""
    bounded = Cache(cache.root.parent, 10**9, min_free_bytes=1, boot=SECOND)
    cache.put(NAME, CONTENT)

    def fail(*_arguments: object, **_named: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        for _ in range(3):
            assert bounded.read(NAME) in (None, CONTENT)
            assert bounded.piece(NAME, 10, 10) in (None, CONTENT[10:20])
            assert bounded.use(NAME) in (True, False)
            assert bounded.put("new/entry", CONTENT) in (True, False)
            bounded.drop("new/entry")
            bounded.evict()
            bounded.write_error()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(set(messages))
    reason = os.strerror(number)
    known = {
        "the disk of the cache is full, serving without caching",
        f"the cache cannot be used, serving without it: {reason}",
        "files of the cache are damaged, and are fetched again",
    }
    assert set(messages) <= known
    if call in ("open", "write", "rename"):
        assert messages
    assert bounded.put(NAME, CONTENT)
    assert bounded.read(NAME) == CONTENT


def test_the_log_says_it_again_after_a_minute(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for at in (1000.0, 1059.0, 1061.0):
        monkeypatch.setattr(time, "monotonic", lambda at=at: at)
        cache.put(NAME, CONTENT)
        _cut(path_of(cache))
        assert cache.read(NAME) is None
    told = "files of the cache are damaged, and are fetched again"
    assert [record.getMessage() for record in caplog.records] == [told, told]


def test_what_is_no_cache_is_left_alone(tmp_path: Path) -> None:
    """Also if the folder is full, and if the cache is emptied."""
    others = [
        tmp_path / "notes.txt",
        tmp_path / "spool" / "queue" / "body",
        tmp_path / "v" / "x",
        tmp_path / "v2x" / "y",
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(10_000))
        os.utime(path, (1, 1))
    cache = Cache(tmp_path, 15_000)
    cache.put(NAME, CONTENT)
    cache.evict()
    cache.put(NAME, CONTENT)
    assert {kind: kept.entries for kind, kept in cache.kinds().items()} == {"k": 1}
    cache.empty()
    assert cache.read(NAME) is None
    assert [path for path in others if not path.exists()] == []


def test_entries_of_another_form_are_not_read_and_go(tmp_path: Path) -> None:
    """Those of the form before, when nobody has used them for a day; those of a later one only for room."""
    old, newer = tmp_path / "frames" / "aa" / "1.stored", tmp_path / "v3" / "frames" / "aa" / "1.stored"
    for path in (old, newer):
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT)
    cache = Cache(tmp_path, 10**6)
    assert cache.read("frames/aa/1.stored") is None
    assert {kind: kept.entries for kind, kept in cache.kinds().items()} == {"old": 1, "other": 1}
    cache.put("frames/aa/1.stored", CONTENT)
    cache.evict()
    assert old.exists()
    for path in (old, newer):
        os.utime(path, (1, 1))
    cache.evict()
    assert (old.exists(), newer.exists()) == (False, True)
    small = Cache(tmp_path, 15_000)
    small.evict()
    assert not newer.exists()
    assert small.read("frames/aa/1.stored") == CONTENT


@pytest.mark.parametrize("damage", DAMAGES)
def test_notes_of_deleted_image_sets_bear_damage(cache: Cache, damage: Callable[[Path], None]) -> None:
    gone, other = DeletedImageSets(cache), DeletedImageSets(cache)
    gone.note(ImageSetKey("d" * 32, "entry"))
    cache.put("deleted/other", b"1.0")
    damage(cache.root / "deleted" / f"{'d' * 32}+entry")
    assert other.image_set_ids() <= {"entry"}
    assert gone.image_set_ids() <= {"entry"}
    other.note(ImageSetKey("d" * 32, "entry"))
    os.utime(cache.root / "deleted")
    assert "entry" in gone.image_set_ids()


def test_there_is_one_boot_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(cache_entry.BOOT_ID, raising=False)
    assert cache_entry.boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    monkeypatch.setattr(cache_entry, "_BOOT_ID_PATH", tmp_path / "none")
    assert cache_entry.boot_id() == cache_entry.boot_id()
    assert len(cache_entry.boot_id()) >= 16


def _in_child(folder: Path, work: Callable[[], None]) -> None:
    """Do it in a process of its own, in that folder; its failure is that of the test."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.chdir(folder)
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - the child of a test ends here
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_what_this_user_may_not_read_or_write_is_done_without(tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("only root can become another user")
    tmp_path.chmod(0o777)

    def work() -> None:
        os.setgid(65534)
        os.setuid(65534)
        cache = Cache(Path("cache"), 10**9)
        assert cache.put(NAME, CONTENT)
        path_of(cache).chmod(0)
        assert cache.read(NAME) is None
        assert cache.put(NAME, CONTENT)
        assert cache.read(NAME) == CONTENT
        path_of(cache).parent.chmod(0o500)
        assert cache.read(NAME) == CONTENT
        assert not cache.put(OTHER, CONTENT)
        path_of(cache).chmod(0o600)
        os.truncate(path_of(cache), 5)
        assert cache.read(NAME) is None
        assert isinstance(cache.write_error(), OSError | None)
        path_of(cache).parent.chmod(0)
        assert cache.read(NAME) is None
        assert not cache.put(NAME, CONTENT)
        cache.evict()

    _in_child(tmp_path, work)


def test_without_file_descriptors_nothing_is_cached(tmp_path: Path) -> None:
    def work() -> None:
        cache = Cache(Path("cache"), 10**9)
        assert cache.put(NAME, CONTENT)
        highest = os.open(".", os.O_RDONLY)
        os.close(highest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        for _ in range(3):
            assert cache.read(NAME) is None
            assert not cache.put(OTHER, CONTENT)
        assert cache.length(NAME) == len(CONTENT)
        cache.evict()
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        assert cache.read(NAME) == CONTENT

    _in_child(tmp_path, work)


READER = """
import os, sys
from pathlib import Path
from ahi.cache.cache import Cache

cache, content = Cache(Path(sys.argv[1]), 10**9), bytes(range(256)) * 4000
print("ready", flush=True)
while not Path(sys.argv[1], "end").exists():
    for read in (cache.read, lambda name: piece and bytes(piece) if (piece := cache.open(name)) else None):
        try:
            found = read("k/entry")
        except OSError:
            continue
        assert found in (None, content)
"""


def test_readers_survive_whatever_is_done_to_the_file(tmp_path: Path) -> None:
    """Files are cut, changed, removed and written again while two processes read: they get the bytes, or none."""
    content = bytes(range(256)) * 4000
    cache = Cache(tmp_path, 10**9)
    command = [sys.executable, "-c", READER, str(tmp_path)]
    readers = [
        subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for reader in readers:
            assert reader.stdout
            assert reader.stdout.readline() == b"ready\n"
        for number in range(300):
            assert cache.put(NAME, content)
            with suppress(OSError):
                os.truncate(path_of(cache), number * 3000)
            assert cache.put(NAME, content)
            if number % 3 == 0:
                cache.drop(NAME)
    finally:
        (tmp_path / "end").touch()
        ended = [(reader.communicate(timeout=60)[1].decode(), reader.returncode) for reader in readers]
    assert [code for _, code in ended] == [0, 0], ended
