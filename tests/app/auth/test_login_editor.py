"""A file that people edit, too, is changed by one line at a time, at once or not at all."""

import fcntl
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.auth import login_editor
from app.auth.basic import parse_users
from app.auth.login_editor import Lines, edit, obstacle
from dicomweb.errors import Conflict, UpstreamBusy

HASH = "$2b$04$x"
TEXT = f"# first the people\n\nanna:{HASH}\r\n  # then others\nbert:{HASH}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_bytes(TEXT.encode())
    path.chmod(0o640)
    return path


def add(name: str) -> Callable[[Lines], Lines]:
    return lambda lines: [*lines, f"{name}:{HASH}\n"]


def names(path: Path) -> list[str]:
    return list(parse_users(path))


def test_all_else_stays(file: Path) -> None:
    edit(file, add("carl"), parse_users)
    assert file.read_bytes().decode() == f"{TEXT}\ncarl:{HASH}\n"
    edit(file, lambda lines: [one for one in lines if not one.startswith("anna:")], parse_users)
    assert file.read_bytes().decode() == f"# first the people\n\n  # then others\nbert:{HASH}\ncarl:{HASH}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [one.name for one in file.parent.iterdir()] == ["users"]


def test_what_cannot_be_read_again_is_never_written(file: Path) -> None:
    with pytest.raises(ValueError, match="line 1"):
        edit(file, lambda _: ["nonsense\n"], parse_users)
    assert file.read_bytes().decode() == TEXT
    assert [one.name for one in file.parent.iterdir()] == ["users"]


@pytest.mark.parametrize("in_place", [True, False])
def test_what_a_person_has_saved_meanwhile_is_not_overwritten(file: Path, *, in_place: bool) -> None:
    def save(lines: Lines) -> Lines:
        if in_place:
            file.write_text(f"dora:{HASH}\n")
        else:
            (file.parent / "new").write_text(f"dora:{HASH}\n")
            (file.parent / "new").replace(file)
        return [*lines, f"carl:{HASH}\n"]

    with pytest.raises(Conflict):
        edit(file, save, parse_users)
    assert names(file) == ["dora"]
    edit(file, add("carl"), parse_users)
    assert names(file) == ["dora", "carl"]


def test_nobody_of_many_at_once_is_lost(file: Path) -> None:
    threads = [threading.Thread(target=edit, args=(file, add(f"user{number}"), parse_users)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names(file)) == sorted(["anna", "bert", *(f"user{number}" for number in range(12))])


def test_another_process_is_awaited_but_not_for_ever(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_editor, "_LOCK_SECONDS", 0.05)
    with file.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UpstreamBusy):
            edit(file, add("carl"), parse_users)
    edit(file, add("carl"), parse_users)


def test_a_full_disk_changes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UpstreamBusy, match="No space left"):
        edit(file, add("carl"), parse_users)
    assert file.read_bytes().decode() == TEXT
    assert [one.name for one in file.parent.iterdir()] == ["users"]


def test_a_link_to_the_file_stays_one(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    edit(link, add("carl"), parse_users)
    assert link.is_symlink() and names(file)[-1] == "carl"


@pytest.mark.parametrize("content", [b"\xff:x\n", b"#" * 100])
def test_a_file_that_is_none_of_ours_is_left_alone(file: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(login_editor, "_LARGEST_BYTES", 50)
    file.write_bytes(content)
    with pytest.raises(Conflict):
        edit(file, add("carl"), parse_users)
    assert file.read_bytes() == content


def test_what_is_in_the_way_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert obstacle(file) == ""
    assert "No such file" in obstacle(file.with_name("none"))
    assert "is no file" in obstacle(file.parent)
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != file)
    assert "users may not be written" in obstacle(file)
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) == file)
    assert "the folder" in obstacle(file)
    monkeypatch.setattr(os, "access", lambda *_: True)
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    assert "another user" in obstacle(file)
