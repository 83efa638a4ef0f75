"""`main.py check` of an index of our own: its version, its follower, the login that writes, the queue of events."""

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import boto3
import pytest
from sqlalchemy import insert, update

from app.check_result import ERROR, OK, WARNING, CheckResult
from app.commands.check import check_all
from app.commands.check_following import check_comparisons
from app.settings import Settings
from db.engine import Database
from db.index_schema import VERSION, index_follower, schema_version
from index.follow.holds import FAILURES
from index.follow.progress import FollowerProgress
from index.run import RunKind
from index.writing.runs import note_begin, note_end
from index.writing.writer import IndexWriter
from tests.aws_server import AwsServer
from tests.servers import MariaDb, engine_of


@pytest.fixture(scope="module")
def sqs() -> Iterator[str]:
    """The endpoint of STS and SQS."""
    server = AwsServer()
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, sqs: str) -> None:
    for service in ("STS", "SQS"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", sqs)
    monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An index of our own, as the command has made it."""
    made = f"sqlite:///{tmp_path / 'own.sqlite'}"
    writer = IndexWriter(made)
    writer.create_or_migrate()
    writer.close()
    return made


def found(tmp_path: Path, **settings: object) -> dict[str, CheckResult]:
    """The results by what was checked."""
    known = {"aws_default_region": "us-east-1", "cache_root": tmp_path / "cache", "host": "127.0.0.1"}
    bounds = {"cache_max_bytes": 2**20, "cache_min_free_bytes": 0, "ahi_deadline_seconds": 0.5}
    results = check_all(Settings(**{**known, **bounds, **settings}))  # type: ignore[arg-type]
    assert all((one.level == OK) == (not one.advice) for one in results)
    return {one.what: one for one in results}


def test_a_new_index_is_complete_and_has_no_follower(url: str, tmp_path: Path) -> None:
    results = found(tmp_path, database_url=url)
    assert (results["index kind"].level, f"version {VERSION}" in results["index kind"].told) == (OK, True)
    assert results["schema"].level == OK
    assert "index" not in results  # all statements of doc/indexes.md are there from the start
    assert (results["follower"].level, "ever run" in results["follower"].told) == (WARNING, True)
    assert results["indexed image sets"].told.startswith("0 are indexed, 0 failed")


def compared(url: str, kind: RunKind, datastore_ids: list[str], result: str, error: str = "") -> None:
    """Note a run that has ended."""
    writer = IndexWriter(url)
    note_begin(writer.session, name := secrets.token_hex(16), kind.value, "host", datastore_ids)
    note_end(writer.session, name, 5, result, error)
    writer.close()


def test_the_last_comparison_of_each_data_store_is_told(url: str, tmp_path: Path) -> None:
    never = found(tmp_path, database_url=url)["comparison"]
    assert (never.level, "never compared" in never.told) == (WARNING, True)
    compared(url, RunKind.FILL, ["a" * 32], "image sets: 5 indexed")
    assert found(tmp_path, database_url=url)["comparison"] == never, "a fill is no comparison"
    compared(url, RunKind.COMPARE, ["a" * 32], "3 image sets differ")
    differs = found(tmp_path, database_url=url)["comparison"]
    assert (differs.level, "3 image sets differ" in differs.told, "s ago" in differs.told) == (WARNING, True, True)
    compared(url, RunKind.NIGHTLY, ["a" * 32], "image sets: 3 indexed")
    repaired = found(tmp_path, database_url=url)["comparison"]
    assert (repaired.level, "3 indexed" in repaired.told) == (OK, True)
    compared(url, RunKind.COMPARE, ["a" * 32], "0 image sets differ")
    assert found(tmp_path, database_url=url)["comparison"].level == OK
    compared(url, RunKind.REPAIR, ["a" * 32], "", "AHI does not answer")
    failed = found(tmp_path, database_url=url)["comparison"]
    assert (failed.level, "AHI does not answer" in failed.told) == (WARNING, True)


def test_each_data_store_has_its_own_comparison(url: str, tmp_path: Path) -> None:
    compared(url, RunKind.COMPARE, ["a" * 32, "b" * 32], "0 image sets differ")
    compared(url, RunKind.REPAIR, ["b" * 32], "image sets: 1 indexed")
    database = Database(url)
    told = [result.told for result in check_comparisons(database)]
    database.close()
    assert sorted((one[:1], "1 indexed" in one) for one in told) == [("a", False), ("b", True)]


def test_a_follower_that_has_just_had_an_answer_is_well(url: str, tmp_path: Path) -> None:
    writer = IndexWriter(url)
    progress = FollowerProgress(writer.session)
    progress.note_asked()
    progress.note_event()
    writer.close()
    assert found(tmp_path, database_url=url)["follower"].level == OK
    with engine_of(url) as engine, engine.begin() as connection:
        connection.execute(update(index_follower).values(askedat=writer_time(-3600)))
    late = found(tmp_path, database_url=url)["follower"]
    assert (late.level, "60 minutes ago" in late.told) == (WARNING, True)


def writer_time(seconds: float) -> datetime:
    """A time in UTC as the index holds it, so many seconds from now."""
    return datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(seconds=seconds)


def test_image_sets_that_were_put_aside_are_told(url: str, tmp_path: Path) -> None:
    writer = IndexWriter(url)
    writer.note_failure("d" * 32, "b" * 32, "reason")
    for _ in range(FAILURES):
        writer.note_failure("d" * 32, "a" * 32, "reason")
    writer.close()
    result = found(tmp_path, database_url=url)["indexed image sets"]
    assert (result.level, result.told) == (
        WARNING,
        "0 are indexed, 1 failed and are tried again, 1 were put aside",
    )


@pytest.mark.parametrize(("version", "level"), [(VERSION + 1, WARNING), (0, ERROR)])
def test_tables_of_another_version_are_told(url: str, tmp_path: Path, version: int, level: str) -> None:
    with engine_of(url) as engine, engine.begin() as connection:
        connection.execute(schema_version.delete())
        connection.execute(insert(schema_version).values(version=version, changed_at=writer_time(0)))
    assert found(tmp_path, database_url=url)["index kind"].level == level


def test_the_service_reads_and_the_command_writes(mariadb: MariaDb, tmp_path: Path) -> None:
    """Each login is held to what it is for."""
    mariadb.execute(
        "CREATE DATABASE checked",
        "CREATE USER own_reader@'%' IDENTIFIED BY 'reader'",
        "GRANT SELECT ON checked.* TO own_reader@'%'",
    )
    all_rights = mariadb.url("checked")
    reader = all_rights.replace(all_rights.split("//")[1].split("@")[0], "own_reader:reader", 1)
    writer = IndexWriter(all_rights)
    writer.create_or_migrate()
    writer.close()
    right = found(tmp_path, database_url=reader, index_write_url=all_rights)
    assert (right["database grants"].level, right["write login"].level) == (OK, OK)
    wrong = found(tmp_path, database_url=all_rights, index_write_url=reader)
    assert (wrong["database grants"].level, wrong["write login"].level) == (WARNING, ERROR)
    assert "INSERT" in wrong["write login"].told


def test_the_settings_of_the_command_alone_can_be_checked(url: str, tmp_path: Path) -> None:
    results = found(tmp_path, index_write_url=url)
    assert results.keys() == {"identity", "write login", "index kind", "follower", "indexed image sets", "comparison"}
    nowhere = found(tmp_path, index_write_url="mysql+pymysql://writer:x@127.0.0.1:9/index")
    assert nowhere["write login"].level == ERROR
    assert "127.0.0.1 port 9" in nowhere["write login"].told


def test_dead_letters_are_told(url: str, tmp_path: Path, sqs: str) -> None:
    client = boto3.client("sqs", region_name="us-east-1", endpoint_url=sqs)
    dead = client.create_queue(QueueName="dead")["QueueUrl"]
    redrive = '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:dead", "maxReceiveCount": "10"}'
    queue = client.create_queue(QueueName="events", Attributes={"RedrivePolicy": redrive})["QueueUrl"]
    client.send_message(QueueUrl=queue, MessageBody="x")
    results = found(tmp_path, index_write_url=url, index_events_queue_url=queue)
    assert (results["queue of events"].level, "1 events wait" in results["queue of events"].told) == (OK, True)
    assert "dead letters" not in results
    client.send_message(QueueUrl=dead, MessageBody="x")
    results = found(tmp_path, index_write_url=url, index_events_queue_url=queue)
    assert results["dead letters"].level == WARNING
    lost = found(tmp_path, index_write_url=url, index_events_queue_url=f"{sqs}/123456789012/none")
    assert lost["queue of events"].level == ERROR
