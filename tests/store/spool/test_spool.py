"""An entry of the spool is whole or not there, on disk before it is accepted, and never deleted by mistake."""

import errno
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dicomweb.errors import NotFound
from store.outcome import FailureReason, Outcome, ReceivedInstance, Sender
from store.spool.layout import SpoolFull, SpoolInUse, SpoolLock
from store.spool.spool import Spool, SpoolStatus
from tests.small_disk import small_disk

ROOT = Path(__file__).parents[3]
CONTENT = b"x" * 1000


SENDER = Sender("alice", "aetitle", "0" * 32)


def received(number: int = 0, content: bytes = CONTENT) -> ReceivedInstance:
    digest = hashlib.sha256(content).hexdigest()
    uids = ("1.2.840.10008.5.1.4.1.1.2", f"1.2.{number}", "1.2", "1.3", "1.2.1")
    return ReceivedInstance(0, len(content), *uids, digest)


def add(spool: Spool, number: int = 0, content: bytes = CONTENT) -> str:
    body = spool.incoming / f"body{number}"
    body.write_bytes(content)
    return spool.accept(body, [received(number, content)], SENDER).name


def outcome(failure: int | None = None, warning: int | None = None, detail: str = "") -> Outcome:
    return Outcome.of(received(), failure=failure, warning=warning, detail=detail)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    opened = Spool(tmp_path / "spool")
    opened.open()
    return opened


def test_a_folder_of_somebody_else_is_no_spool(tmp_path: Path) -> None:
    """What is in `incoming` of a spool is deleted when a service begins."""
    letter = tmp_path / "incoming" / "letter.txt"
    letter.parent.mkdir()
    letter.write_text("mine")
    with pytest.raises(OSError, match="this is no spool"):
        Spool(tmp_path).open()
    assert letter.read_text() == "mine"


def test_an_accepted_entry_can_be_read_with_all_that_is_known_of_it(spool: Spool) -> None:
    before = time.time()
    entry = spool.entry(add(spool))
    assert (entry.manifest.instances, entry.manifest.sender) == ((received(),), SENDER)
    assert before <= entry.manifest.received_at <= time.time()
    with entry.open_body() as body:
        assert body.read(entry.size_bytes) == CONTENT
    assert list(spool.incoming.iterdir()) == []


def test_entries_come_oldest_first(spool: Spool) -> None:
    names = []
    for number in range(5):
        names.append(add(spool, number))
        time.sleep(0.002)  # names have the milliseconds
    assert [entry.name for entry in spool.entries()] == names == spool.names()


