"""The index command among services, databases and operators that do what nobody expects of them."""

import os
import pty
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from ahi.client.calls import AhiClient
from app.commands.index import compare_and_repair_all
from app.settings import Settings
from datastore.serving.faults import parse_faults
from db.index_schema import VERSION, indexed_image_set, schema_version, study
from db.migrations import migrate
from dicomweb.errors import UpstreamBusy, UpstreamRefused
from index.ahi.listing import ListingStopped
from index.compare import Kind
from index.fill import Filler
from index.follow import poller
from index.follow.changed import ChangedImageSets, Outcome
from index.follow.events import ImageSetHint
from index.follow.holds import FAILURES
from index.follow.queue import EventQueue, Message
from index.reconcile import Reconciliation
from index.writing.writer import IndexWriter
from tests.datastore.shelf import DATASTORE_ID, identifier
from tests.index.follow.live import Parts, parse, running
from tests.index.follow.live import parts as live_parts
from tests.servers import MariaDb
from tests.service.process import PROGRAM
from tests.waiting import PATIENCE_SECONDS, wait_for


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    with live_parts(f"sqlite:///{tmp_path / 'index.sqlite'}", monkeypatch) as made:
        yield made


def hint(number: int, *, deleted: bool = False) -> ImageSetHint:
    return ImageSetHint(DATASTORE_ID, identifier(number), deleted)


def attempts(world: Parts, number: int) -> int:
    return world.writer.recorded(DATASTORE_ID, [identifier(number)])[identifier(number)].attempts


def studies(world: Parts) -> set[str]:
    with world.writer.session.connection() as connection:
        return set(map(str, connection.scalars(select(study.c.studydescription))))


def run_of(world: Parts, stop: threading.Event | None = None) -> Reconciliation:
    return Reconciliation(world.client, world.writer, parse, [DATASTORE_ID], stop or threading.Event())


def fail(world: Parts, number: int, times: int = 1) -> None:
    for _ in range(times):
        world.writer.note_failure(DATASTORE_ID, identifier(number), "AHI has a bad day")


def test_failures_that_pass_do_not_add_up_over_the_years(world: Parts) -> None:
    """An image set is put aside after ten failures one after the other, and not after ten bad days."""
    world.store.put(1)
    world.store.put(2)
    world.attempts.make(hint(1))
    world.attempts.make(hint(2))
    for _ in range(FAILURES):
        fail(world, 1)
        assert world.attempts.make(hint(1)) is Outcome.UNCHANGED
    assert attempts(world, 1) == 0
    world.store.delete(2)
    world.attempts.make(hint(2, deleted=True))
    fail(world, 2, 3)
    world.attempts.make(hint(2))
    assert attempts(world, 2) == 0
    assert world.progress.failed_before() == []


def test_a_fill_that_finds_what_a_follower_has_just_written_forgets_failures(world: Parts) -> None:
    world.store.put(1)
    with run_of(world) as run:
        run.list_all()
        found = list(run.differences())
        world.attempts.make(hint(1))
        fail(world, 1, 3)
        Filler(world.client, world.writer, parse, run.stop).run(found)
    assert attempts(world, 1) == 0


@pytest.mark.parametrize("told", [identifier(77), None])
def test_metadata_that_name_another_image_set_are_not_written_for_it(world: Parts, told: str | None) -> None:
    """Metadata without a name are those that were asked for."""

    def renamed(blob: bytes) -> Any:
        metadata = {name: value for name, value in parse(blob).items() if name != "ImageSetID"}
        return {**metadata, "ImageSetID": told} if told else metadata

    world.store.put(1)
    update = ChangedImageSets(world.client, world.writer, renamed).update
    if told:
        with pytest.raises(ValueError, match="another image set"):
            update(hint(1))
        assert studies(world) == set()
        return
    assert update(hint(1)) is Outcome.WRITTEN
    assert studies(world) == {"1.1"}


def test_one_that_was_never_read_is_not_gone_for_ever_because_ahi_does_not_show_it_yet(world: Parts) -> None:
    fail(world, 1)
    assert world.attempts.make(hint(1)) is Outcome.FAILED
    world.store.put(1)
    assert world.attempts.make(hint(1)) is Outcome.WRITTEN
    assert studies(world) == {"1.1"}


def test_a_repair_removes_one_that_was_never_read_and_is_gone(world: Parts) -> None:
    fail(world, 1)
    for expected in ({Kind.GONE: 1}, {}):
        with run_of(world) as run:
            run.list_all()
            (found,) = run.compare()
            assert dict(found.counts) == expected
            run.apply(Kind, found.total, with_aside=True)


