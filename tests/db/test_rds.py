"""Databases of Amazon RDS: whose certificates are trusted, and logins by tokens instead of passwords."""

import hashlib
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from shutil import copy
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from cryptography import x509
from sqlalchemy.engine import URL, make_url

from db import rds
from db.engine import Database
from db.login import Login
from db.tls import VERIFY, Tls
from dicomweb.errors import UpstreamBusy
from tests.authority import Authority
from tests.servers import MariaDb, mysql_server

HOST = "index.cluster-abc.eu-west-1.rds.amazonaws.com"
SCRIPT = Path(__file__).parents[2] / "script" / "renew-rds-certificates"


def test_the_certificates_are_those_of_the_readme_and_valid() -> None:
    readme = rds.BUNDLE.with_name("README.md").read_text()
    told = dict(re.findall(r"^\| (Origin|Date|SHA-256) \| (.+) \|$", readme, flags=re.MULTILINE))
    assert told["SHA-256"] == f"`{hashlib.sha256(rds.BUNDLE.read_bytes()).hexdigest()}`"
    date = datetime.fromisoformat(told["Date"]).replace(tzinfo=timezone.utc)
    certificates = x509.load_pem_x509_certificates(rds.BUNDLE.read_bytes())
    assert len(certificates) > 60
    assert all(one.not_valid_after_utc > date and "RDS" in one.subject.rfc4514_string() for one in certificates)


@pytest.mark.parametrize(
    ("host", "signed"),
    [
        (HOST, True),
        ("INDEX.abc.us-east-1.RDS.amazonaws.com.", True),
        ("pool.proxy-abc.us-east-1.rds.amazonaws.com", False),
        ("index.rds.cn-north-1.amazonaws.com.cn", False),
        ("rds.amazonaws.com.example.org", False),
        ("evilrds.amazonaws.com", False),
        ("index.example.org", False),
    ],
)
def test_hosts_of_rds_are_trusted_by_its_certificates(host: str, signed: bool) -> None:
    tls = Tls()
    names = {str(one["subject"]) for one in tls.mysql({"host": host})["ssl"].get_ca_certs()}
    assert any("Amazon RDS" in name for name in names) is signed
    assert (tls.postgresql({"host": host})["sslrootcert"] == str(rds.BUNDLE)) is signed


def test_a_file_of_the_operator_comes_first(tmp_path: Path) -> None:
    ours = Authority(tmp_path).path
    (only,) = Tls(ca=ours).mysql({"host": HOST})["ssl"].get_ca_certs()
    assert "authority" in str(only["subject"])
    assert Tls(ca=ours).postgresql({"host": HOST})["sslrootcert"] == str(ours)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[MariaDb]:
    server = mysql_server(certificate=authority.sign(HOST, "127.0.0.1"))
    yield server
    server.close()


