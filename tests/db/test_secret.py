"""The secret is read from a real Secrets Manager endpoint, and becomes the URL of the index."""

import json
import logging
from collections.abc import Callable, Iterator
from itertools import count
from threading import Thread
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url
from werkzeug import Request, Response
from werkzeug.serving import make_server

from db.engine import Database
from db.secret import SecretError, index_url, url_of
from dicomweb.errors import UpstreamBusy
from tests.aws_server import AwsServer
from tests.servers import MariaDb, free_port

REGION = "eu-west-1"
_NUMBERS = count(1)
SECRET: dict[str, Any] = {
    "host": "db.example",
    "port": 3307,
    "username": "reader",
    "password": "p@ss/w:rd%",
    "dbname": "ahiindex",
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = AwsServer()
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)


@pytest.fixture
def keep(endpoint: str) -> Callable[..., str]:
    """Keeps a secret and gives its ARN."""
    client = boto3.client("secretsmanager", region_name=REGION, endpoint_url=endpoint)

    def kept(secret: Any = None, **how: Any) -> str:
        how = how or {"SecretString": secret if isinstance(secret, str) else json.dumps(secret)}
        arn: str = client.create_secret(Name=f"index{next(_NUMBERS)}", **how)["ARN"]
        return arn

    return kept


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        pytest.param({}, "mysql+pymysql://reader:p%40ss%2Fw%3Ard%25@db.example:3307/ahiindex", id="mysql"),
        pytest.param({"port": "3308"}, "mysql+pymysql://reader:x@db.example:3308/ahiindex", id="port as text"),
        pytest.param({"port": None}, "mysql+pymysql://reader:x@db.example:3306/ahiindex", id="no port"),
        pytest.param({"engine": "mariadb"}, "mysql+pymysql://reader:x@db.example:3307/ahiindex", id="mariadb"),
        pytest.param({"engine": "Aurora-MySQL"}, "mysql+pymysql://reader:x@db.example:3307/ahiindex", id="aurora"),
        pytest.param({"engine": "postgres", "port": ""}, "postgresql+psycopg://reader:x@db.example:5432/ahiindex",
                     id="postgres"),
        pytest.param({"dbClusterIdentifier": "c", "masterarn": 7}, "mysql+pymysql://reader:x@db.example:3307/ahiindex",
                     id="members of others"),
    ],
)  # fmt: skip
def test_a_secret_becomes_a_url(keep: Callable[..., str], changes: dict[str, Any], url: str) -> None:
    found = index_url(keep(SECRET | changes), region=REGION)
    assert found == make_url(url).set(password=SECRET["password"])


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({"engine": "aurora-postgresql", "port": "5433"}, "postgresql+psycopg://reader:x@db.example:5433/ahiindex"),
        ({"engine": " Postgres ", "port": None}, "postgresql+psycopg://reader:x@db.example:5432/ahiindex"),
        ({"host": " db.example\n", "port": " 3307 "}, "mysql+pymysql://reader:x@db.example:3307/ahiindex"),
        ({"dbname": " ", "engine": ""}, "mysql+pymysql://reader:x@db.example:3307/ahiindex"),
        ({"username": "reader "}, "mysql+pymysql://reader:x@db.example:3307/ahiindex"),
        ({"host": "2001:db8::1"}, "mysql+pymysql://reader:x@[2001:db8::1]:3307/ahiindex"),
    ],
)
def test_blanks_and_other_spellings_do_no_harm(changes: dict[str, Any], url: str) -> None:
    assert url_of(json.dumps(SECRET | changes)) == make_url(url).set(password=SECRET["password"])


@pytest.mark.parametrize("password", ["p ss ", "\t", "\u00e9\U0001f5a5", "\x7f"])
def test_a_password_is_taken_as_it_is(password: str) -> None:
    assert url_of(json.dumps(SECRET | {"password": password + "x"})).password == password + "x"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": "a host"}, "host of the database secret is not the name of a host"),
        ({"host": "https://db.example"}, "host of the database secret is not the name of a host"),
        ({"host": "db.example:3306"}, "host of the database secret is not the name of a host"),
        ({"host": ["db.example"]}, "host of the database secret is not text"),
        ({"password": 12345678}, "password of the database secret is not text"),
        ({"password": "p@ss\ud800"}, "password of the database secret is not Unicode"),
        ({"username": 7}, "username of the database secret is not text"),
        ({"username": "p@ss\x00"}, "username of the database secret has a character"),
        ({"dbname": {"name": "p@ss"}}, "dbname of the database secret is not text"),
        ({"engine": 8}, "engine of the database secret is not text"),
        ({"engine": "sqlserver-ex"}, "engine of the database secret is not one of mysql"),
        ({"port": 3306.5}, "port of the database secret"),
        ({"port": True}, "port of the database secret"),
        ({"host": " "}, "has no host"),
    ],
)
def test_an_odd_member_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SecretError, match=message) as told:
        url_of(json.dumps(SECRET | changes))
    assert "p@ss" not in str(told.value)


members = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2)
names = ("host", "port", "username", "password", "dbname", "engine")