def test_an_account_without_the_data_store_removes_nothing(world: Parts) -> None:
    """Another region or account has none of the image sets, and says so."""
    world.store.put(1)
    world.attempts.make(hint(1))
    world.faults.replace(parse_faults("GetImageSet:404,GetDatastore:404"))
    assert world.attempts.make(hint(1)) is Outcome.FAILED
    assert studies(world) == {"1.1"}
    world.faults.replace(())
    assert world.attempts.make(hint(1)) is Outcome.UNCHANGED
    world.store.delete(1)
    assert world.attempts.make(hint(1)) is Outcome.REMOVED


_NO_MESSAGES = (b"<html>proxy</html>", b"{")
"""The client library takes these for an answer without members, which an empty queue gives as well."""


@pytest.mark.parametrize("body", [*_NO_MESSAGES, b"[1, 2]", b'{"Messages": [{"Body": 3}]}', b"\xff\xfe"])
def test_a_queue_that_answers_something_else_is_away(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", url)
        queue = EventQueue(f"{url}/1/events", "us-east-1", wait_seconds=0)
        try:
            for call in (queue.receive, lambda: queue.delete([Message("", "r", 1)]), queue.depth):
                if call == queue.receive and body in _NO_MESSAGES:
                    assert queue.receive() == []
                    continue
                with pytest.raises(UpstreamBusy):
                    call()
        finally:
            queue.close()
            server.shutdown()
            thread.join()


def test_a_data_store_that_fails_holds_no_other_up(world: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "ROUND_SECONDS", 0.05)
    with running(world.poller, lambda: ["e" * 32, DATASTORE_ID]):
        wait_for(lambda: world.progress.seen_at(DATASTORE_ID) is not None)
        world.store.put(1, updated_at=time.time())
        wait_for(lambda: studies(world) == {"1.1"})


def test_a_clock_that_is_ahead_of_that_of_ahi_leaves_nothing_out(world: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(minutes=10)

    monkeypatch.setattr(poller, "datetime", Ahead)
    world.poller.catch_up(DATASTORE_ID, threading.Event())
    world.store.put(1, updated_at=time.time())
    world.poller.catch_up(DATASTORE_ID, threading.Event())
    assert studies(world) == {"1.1"}


def test_a_follower_begins_where_the_fill_began(world: Parts) -> None:
    """A fill takes hours; what changed meanwhile is seen by the follower that comes after it."""
    before = datetime.now(timezone.utc) - timedelta(seconds=2)
    world.store.put(1)
    with run_of(world) as run:
        run.list_all()
        listed_at = datetime.now(timezone.utc)
        assert run.apply([Kind.MISSING, Kind.BEHIND], 1).outcomes == Counter({Outcome.WRITTEN: 1})
    seen_at = world.progress.seen_at(DATASTORE_ID)
    assert seen_at and before <= seen_at <= listed_at


def test_a_fill_that_was_stopped_tells_no_follower_where_to_begin(world: Parts) -> None:
    world.store.put(1)
    stop = threading.Event()
    with run_of(world, stop) as run:
        run.list_all()
        stop.set()
        run.apply([Kind.MISSING], 1)
    assert world.progress.seen_at(DATASTORE_ID) is None


def test_a_comparison_ends_when_it_is_stopped(world: Parts) -> None:
    world.store.put(1)
    stop = threading.Event()
    with run_of(world, stop) as run:
        run.list_all()
        stop.set()
        with pytest.raises(ListingStopped):
            run.compare()


def test_an_error_that_nobody_expects_ends_a_fill_and_does_not_hang_it(world: Parts) -> None:
    """The terminal may be gone to which the progress is written."""
    for number in range(1, 60):
        world.store.put(number)

    def on_done() -> None:
        raise OSError(5, "Input/output error")

    with run_of(world) as run:
        run.list_all()
        filler = Filler(world.client, world.writer, parse, run.stop, threads=2, on_done=on_done)
        ended: list[BaseException] = []

        def fill() -> None:
            try:
                filler.run(run.differences())
            except OSError as error:
                ended.append(error)

        thread = threading.Thread(target=fill, daemon=True)
        thread.start()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive() and ended


def test_a_fill_can_be_stopped_while_ahi_hangs(world: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.patience._END_SECONDS", 0.5)
    world.client.close()
    world.client = AhiClient(region="us-east-1", deadline_seconds=120)
    for number in range(1, 60):
        world.store.put(number)
    stop = threading.Event()
    with run_of(world, stop) as run:
        run.list_all()
        world.faults.replace(parse_faults("GetImageSetMetadata:latency=20s"))
        filler = Filler(world.client, world.writer, parse, stop, threads=2)
        thread = threading.Thread(target=filler.run, args=(run.differences(),), daemon=True)
        thread.start()
        time.sleep(1)
        stop.set()
        thread.join(12)
        assert not thread.is_alive()


def test_a_login_that_may_only_read_ends_a_fill_at_once(mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch) -> None:
    mariadb.execute(
        "CREATE DATABASE read_only_fill",
        "CREATE USER only_reads@'%' IDENTIFIED BY 'reads'",
        "GRANT SELECT ON read_only_fill.* TO only_reads@'%'",
    )
    with live_parts(mariadb.url("read_only_fill"), monkeypatch) as made:
        made.store.put(1)
        url = made.writer.session._engine.url.set(username="only_reads", password="reads")  # noqa: S106
        reader = IndexWriter(url)
        with Reconciliation(made.client, reader, parse, [DATASTORE_ID]) as run:
            run.list_all()
            with pytest.raises(UpstreamRefused, match="no right to write"):
                run.apply([Kind.MISSING], 1)
        reader.close()


def test_a_data_store_that_is_gone_holds_up_no_other_at_night(world: Parts, caplog: pytest.LogCaptureFixture) -> None:
    world.store.put(1)
    settings = Settings(ahi_datastore_ids=("e" * 32, DATASTORE_ID))
    compare_and_repair_all(settings, world.client, world.writer)
    assert studies(world) == {"1.1"}
    assert f"data store not compared datastore={'e' * 32}" in caplog.text


def test_two_that_create_the_tables_of_a_file_at_once_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one looked for a version before the first one was done."""
    writer = IndexWriter(f"sqlite:///{tmp_path / 'index.sqlite'}")
    writer.create_or_migrate()
    monkeypatch.setattr(migrate, "current_version", lambda _: 0)
    writer.create_or_migrate()
    with writer.session.connection() as connection:
        assert connection.scalars(select(schema_version.c.version)).all() == [VERSION]
    writer.close()


@pytest.mark.service
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_the_prompt_ends_the_command(world: Parts, tmp_path: Path, number: signal.Signals) -> None:
    world.store.put(1)
    main, terminal = pty.openpty()
    log = tmp_path / "command.log"
    environment = {
        "INDEX_WRITE_URL": f"sqlite:///{tmp_path / 'index.sqlite'}",
        "AHI_DATASTORE_IDS": DATASTORE_ID,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with log.open("ab") as output:
        command = subprocess.Popen(
            [*PROGRAM, "index"], cwd=tmp_path, env={**os.environ, **environment}, stdin=terminal, stdout=output,
            stderr=output,
        )  # fmt: skip
    try:
        wait_for(lambda: b"Begin?" in log.read_bytes() or command.poll() is not None)
        command.send_signal(number)
        assert command.wait(PATIENCE_SECONDS) == 128 + number, log.read_text()
    finally:
        command.kill()
        os.close(main)
        os.close(terminal)
    assert "Traceback" not in log.read_text()
    with world.writer.session.connection() as connection:
        assert connection.scalar(select(func.count()).select_from(indexed_image_set)) == 0


@pytest.mark.service
def test_an_interrupt_before_anything_has_begun_ends_the_command_without_a_traceback(tmp_path: Path) -> None:
    """The database takes the connection and says nothing."""
    log = tmp_path / "command.log"
    with socket.create_server(("127.0.0.1", 0)) as silent, log.open("ab") as output:
        silent.settimeout(PATIENCE_SECONDS)
        environment = {
            "INDEX_WRITE_URL": f"mysql+pymysql://index:index@127.0.0.1:{silent.getsockname()[1]}/index",
            "AHI_DATASTORE_IDS": DATASTORE_ID,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        command = subprocess.Popen(
            [*PROGRAM, "index"], cwd=tmp_path, env={**os.environ, **environment}, stdout=output, stderr=output
        )
        try:
            with silent.accept()[0]:
                command.send_signal(signal.SIGINT)
                assert command.wait(PATIENCE_SECONDS) == 130, log.read_text()
        finally:
            command.kill()
    assert "Traceback" not in log.read_text()