@pytest.fixture
def index(server: MariaDb, monkeypatch: pytest.MonkeyPatch) -> URL:
    """An index at a host of RDS, which is the server of the test."""
    resolve = socket.getaddrinfo

    def here(host: Any, *rest: Any, **named: Any) -> Any:
        return resolve("127.0.0.1" if host == HOST else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    return make_url(server.new_index()).set(host=HOST)


@pytest.mark.service
def test_a_database_of_rds_is_verified_without_a_setting(
    index: URL, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UpstreamBusy, match="not trusted"):
        Database(index).ping()
    monkeypatch.setattr(rds, "BUNDLE", authority.path)
    database = Database(index)
    database.ping()
    database.close()


@pytest.mark.service
def test_each_connection_has_a_token_of_its_own(
    index: URL, server: MariaDb, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RDS takes a token for a quarter of an hour: the password of the last connection is wrong for the next one."""
    monkeypatch.setattr(rds, "BUNDLE", authority.path)
    made: list[str] = []

    def token(url: URL) -> str:
        made.append(f"token{len(made)}")
        server.execute(
            "DROP USER IF EXISTS iam@'%'",
            f"CREATE USER iam@'%' IDENTIFIED BY '{made[-1]}'",
            f"GRANT SELECT ON {index.database}.* TO iam@'%'",
        )
        assert (url.host, url.username) == (HOST, "iam")
        return made[-1]

    for number in (1, 2):
        database = Database(Login(index.set(username="iam", password=None), make_password=token), Tls(VERIFY))
        database.ping()
        database.close()
        assert len(made) == number


def test_a_token_is_that_of_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    client = boto3.session.Session().client("rds", region_name="eu-west-1")  # the default one may exist already
    for url, port in ((f"mysql+pymysql://r@{HOST}/x", 3306), (f"postgresql+psycopg://r@{HOST}:6432/x", 6432)):
        made = rds.token_maker("eu-west-1")(make_url(url))
        theirs = client.generate_db_auth_token(DBHostname=HOST, Port=port, DBUsername="r")
        ours, expected = urlsplit(f"//{made}"), urlsplit(f"//{theirs}")
        assert (ours.netloc, ours.path) == (expected.netloc, expected.path)
        found, wanted = parse_qs(ours.query), parse_qs(expected.query)
        assert found.keys() == wanted.keys()
        moving = {"X-Amz-Date", "X-Amz-Signature"}
        assert {name: found[name] for name in found.keys() - moving} == {
            name: wanted[name] for name in wanted.keys() - moving
        }
        if found["X-Amz-Date"] == wanted["X-Amz-Date"]:
            assert found["X-Amz-Signature"] == wanted["X-Amz-Signature"]


def test_without_credentials_the_index_is_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    login = Login(f"mysql://reader@{HOST}/ahiindex", make_password=rds.token_maker("eu-west-1"))
    with pytest.raises(UpstreamBusy, match="credentials"):
        Database(login).ping()


@pytest.mark.parametrize(
    "error",
    [ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRole"), RuntimeError("still expired"), OSError("no file")],
    ids=["refused by STS", "expired", "no token file"],
)
def test_without_new_credentials_the_index_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """A role is assumed when a connection is made; boto3 passes on all errors of that."""

    def refuse(_: Credentials) -> None:
        raise error

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    monkeypatch.setattr(Credentials, "get_frozen_credentials", refuse)
    login = Login(f"mysql://reader@{HOST}/ahiindex", make_password=rds.token_maker("eu-west-1"))
    with pytest.raises(UpstreamBusy, match="credentials"):
        Database(login).ping()
    told = [record.getMessage() for record in caplog.records if record.name == "db.rds"]
    assert told == [f"no credentials of AWS for the index error={type(error).__name__}"]


def renewed(source: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), source, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_script_renews_the_file_and_its_origin(tmp_path: Path) -> None:
    for name in ("README.md", "rds-global-bundle.pem"):
        copy(rds.BUNDLE.with_name(name), tmp_path)
    source = tmp_path / "source.pem"
    source.write_bytes(rds.BUNDLE.read_bytes() + b"# more\n")
    done = renewed(source.as_uri(), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rds-global-bundle.pem").read_bytes() == source.read_bytes()
    readme = (tmp_path / "README.md").read_text()
    assert f"| Origin | {source.as_uri()} |" in readme
    assert f"`{hashlib.sha256(source.read_bytes()).hexdigest()}`" in readme


@pytest.mark.parametrize("content", ["", "<html>", "strangers"])
def test_the_script_keeps_the_file_where_the_new_one_is_none(tmp_path: Path, content: str) -> None:
    for name in ("README.md", "rds-global-bundle.pem"):
        copy(rds.BUNDLE.with_name(name), tmp_path)
    source = tmp_path / "source.pem"
    roots = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    source.write_text(Path(roots).read_text() if content == "strangers" else content)
    done = renewed(source.as_uri(), tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert (tmp_path / "rds-global-bundle.pem").read_bytes() == rds.BUNDLE.read_bytes()