def test_the_file_and_the_folder_are_on_disk_before_an_entry_is_accepted(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fsync is noted with the entries of the queue, and the size of the file, at that time.

    The file is whole then, and only the last one comes after the rename.
    """
    synced: list[tuple[str, int]] = []
    sizes: list[int] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.name, len(list(spool.layout.queue.iterdir()))))
        sizes.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    name = add(spool)
    assert synced == [("body0", 0), ("queue", 1)]
    assert sizes[0] == (spool.layout.queue / name).stat().st_size > len(CONTENT)


def test_an_entry_that_its_client_waits_for_does_not_wait_for_the_disk(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    waited_for = Spool(spool.layout.root, lasts=False)
    name = add(waited_for)
    assert synced == []
    entry = spool.entry(name)
    with entry.open_body() as body:  # a process that is killed does not take it along
        assert body.read(entry.size_bytes) == CONTENT


@pytest.mark.parametrize("bytes_left", [0, 10, 16, 999, 1000, 1050, -16, -1])
@pytest.mark.parametrize("zeros", [False, True])
def test_after_a_loss_of_power_a_start_deletes_only_what_nobody_was_told_of(
    spool: Spool, bytes_left: int, zeros: bool
) -> None:
    """The file has only its first bytes then, or zeros for the others."""
    lost, told = add(Spool(spool.layout.root, lasts=False)), add(spool, 1)
    for name in (lost, told):
        path = spool.layout.queue / name
        content = path.read_bytes()
        path.write_bytes(content[:bytes_left] + bytes(len(content[bytes_left:]) if zeros else 0))
    whole = add(Spool(spool.layout.root, lasts=False), 2)
    Spool(spool.layout.root).open()
    assert [path.name for path in spool.unknown()] == [told]
    assert [entry.name for entry in spool.entries()] == [whole]
    assert spool.names() == sorted([told, whole])


def test_a_start_deletes_what_was_not_accepted_and_nothing_else(spool: Spool) -> None:
    name = add(spool)
    (spool.incoming / "half").write_bytes(b"half")
    (spool.incoming / "folder").mkdir()
    (spool.incoming / "folder" / "body").write_bytes(b"half")
    Spool(spool.layout.root).open()
    assert list(spool.incoming.iterdir()) == []
    assert spool.names() == [name]


def damaged(spool: Spool, what: str) -> Path:
    path = spool.layout.queue / add(spool)
    body, manifest, end = parts(path)
    match what:
        case "no manifest":
            path.write_bytes(body)
        case "half a manifest":
            path.write_bytes(body + manifest[:50])
        case "a manifest without its beginning":
            path.write_bytes(body + manifest[50:] + end)
        case "an empty manifest":
            path.write_bytes(body + bytes(8) + end[8:])
        case "a manifest longer than the file":
            path.write_bytes(body + manifest + (2**63).to_bytes(8, "big") + end[8:])
        case "another end":
            path.write_bytes(body + manifest + end[:-1] + b"x")
        case "other JSON":
            path.write_bytes(body + b"[]" + (2).to_bytes(8, "big") + end[8:])
        case "other format":
            path.write_bytes(body + manifest.replace(b'"format":1', b'"format":2') + end)
        case "other types":
            other = manifest.replace(b'"start":0', b'"start":true')
            path.write_bytes(body + other + len(other).to_bytes(8, "big") + end[8:])
        case "no body":
            path.write_bytes(manifest + end)
        case "short body":
            path.write_bytes(body[:-1] + manifest + end)
        case "more behind it":
            path.write_bytes(body + manifest + end + b"x")
        case "other name":
            path = path.rename(path.with_name("by hand"))
        case "an empty file":
            path.write_bytes(b"")
        case "a folder":
            path.unlink()
            path.mkdir()
            (path / "body").write_bytes(body)
    return path


def parts(path: Path) -> tuple[bytes, bytes, bytes]:
    """The body, the manifest and the end of the file of an entry."""
    content = path.read_bytes()
    return content[: len(CONTENT)], content[len(CONTENT) : -16], content[-16:]


@pytest.mark.parametrize(
    "what",
    ["no manifest", "half a manifest", "a manifest without its beginning", "an empty manifest"]
    + ["a manifest longer than the file", "another end", "other JSON", "other format", "other types", "no body"]
    + ["short body", "more behind it", "other name", "an empty file", "a folder"],
)
def test_what_is_no_entry_is_reported_and_never_deleted(spool: Spool, what: str) -> None:
    path = damaged(spool, what)
    intact = [entry.name for entry in spool.entries()]
    Spool(spool.layout.root).open()
    assert path.exists()
    assert path in spool.unknown()
    assert path.name not in intact
    assert spool.status().unknown == 1
    with pytest.raises(NotFound):
        spool.entry(path.name)


@pytest.mark.parametrize("name", ["", "..", "../queue", "x", "0000000000000-000000000000000g"])
def test_only_names_of_entries_are_looked_up(spool: Spool, name: str) -> None:
    with pytest.raises(NotFound):
        spool.entry(name)


def test_status_has_length_and_age(spool: Spool) -> None:
    assert spool.status() == SpoolStatus()
    oldest = spool.entry(add(spool, 1)).manifest.received_at
    add(spool, 2)
    assert spool.status(lambda: oldest + 60.0) == SpoolStatus(2, 2, 2 * len(CONTENT), 60.0, 0, 0)


def test_a_removed_entry_is_gone_at_once_and_once(spool: Spool) -> None:
    entry = spool.entry(add(spool))
    spool.remove(entry)
    assert spool.names() == [] and list(spool.incoming.iterdir()) == []
    with pytest.raises(NotFound):
        spool.remove(entry)


def test_a_refused_entry_stays_aside_with_its_reason_until_it_is_tried_again(spool: Spool) -> None:
    entry = spool.entry(add(spool))
    refusal = outcome(FailureReason.CLASS_NOT_SUPPORTED, detail="not supported")
    spool.refuse(entry, [refusal])
    assert spool.names() == []
    aside = spool.refused_entry(entry.name)
    assert aside.manifest == entry.manifest and spool.outcomes(aside) == [refusal]
    assert spool.status().refused == 1
    spool.retry(aside)
    assert spool.names() == [entry.name] and spool.refused() == []
    assert spool.outcomes(spool.entry(entry.name)) == []
    assert list(spool.layout.refused.iterdir()) == []


def test_a_refused_entry_is_removed_with_its_reason(spool: Spool) -> None:
    entry = spool.entry(add(spool))
    spool.refuse(entry, [outcome(FailureReason.CLASS_NOT_SUPPORTED)])
    spool.remove(spool.refused_entry(entry.name))
    assert list(spool.layout.refused.iterdir()) == [] == spool.names()


def test_a_process_that_is_killed_while_it_sets_an_entry_aside_leaves_it_in_the_queue(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = spool.entry(add(spool))
    real = Path.rename

    def killed(path: Path, target: Path) -> Path:
        if path == entry.path:
            raise KeyboardInterrupt
        return real(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            spool.refuse(entry, [outcome(FailureReason.CLASS_NOT_SUPPORTED)])
    assert (spool.names(), spool.refused()) == ([entry.name], [])
    Spool(spool.layout.root).open()
    assert (spool.names(), list(spool.layout.refused.iterdir())) == ([entry.name], [])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_disk_that_fails_is_busy_and_leaves_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SpoolFull) as raised:
        add(spool)
    assert raised.value.retry_after_seconds > 0
    assert spool.names() == [] and list(spool.incoming.iterdir()) == []


def test_room_is_checked_with_what_the_disk_must_keep(spool: Spool) -> None:
    spool.check_room(0)
    with pytest.raises(SpoolFull):
        spool.check_room(2**60)
    with pytest.raises(SpoolFull):
        Spool(spool.layout.root, min_free_bytes=2**60).check_room(0)


FILL = """
import sys
from pathlib import Path
from dicomweb.errors import UpstreamBusy
from store.outcome import ReceivedInstance, Sender
from store.spool.spool import Spool

spool = Spool(Path(sys.argv[1]))
spool.open()
accepted = 0
for number in range(1000):
    body = spool.incoming / f"body{number}"
    try:
        body.write_bytes(b"x" * 150_000)
        instance = ReceivedInstance(0, 150_000, "1.1", f"1.2.{number}", "1.2", "1.3", "1.2.1", "0" * 64)
        spool.accept(body, [instance], Sender("x" * int(sys.argv[2]), "aetitle", "0" * 32))
    except (UpstreamBusy, OSError) as error:
        print(accepted, len(spool.entries()), len(spool.unknown()), type(error).__name__)
        raise SystemExit
    accepted += 1
"""


@pytest.mark.parametrize("user_bytes", [10, 60_000])
def test_a_full_disk_ends_in_entries_that_are_whole(tmp_path: Path, user_bytes: int) -> None:
    """On a real disk of 2 MB, or with a real bound on the size of files: every accepted entry is there, whole."""
    root = tmp_path / "disk"
    root.mkdir()
    command = small_disk(root)
    if "prlimit" in command[0]:
        user_bytes *= 4  # the bound is on one file: that of the manifest is reached
    made = subprocess.run(
        [*command, sys.executable, "-c", FILL, str(root), str(user_bytes)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not made.stdout:
        pytest.skip("this machine bounds neither disk nor files") if "prlimit" in command[0] else pytest.fail(
            made.stderr
        )
    accepted, entries, unknown, error = made.stdout.split()
    assert (accepted, unknown) == (entries, "0")
    assert error in ("SpoolFull", "OSError")


ADD_FOR_EVER = """
import sys
from pathlib import Path
from store.outcome import ReceivedInstance, Sender
from store.spool.spool import Spool

spool = Spool(Path(sys.argv[1]))
number = 0
while True:
    body = spool.incoming / f"body{number}"
    body.write_bytes(b"x" * 1000)
    instance = ReceivedInstance(0, 1000, "1.1", f"1.2.{number}", "1.2", "1.3", "1.2.1", "0" * 64)
    print(spool.accept(body, [instance], Sender("", "aetitle", "0" * 32)).name, flush=True)
    number += 1
"""


def test_a_process_that_is_killed_while_it_accepts_leaves_only_whole_entries(spool: Spool) -> None:
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", ADD_FOR_EVER, str(spool.layout.root)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as adding:
            assert adding.stdout
            told = [adding.stdout.readline().strip() for _ in range(20)]
            adding.send_signal(signal.SIGKILL)
            told += [line.strip() for line in adding.stdout if line.endswith("\n")]
        there = Spool(spool.layout.root)
        there.open()
        assert set(told) <= set(there.names())
        assert [entry.name for entry in there.entries()] == there.names()
        assert there.unknown() == []


def test_two_services_do_not_share_a_spool(spool: Spool) -> None:
    lock = SpoolLock(spool.layout)
    with pytest.raises(SpoolInUse):
        SpoolLock(spool.layout, wait_seconds=0.3)
    lock.close()
    SpoolLock(spool.layout, wait_seconds=0).close()


def test_a_lock_is_held_until_the_last_process_of_the_service_has_ended(spool: Spool) -> None:
    lock = SpoolLock(spool.layout)
    pid = os.fork()
    if pid == 0:
        signal.pause()
    lock.close()
    with pytest.raises(SpoolInUse):
        SpoolLock(spool.layout, wait_seconds=0)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    SpoolLock(spool.layout, wait_seconds=5).close()


def test_the_body_of_a_killed_process_is_deleted_and_that_of_another_is_not(spool: Spool) -> None:
    paths = [spool.incoming / name for name in ("killed", "received", "new")]
    for path in paths:
        path.write_bytes(b"x")
    for path in paths[:2]:
        os.utime(path, (0, 0))
    with paths[1].open("rb") as received:
        fcntl.flock(received, fcntl.LOCK_EX)
        spool.layout.sweep()
        assert [path.exists() for path in paths] == [False, True, True]
