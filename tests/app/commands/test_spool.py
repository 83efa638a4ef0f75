"""The command that shows the spool, tries refused entries again and removes them."""

import json
from pathlib import Path

import pytest

from app.check_result import OK, WARNING
from app.commands.check_store import describe_status
from app.commands.command_line import main
from store.outcome import FailureReason, Outcome, ReceivedInstance, Sender
from store.spool.layout import SpoolLock
from store.spool.spool import Entry, Spool, SpoolStatus


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    monkeypatch.setenv("SPOOL_ROOT", str(tmp_path / "spool"))
    monkeypatch.setenv("DATABASE_URL", "sqlite://")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    opened = Spool(tmp_path / "spool")
    opened.open()
    return opened


def add(spool: Spool, number: int) -> Entry:
    body = spool.incoming / "body"
    body.write_bytes(b"x" * 100)
    instance = ReceivedInstance(0, 100, "1.1", f"1.2.{number}", "1.2", "1.3", "1.2.1", "0" * 64)
    return spool.accept(body, [instance], Sender("alice", "aetitle", "d" * 32))


def refuse(spool: Spool, number: int) -> Entry:
    entry = add(spool, number)
    reason = {"failure": FailureReason.CLASS_NOT_SUPPORTED, "detail": "AWS HealthImaging refuses it"}
    spool.refuse(entry, [Outcome.of(entry.manifest.instances[0], **reason)])  # type: ignore[arg-type]
    return entry


def test_an_empty_spool(spool: Spool, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spool"]) == 0
    assert capsys.readouterr().out == "the spool is empty\n"


def test_the_list_has_what_waits_and_what_was_refused_with_its_reason(
    spool: Spool, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting, refused = add(spool, 1), refuse(spool, 2)
    (spool.layout.queue / "strange").mkdir()
    assert main(["spool"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(waiting.name) and "waiting" in lines[1]
    assert lines[2].startswith(refused.name) and lines[2].endswith("AWS HealthImaging refuses it")
    assert lines[3].startswith("strange") and lines[3].endswith("it is left alone")
    assert main(["spool", "--json"]) == 3
    first, second, third = json.loads(capsys.readouterr().out)
    assert (first["entry"], first["state"], first["instances"], first["bytes"]) == (waiting.name, "waiting", 1, 100)
    assert (first["user"], first["ae_title"], first["datastore_id"]) == ("alice", "aetitle", "d" * 32)
    assert second["outcomes"][0]["failure"] == FailureReason.CLASS_NOT_SUPPORTED
    assert third == {"entry": "strange", "state": "unknown"}


def test_what_was_refused_can_be_tried_again_or_removed_while_the_service_runs(spool: Spool) -> None:
    one, two = refuse(spool, 1), refuse(spool, 2)
    lock = SpoolLock(spool.layout)
    assert main(["spool", "retry", one.name]) == 0
    assert spool.names() == [one.name]
    assert main(["spool", "remove", "--all"]) == 0
    assert spool.refused() == [] and spool.names() == [one.name]
    assert main(["spool", "remove", two.name]) == 2
    lock.close()


def test_what_waits_is_removed_only_while_no_service_runs(spool: Spool, capsys: pytest.CaptureFixture[str]) -> None:
    entry = add(spool, 1)
    lock = SpoolLock(spool.layout)
    assert main(["spool", "remove", entry.name]) == 1
    assert "the service runs" in capsys.readouterr().err
    assert spool.names() == [entry.name]
    lock.close()
    assert main(["spool", "remove", entry.name]) == 0
    assert spool.names() == []


@pytest.mark.parametrize("arguments", [["retry"], ["remove"], ["retry", "x"], ["remove", "../queue"]])
def test_names_that_are_none_are_told(spool: Spool, arguments: list[str]) -> None:
    assert main(["spool", *arguments]) == 2


@pytest.mark.parametrize(
    ("status", "level", "told"),
    [
        (SpoolStatus(2, 3, 400, 5.0), OK, "2 requests wait, 400 bytes, the oldest for 5 s"),
        (SpoolStatus(2, 3, 400, 4000.0), WARNING, "the oldest for 4000 s"),
        (SpoolStatus(refused=1), WARNING, "1 requests were refused"),
        (SpoolStatus(unknown=1), WARNING, "1 things in the queue cannot be read"),
    ],
)
def test_check_tells_length_and_age(status: SpoolStatus, level: str, told: str) -> None:
    result = describe_status(status)
    assert result.level == level and told in result.told
