"""Services that share a folder have a spool each, and what an ended one leaves is stored by another."""

import secrets
from pathlib import Path

import pytest

from store.outcome import FailureReason, Outcome, ReceivedInstance, Sender
from store.spool.shared import layouts_in, take_over, take_spool
from store.spool.spool import Entry, Spool


def accept(spool: Spool, number: int) -> Entry:
    body = spool.incoming / secrets.token_hex(4)
    body.write_bytes(b"x" * 10)
    instance = ReceivedInstance(0, 10, "1.1", f"1.2.{number}", "1.2", "1.3", "1.2.1", "0" * 64)
    return spool.accept(body, [instance], Sender("alice", "aetitle", "d" * 32))


def test_each_service_has_a_spool_of_its_own(tmp_path: Path) -> None:
    first, second = take_spool(tmp_path / "shared"), take_spool(tmp_path / "shared")
    assert [lock.layout.root.name for lock in (first, second)] == ["0", "1"]
    first.close()
    third = take_spool(tmp_path / "shared")
    assert third.layout.root.name == "0", "that of a service that has ended"
    assert [layout.root.name for layout in layouts_in(tmp_path / "shared")] == ["0", "1"]
    second.close()
    third.close()


def test_what_an_ended_service_leaves_is_taken_over(tmp_path: Path) -> None:
    ended, running, own = (take_spool(tmp_path) for _ in range(3))
    left, refused, kept = Spool(ended.layout.root), Spool(running.layout.root), Spool(own.layout.root)
    entries = [accept(left, number) for number in range(3)]
    left.refuse(entries[2], [Outcome.of(entries[2].manifest.instances[0], failure=FailureReason.CANNOT_UNDERSTAND)])
    (left.incoming / "unfinished").write_bytes(b"x")
    (left.layout.queue / "notes.txt").write_text("kept")
    accept(refused, 4)
    assert take_over(own.layout) == []
    ended.close()
    assert sorted(take_over(own.layout)) == sorted(entry.name for entry in entries)
    assert kept.names() == [entries[0].name, entries[1].name]
    assert [entry.name for entry in kept.refused()] == [entries[2].name]
    with kept.entry(entries[0].name).open_body() as body:
        assert body.read(10) == b"x" * 10
    assert [one.failure for one in kept.outcomes(kept.refused()[0])] == [FailureReason.CANNOT_UNDERSTAND]
    assert list(left.layout.refused.iterdir()) == []
    assert len(refused.names()) == 1, "its service runs"
    assert [*left.incoming.iterdir()] == [] and (left.layout.queue / "notes.txt").exists()
    assert take_over(own.layout) == []
    for lock in (running, own):
        lock.close()


@pytest.mark.parametrize("name", ["x", "²", "-1", "lost+found"])
def test_other_folders_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    lock = take_spool(tmp_path)
    assert take_over(lock.layout) == []
    assert {path.name for path in tmp_path.iterdir()} == {"0", name}
    lock.close()
