"""`check` of a service that stores: AHI's STOW-RS service, the spool and the login that writes, each asked for real."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from app.check_result import ERROR, OK, WARNING, CheckResult
from app.commands import check_store
from app.commands.check import check_all
from app.settings import Settings
from datastore.serving.faults import Faults, parse_faults
from datastore.storage.storage import Storage
from index.writing.writer import IndexWriter
from store.outcome import FailureReason, Outcome, ReceivedInstance, Sender
from store.spool.spool import OLD_SECONDS, Entry, Spool
from tests.datastore_server import served
from tests.servers import Sqlite, free_port

UIDS = ("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2", "1.2.1", "1.2.840.10008.1.2.1")
RECEIVED = ReceivedInstance(0, 1000, *UIDS, "0" * 64)
DATASTORE_ID = "0" * 32
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_store, "_PATIENCE_SECONDS", 1.0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    for service in ("STS", "MEDICAL_IMAGING"):  # nothing leaves this machine
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", f"http://127.0.0.1:{free_port()}")


def settings_of(folder: Path, **settings: object) -> Settings:
    known = {"database_url": f"sqlite:///{folder / 'index.sqlite'}", "aws_default_region": "us-east-1", "store": True}
    bounds = {"cache_root": folder / "cache", "cache_max_bytes": 2**20, "cache_min_free_bytes": 0}
    room = {"spool_root": folder / "spool", "spool_min_free_bytes": 0}
    return Settings(**{**known, **bounds, **room, **settings})  # type: ignore[arg-type]


def stow(folder: Path, endpoint: str, datastore_id: str = DATASTORE_ID) -> CheckResult:
    """What is found of AHI's STOW-RS service."""
    settings = settings_of(folder, ahi_stow_endpoint=endpoint, store_datastore_id=datastore_id)
    (result,) = [one for one in check_store.check_store(settings) if one.what == "store"]
    assert (result.level == OK) == (not result.advice)
    return result


def test_ahi_is_asked_and_nothing_is_stored(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path / "store")
    datastore_id = storage.datastore.datastore_id
    with served(storage, signature_needed=True) as url:
        well, unknown = stow(tmp_path, url, datastore_id), stow(tmp_path, url, "x" * 32)
    assert (well.level, well.told) == (OK, f"{datastore_id} takes store requests")
    assert (unknown.level, "does not have the data store" in unknown.told) == (ERROR, True)
    assert list(storage.image_sets()) == []


@pytest.mark.parametrize("fault", ["403", "404", "409", "429", "500", "503"])
def test_a_service_that_refuses_is_told(tmp_path: Path, fault: str) -> None:
    storage, faults = Storage.open(tmp_path / "store"), Faults(parse_faults(f"StoreDICOM:{fault}"))
    with served(storage, faults) as url:
        result = stow(tmp_path, url, storage.datastore.datastore_id)
    assert (result.level, f"tried StoreDICOM at 127.0.0.1 port {url.rpartition(':')[2]})" in result.told) == (
        ERROR,
        True,
    )
    assert "medical-imaging:StoreDICOM" in result.advice


@contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """A server that gives this answer to everything, or, with None, takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while answer:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("answer", [PAGE, PAGE[:30], PAGE.replace(b"200", b"404"), PAGE.replace(b"200", b"302")])
def test_another_server_is_not_taken_for_ahi(tmp_path: Path, answer: bytes) -> None:
    with answering(answer) as url:
        assert stow(tmp_path, url).level == ERROR


def test_a_service_that_says_nothing_holds_the_check_for_seconds_only(tmp_path: Path) -> None:
    began = time.monotonic()
    with answering(None) as url:
        assert stow(tmp_path, url).level == ERROR
    assert time.monotonic() - began < 60  # a batch of instances may wait for ten minutes


def test_missing_credentials_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert stow(tmp_path, f"http://127.0.0.1:{free_port()}").level == ERROR


def spool_result(folder: Path, **settings: object) -> CheckResult:
    """What is found of the spool."""
    (result,) = [one for one in check_store.check_store(settings_of(folder, **settings)) if one.what == "spool"]
    assert (result.level == OK) == (not result.advice)
    return result


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    opened = Spool(tmp_path / "spool")
    opened.open()
    return opened


def add(spool: Spool) -> Entry:
    body = spool.incoming / "body"
    body.write_bytes(b"x" * 1000)
    return spool.accept(body, [RECEIVED], Sender("alice", "aetitle", DATASTORE_ID))


def test_a_spool_that_is_not_there_yet_is_a_warning(tmp_path: Path) -> None:
    result = spool_result(tmp_path)
    assert (result.level, "is not there yet" in result.told) == (WARNING, True)
    assert not (tmp_path / "spool").exists()


def test_the_length_of_the_spool_is_told(tmp_path: Path, spool: Spool) -> None:
    assert spool_result(tmp_path).told.startswith("0 requests wait, 0 bytes")
    add(spool)
    add(spool)
    result = spool_result(tmp_path)
    assert (result.level, result.told.startswith("2 requests wait, 2000 bytes")) == (OK, True)


def test_an_old_entry_is_a_warning(tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    then = time.time() - OLD_SECONDS - 100
    with monkeypatch.context() as earlier:
        earlier.setattr(time, "time", lambda: then)
        add(spool)
    result = spool_result(tmp_path)
    assert (result.level, "1 requests wait, 1000 bytes" in result.told) == (WARNING, True)
    assert "log of the forwarder" in result.advice


def test_what_was_refused_and_what_cannot_be_read_are_warnings(tmp_path: Path, spool: Spool) -> None:
    spool.refuse(add(spool), [Outcome.of(RECEIVED, failure=FailureReason.PROCESSING_FAILURE)])
    refused = spool_result(tmp_path)
    assert (refused.level, refused.told) == (WARNING, "1 requests were refused by AHI")
    (spool.layout.queue / "notes.txt").write_text("x")
    unknown = spool_result(tmp_path)
    assert (unknown.level, "cannot be read" in unknown.told) == (WARNING, True)


def test_a_spool_that_takes_nothing_is_an_error(tmp_path: Path, spool: Spool) -> None:
    full = spool_result(tmp_path, spool_min_free_bytes=2**60)
    assert (full.level, "SPOOL_MIN_FREE_BYTES" in full.told) == (ERROR, True)
    shutil.rmtree(spool.incoming)
    gone = spool_result(tmp_path)
    assert (gone.level, "cannot be written" in gone.told) == (ERROR, True)


def of_index(folder: Path, **settings: object) -> dict[str, CheckResult]:
    """What is found of the login that writes and of the tables that it writes to."""
    found = check_all(settings_of(folder, ahi_deadline_seconds=0.5, **settings))
    return {one.what: one for one in found if one.what in ("write login", "tables")}


def test_the_login_that_writes_is_tried(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'index.sqlite'}"
    writer = IndexWriter(url)
    writer.create_or_migrate()
    writer.close()
    found = of_index(tmp_path, index_write_url=url)
    assert {one.what: one.level for one in found.values()} == {"write login": OK, "tables": OK}


def test_a_service_that_stores_without_a_login_that_writes_is_an_error(tmp_path: Path) -> None:
    (result,) = of_index(tmp_path).values()
    assert (result.level, "INDEX_WRITE_URL" in result.told) == (ERROR, True)


def test_tables_to_which_no_store_request_writes_are_an_error(tmp_path: Path, sqlite: Sqlite) -> None:
    url = sqlite.new_index()
    assert of_index(tmp_path, database_url=url, index_write_url=url)["tables"].level == ERROR


def test_tables_that_the_first_start_makes_are_a_warning(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'empty.sqlite'}"
    Path(tmp_path / "empty.sqlite").touch()
    assert of_index(tmp_path, database_url=url, index_write_url=url)["tables"].level == WARNING
