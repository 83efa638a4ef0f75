"""A secret that is rotated is read again when the old login is refused: once, however many are refused at a time."""

import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import boto3
import pytest
from sqlalchemy.engine import URL, make_url

from db import login as login_module
from db.engine import Database
from db.login import Login
from db.secret import SecretError, index_url
from dicomweb.errors import UpstreamBusy
from tests.aws_server import AwsServer
from tests.servers import MariaDb, PostgreSql

REGION = "eu-west-1"
NEW_PASSWORD = "n3w/p@ss:%"  # noqa: S105 - a test's


class Reader:
    """Reads what is set, counts how often, and hangs while its gate is closed."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.read = 0
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> URL:
        self.read += 1
        assert self.gate.wait(60)
        return self.url


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = AwsServer()
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_password_is_changed_while_many_ask(
    kind: str, endpoint: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: MariaDb | PostgreSql = request.getfixturevalue(kind)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    url = fresh_user(server)
    manager = boto3.client("secretsmanager", region_name=REGION)
    members = {"host": url.host, "port": url.port, "username": url.username, "dbname": url.database,
               "engine": url.get_backend_name(), "password": url.password}  # fmt: skip
    arn = manager.create_secret(Name=f"rotated-{uuid4()}", SecretString=json.dumps(members))["ARN"]
    read = partial(index_url, arn, region=REGION)
    database = Database(Login(read(), read), pool_size=8)
    database.ping()
    manager.put_secret_value(SecretId=arn, SecretString=json.dumps({**members, "password": NEW_PASSWORD}))
    server.change_password(str(url.username), NEW_PASSWORD)
    with ThreadPoolExecutor(16) as threads:
        for _ in threads.map(lambda _: database.ping(), range(48)):
            pass
    database.close()


def fresh_user(server: MariaDb | PostgreSql) -> URL:
    """The URL of an index as a user of its own."""
    if isinstance(server, MariaDb):
        return make_url(server.new_reader()[1])
    url = make_url(server.new_index()).set(username=f"reader{uuid4().hex}")
    server.asks_for_passwords_of(str(url.username))
    server.execute(f"CREATE ROLE {url.username} LOGIN PASSWORD '{url.password}'".replace(":", "\\:"))
    return url


def test_one_reads_for_all_who_are_refused() -> None:
    old, new = make_url("mysql+pymysql://u:old@h/d"), make_url("mysql+pymysql://u:new@h/d")
    reader = Reader(new)
    reader.gate.clear()
    login = Login(old, reader)
    together = threading.Barrier(16)

    def refused(_: int) -> URL | None:
        together.wait()
        reader.gate.set()
        return login.other_than(old)

    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(refused, range(16))) == {new}
    assert reader.read == 1


def test_a_secret_that_is_wrong_is_not_read_for_every_request(
    mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_module, "_PAUSE_SECONDS", 600.0)
    wrong = make_url(mariadb.new_reader()[1]).set(password="wrong")  # noqa: S106
    reader = Reader(wrong)
    database = Database(Login(wrong, reader))
    for _ in range(20):
        with pytest.raises(UpstreamBusy):
            database.ping()
    assert reader.read == 1
    monkeypatch.setattr(login_module, "_PAUSE_SECONDS", 0.0)  # the pause is over
    with pytest.raises(UpstreamBusy):
        database.ping()
    assert reader.read == 2
    database.close()


def test_a_database_that_is_down_is_no_reason_to_read() -> None:
    url = make_url("mysql+pymysql://u:p@127.0.0.1:9/d")
    reader = Reader(url)
    with pytest.raises(UpstreamBusy):
        Database(Login(url, reader)).ping()
    assert reader.read == 0


def test_a_secret_that_cannot_be_read_is_told_and_the_login_stays(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> URL:
        raise SecretError("the database secret cannot be read: AccessDeniedException")

    login = Login("mysql+pymysql://u:p@h/d", fail)
    with caplog.at_level(logging.INFO):
        assert login.other_than(login.url) is None
    assert "not read again: the database secret cannot be read: AccessDeniedException" in caplog.text
    assert login.url.password == "p"  # noqa: S105


def test_a_secret_that_takes_long_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_module, "_PATIENCE_SECONDS", 0.2)
    read = Reader(make_url("mysql+pymysql://u:new@h/d"))
    read.gate.clear()
    login = Login("mysql+pymysql://u:old@h/d", read)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(login.other_than, [login.url] * 16)) == [None] * 16  # it is still being read
    assert read.read == 1
    read.gate.set()
