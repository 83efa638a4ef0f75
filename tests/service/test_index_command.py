"""`python main.py index` as operators run it: a process of its own, which may be stopped or killed at any moment."""

import fcntl
import json
import os
import pty
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from datastore.serving.faults import Faults, parse_faults
from db.index_jobs import find_runs
from index.fill import THREADS
from index.follow.holds import FAILURES
from index.writing.runs import cancel_run
from index.writing.writer import IndexWriter
from tests.datastore.shelf import DATASTORE_ID, identifier
from tests.datastore_server import served
from tests.index.follow.live import LiveStore
from tests.servers import OpenDatabase, Sqlite
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
MANY = 60


class Command:
    """Runs the command on an index of its own, in front of a data store that lives in this process."""

    def __init__(self, folder: Path, endpoint: str, store: LiveStore, faults: Faults) -> None:
        self.store, self.faults = store, faults
        self.index = folder / "own.sqlite"
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment: dict[str, str] = {
            **inherited,
            "AWS_ENDPOINT_URL_MEDICAL_IMAGING": endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "INDEX_WRITE_URL": f"sqlite:///{self.index}",
            "INDEX_METADATA_RATE": "1000",
        }

    def start(self, *options: str, **more: str) -> "subprocess.Popen[str]":
        """Start it without a terminal."""
        return subprocess.Popen(
            [sys.executable, str(ROOT / "main.py"), "index", *options],
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *options: str, **more: str) -> tuple[int, str, str]:
        """The exit status, standard output and standard error of a run."""
        process = self.start(*options, **more)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def indexed(self) -> set[str]:
        """The study descriptions in the index; none without tables."""
        with sqlite3.connect(self.index) as connection:
            try:
                return {row[0] for row in connection.execute("SELECT studydescription FROM study")}
            except sqlite3.OperationalError:
                return set()


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    store, faults = LiveStore(), Faults()
    for number in range(1, MANY + 1):
        store.put(number)
    with served(store, faults) as endpoint:
        yield Command(tmp_path, endpoint, store, faults)


def test_a_fill_a_comparison_and_a_repair(command: Command) -> None:
    status, _, told = command.run()
    assert status == 0, told
    assert command.indexed() == command.store.expected()
    for said in (f"{MANY} image sets are to be read", "cost  about", "time  about", f"{MANY} written", "left="):
        assert said in told
    assert command.run("--compare")[0] == 0
    command.store.delete(1)
    command.store.put(2)
    command.store.put(MANY + 1)
    status, table, _ = command.run("--compare")
    assert status == 3
    assert [line.split() for line in table.splitlines()][1] == [DATASTORE_ID, str(MANY), "1", "1", "1", "0", "0"]
    status, text, _ = command.run("--compare", "--json", "--repair")
    result: Mapping[str, Any] = json.loads(text)
    (found,) = result["datastores"]
    assert (status, found["missing"], found["behind"], found["gone"]) == (0, 1, 1, 1)
    assert {one["difference"] for one in found["image_sets"]} == {"missing", "behind", "gone"}
    assert result["repaired"] == {"written": 2, "removed": 1}
    assert command.indexed() == command.store.expected()
    status, _, told = command.run()
    assert (status, "cost" in told) == (0, False)  # it is no first fill


def test_a_data_store_that_cannot_be_listed_holds_up_no_other_one(command: Command) -> None:
    gone = "f" * 32
    line = f"data store {gone} cannot be listed and is left out: "
    both = {"AHI_DATASTORE_IDS": f"{gone},{DATASTORE_ID}"}
    status, _, told = command.run(**both)
    assert (status, line in told) == (3, True), told
    assert command.indexed() == command.store.expected()
    command.store.delete(1)
    status, text, told = command.run("--compare", "--repair", "--json", **both)
    result: Mapping[str, Any] = json.loads(text)
    assert (status, line in told) == (3, True), told
    assert [(one["datastore"], one["gone"]) for one in result["datastores"]] == [(DATASTORE_ID, 1)]
    assert result["repaired"] == {"removed": 1}
    assert command.indexed() == command.store.expected()
    assert command.run("--compare", **both)[0] == 3, "the index may differ from the other one"
    assert command.run(AHI_DATASTORE_IDS=gone)[0] == 2


def test_one_that_is_back_is_told_and_filled(command: Command) -> None:
    """The index removed it, because AHI said once that it had gone."""
    assert command.run()[0] == 0
    writer = IndexWriter(command.environment["INDEX_WRITE_URL"])
    writer.remove(DATASTORE_ID, identifier(3))
    writer.close()
    status, text, _ = command.run("--compare", "--json")
    (found,) = json.loads(text)["datastores"]
    assert (status, found["returned"], found["missing"], found["gone"]) == (3, 1, 0, 0)
    assert [one["difference"] for one in found["image_sets"]] == ["returned"]
    status, _, told = command.run()
    assert (status, "1 written" in told) == (0, True), told
    assert command.indexed() == command.store.expected()