@given(st.fixed_dictionaries(dict.fromkeys(names, members | st.sampled_from(["3306", "mysql", "db.example", " x "]))))
def test_any_secret_is_a_url_or_one_line(secret: dict[str, Any]) -> None:
    try:
        url = url_of(json.dumps(secret))
    except SecretError as error:
        assert str(error).isprintable()  # thus one line
        assert len(str(error)) < 200
    else:
        assert url.host and url.host.isprintable() and 0 < (url.port or 0) < 65536
        url.render_as_string(hide_password=False).encode()


def test_a_secret_of_the_console_names_no_database(keep: Callable[..., str]) -> None:
    """It has the identifier of the cluster, and its engine."""
    made = {name: value for name, value in SECRET.items() if name != "dbname"}
    assert (
        index_url(keep({**made, "engine": "mysql", "dbClusterIdentifier": "c"}), region=REGION).database == "ahiindex"
    )


def test_a_secret_that_rds_manages_names_no_host(keep: Callable[..., str]) -> None:
    arn = keep({"username": "reader", "password": "p"})
    found = index_url(arn, region=REGION, usual_host="index.cluster-abc.eu-west-1.rds.amazonaws.com")
    assert (found.host, found.port) == ("index.cluster-abc.eu-west-1.rds.amazonaws.com", 3306)
    assert index_url(keep(SECRET), region=REGION, usual_host="elsewhere").host == "db.example"


def test_a_login_by_token_takes_no_password_of_the_secret(keep: Callable[..., str]) -> None:
    for secret in (SECRET, {**SECRET, "password": ""}):
        assert index_url(keep(secret), region=REGION, needs_password=False).password is None


def test_the_region_of_the_environment_is_taken(keep: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    assert index_url(keep(SECRET)).host == "db.example"


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ({**SECRET, "host": None}, "has no host"),
        ({"username": "u", "password": "p"}, "has no host; DB_HOST names the host"),
        ({**SECRET, "password": ""}, "has no password"),
        ({**SECRET, "port": "p@ss"}, "port of the database secret"),
        ({**SECRET, "port": 70000}, "port of the database secret"),
        ({**SECRET, "port": 0}, "port of the database secret"),
        ({**SECRET, "engine": "p@ss"}, "engine of the database secret"),
        ([SECRET], "not a JSON object"),
        ("p@ss", "not a JSON object"),
        ('{"password": "p@ss"', "not a JSON object"),
    ],
)
def test_what_is_no_database_secret_is_told_without_telling_it(
    keep: Callable[..., str], caplog: pytest.LogCaptureFixture, secret: Any, message: str
) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(SecretError, match=message) as told:
        index_url(keep(secret), region=REGION)
    assert "p@ss" not in f"{told.value}{told.value.__cause__}{caplog.text}"


def test_a_binary_secret_is_refused(keep: Callable[..., str]) -> None:
    with pytest.raises(SecretError, match="binary"):
        index_url(keep(SecretBinary=b"{}"), region=REGION)


@pytest.mark.parametrize("arn", ["absent", f"arn:aws:secretsmanager:{REGION}:123456789012:secret:absent-AbCdEf"])
def test_an_unknown_secret_is_told(arn: str) -> None:
    with pytest.raises(SecretError, match="ResourceNotFoundException"):
        index_url(arn, region=REGION)


def test_a_missing_region_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SecretError, match="NoRegionError"):
        index_url("index")


def test_missing_credentials_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(SecretError, match="NoCredentialsError"):
        index_url("index", region=REGION)


def test_an_endpoint_that_nobody_answers_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UpstreamBusy):
        index_url("index", region=REGION)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "AccessDeniedException", SecretError),
        (400, "DecryptionFailure", SecretError),
        (400, "ThrottlingException", UpstreamBusy),
        (500, "InternalServiceError", UpstreamBusy),
        (503, "ServiceUnavailable", UpstreamBusy),
    ],
)
def test_a_refusal_is_final_or_passes(
    refusing: Callable[[int, str], str], monkeypatch: pytest.MonkeyPatch, status: int, code: str, error: type[Exception]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", refusing(status, code))
    with pytest.raises(error, match=code if error is SecretError else "does not answer"):
        index_url("index", region=REGION)


@pytest.fixture
def refusing() -> Iterator[Callable[[int, str], str]]:
    """An endpoint that always refuses; moto knows no rights and is never busy."""
    servers: list[tuple[Any, Thread]] = []

    def start(status: int, code: str) -> str:
        @Request.application
        def refuse(_request: Request) -> Response:
            return Response(json.dumps({"__type": code, "message": "no"}), status, content_type="application/json")

        server = make_server("127.0.0.1", 0, refuse, threaded=True)
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_url_opens_the_database(keep: Callable[..., str], mariadb: MariaDb) -> None:
    reader = make_url(mariadb.new_reader()[1])
    secret = {
        "host": reader.host,
        "port": str(reader.port),
        "username": reader.username,
        "password": reader.password,
        "dbname": reader.database,
        "engine": "mysql",
    }
    database = Database(index_url(keep(secret), region=REGION))
    database.ping()
    database.close()