def test_what_was_put_aside_is_tried_again_when_ahi_has_a_newer_version(command: Command) -> None:
    command.faults.replace(parse_faults(f"GetImageSetMetadata/{identifier(3)}:body=list"))
    for _ in range(FAILURES):
        assert command.run()[0] == 3
    status, _, told = command.run()
    assert (status, "1 image sets were put aside" in told, "1 failed" in told) == (3, True, False)
    command.faults.replace(())
    assert command.run()[0] == 3  # AHI has no newer version, and nobody asked for a repair
    command.store.put(3)
    assert command.run()[0] == 0
    assert command.indexed() == command.store.expected()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_ends_at_any_moment_goes_on_where_it_was(command: Command, number: signal.Signals) -> None:
    command.faults.replace(parse_faults("GetImageSetMetadata:latency=100ms"))
    process = command.start(INDEX_METADATA_RATE="20")
    wait_for(lambda: len(command.store.metadata_read) > MANY / 3)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == (-number if number is signal.SIGKILL else 128 + number), told
    before = len(command.indexed())
    assert 0 < before < MANY
    command.store.metadata_read.clear()
    command.faults.replace(())
    assert command.run()[0] == 0
    assert command.indexed() == command.store.expected()
    under_way = THREADS if number is signal.SIGKILL else 0  # answers that nobody waited for any more
    assert len(command.store.metadata_read) <= MANY - before + under_way


@pytest.mark.parametrize("options", [(), ("--compare", "--repair")], ids=["fill", "repair"])
def test_a_run_that_an_operator_cancels_ends_and_the_next_goes_on(
    command: Command, open_database: OpenDatabase, options: tuple[str, ...]
) -> None:
    command.faults.replace(parse_faults("GetImageSetMetadata:latency=100ms"))
    process = command.start(*options, INDEX_METADATA_RATE="5")
    wait_for(lambda: command.indexed())
    writer, database = IndexWriter(command.environment["INDEX_WRITE_URL"]), open_database(f"sqlite:///{command.index}")
    (run,) = find_runs(database, 0, 10)
    wait_for(lambda: find_runs(database, 0, 1)[0].phase == "filling" and find_runs(database, 0, 1)[0].done)
    assert cancel_run(writer.session, run.run)
    writer.close()
    _, told = process.communicate(timeout=120)
    assert (process.returncode, "an operator has cancelled this run" in told) == (3, True), told
    (ended,) = find_runs(database, 0, 10)
    assert ended.ended_at and ended.cancelled_at and ended.error == ""
    assert (ended.kind, ended.datastore_ids, ended.total) == ("repair" if options else "fill", (DATASTORE_ID,), MANY)
    assert 0 < len(command.indexed()) < MANY
    command.faults.replace(())
    assert command.run()[0] == 0
    assert command.indexed() == command.store.expected()
    newest = find_runs(database, 0, 1)[0]
    assert newest.kind == "fill" and newest.ended_at and "written" in newest.result


def test_killed_again_and_again_it_comes_to_an_end(command: Command) -> None:
    """Each run gets a little further, and no row is ever wrong."""
    command.faults.replace(parse_faults("GetImageSetMetadata:latency=50ms"))
    for part in range(1, 5):
        process = command.start(INDEX_METADATA_RATE="30")
        while len(command.store.metadata_read) <= part * MANY / 6 and process.poll() is None:
            time.sleep(0.02)
        process.kill()
        process.communicate(timeout=60)
        assert command.indexed() <= command.store.expected()
    assert command.run()[0] == 0
    assert command.indexed() == command.store.expected()


@pytest.mark.parametrize(("answer", "status", "number"), [("n", 1, 0), ("y", 0, MANY)])
def test_a_terminal_is_asked_before_a_first_fill_and_shows_a_bar(
    command: Command, answer: str, status: int, number: int
) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), "index"],
        env={**command.environment, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    told = _read_until(ours, "Begin? [y/N]")
    assert f"{MANY} image sets are to be read" in told
    assert command.store.metadata_read == []
    os.write(ours, f"{answer}\n".encode())
    told = _read_until(ours, None)
    os.close(ours)
    assert process.wait(60) == status
    assert len(command.indexed()) == number
    assert ("filling: 100%" in told) == (number > 0)


def _read_until(terminal: int, text: str | None) -> str:
    """What a terminal shows until this text, by default until its end."""
    told = ""
    while text is None or text not in told:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # Linux says so at the end
            break
        if not piece:
            break
        told += piece.decode(errors="replace")
    return told


def test_what_cannot_be_read_is_told_by_the_exit_status(command: Command) -> None:
    command.faults.replace(parse_faults("GetImageSetMetadata:body=list:x1"))
    status, _, told = command.run()
    assert (status, len(command.indexed())) == (3, MANY - 1)
    assert "1 failed" in told
    assert "P1" not in told


def test_one_store_of_several_and_none_that_is_unknown(command: Command) -> None:
    assert command.run(AHI_DATASTORE_IDS=DATASTORE_ID)[0] == 0
    status, _, told = command.run(AHI_DATASTORE_IDS="e" * 32)
    assert (status, "Traceback" in told) == (2, False)
    assert "AHI_DATASTORE_IDS" in told


def test_wrong_settings_and_a_database_of_others_are_refused(command: Command, sqlite: Sqlite) -> None:
    for options, more in (
        ((), {"INDEX_WRITE_URL": ""}),
        (("--repair",), {}),
        (("--json",), {}),
        ((), {"INDEX_WRITE_URL": sqlite.new_index()}),
    ):
        status, _, told = command.run(*options, **more)
        assert (status, "Traceback" in told) == (2, False), told
        assert told.strip()


def test_an_outage_of_ahi_ends_with_a_status_that_says_try_again(command: Command) -> None:
    command.faults.replace(parse_faults("*:403"))
    status, _, told = command.run()
    assert (status, "Traceback" in told) == (1, False)
    assert "again" in told
