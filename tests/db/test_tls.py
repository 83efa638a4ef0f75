"""TLS to the index: who is trusted, who is refused and with which words; real servers, certificates of our own."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from app.check_result import ERROR, OK, WARNING
from app.commands.check import check_all
from app.settings import Settings
from db.engine import Database
from db.inspection import encrypted
from db.tls import OFF, REQUIRE, VERIFY, Tls
from dicomweb.errors import UpstreamBusy
from tests.authority import Authority
from tests.servers import MariaDb, PostgreSql, mysql_server

ELSEWHERE = "127.1"
"""This machine by a name that the proxy takes for another one: no loopback address in its usual form."""

KINDS = ("mariadb", "postgresql")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module", params=KINDS)
def url(request: pytest.FixtureRequest, authority: Authority) -> Iterator[str]:
    """An index on a server that shows a certificate for this machine, under the name of elsewhere."""
    certificate = authority.sign(ELSEWHERE, "127.0.0.1")
    server = mysql_server(certificate=certificate) if request.param == "mariadb" else PostgreSql(certificate)
    yield at(server.new_index(), ELSEWHERE)
    server.close()


def at(url: str, host: str) -> str:
    """The URL with another host, and with what it said of TLS still in it."""
    return make_url(url).set(host=host).render_as_string(hide_password=False)


def is_encrypted(url: str, tls: Tls) -> bool:
    database = Database(url, tls)
    try:
        return encrypted(database)
    finally:
        database.close()


def refusal(url: str, tls: Tls) -> str:
    database = Database(url, tls)
    try:
        with pytest.raises(UpstreamBusy) as error:
            database.ping()
        return str(error.value)
    finally:
        database.close()


def test_a_host_elsewhere_is_verified_without_being_asked_to(url: str, authority: Authority) -> None:
    assert is_encrypted(url, Tls(ca=authority.path))


@pytest.mark.parametrize("mode", [None, VERIFY])
def test_a_certificate_of_another_authority_is_refused(
    url: str, stranger: Authority, mode: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    reason = "none of the authorities of DB_TLS_CA has signed its certificate"
    with caplog.at_level(logging.INFO):
        for tls in (Tls(mode, stranger.path), Tls(mode)):
            assert refusal(url, tls).startswith(f"the metadata index is not trusted: {reason}")
    assert caplog.text.count(f"index does not answer: not trusted, {reason}") == 2


def test_a_certificate_of_another_host_is_refused(url: str, authority: Authority) -> None:
    told = refusal(at(url, "localhost"), Tls(VERIFY, authority.path))
    assert told == "the metadata index is not trusted: its certificate is of another host"


@pytest.mark.service
def test_a_certificate_that_has_ended_is_refused(authority: Authority) -> None:
    server = mysql_server(certificate=authority.sign(ELSEWHERE, valid=timedelta(days=-1)))
    try:
        told = refusal(at(server.new_index(), ELSEWHERE), Tls(ca=authority.path))
        assert told == "the metadata index is not trusted: its certificate has expired"
    finally:
        server.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", [None, VERIFY, REQUIRE])
def test_a_server_without_tls_is_refused(kind: str, mode: str | None, request: pytest.FixtureRequest) -> None:
    server: MariaDb | PostgreSql = request.getfixturevalue(kind)
    told = refusal(at(server.new_index(), ELSEWHERE), Tls(mode))
    assert told == "the metadata index is not trusted: it offers no TLS"


def test_off_and_require_do_what_they_say(url: str) -> None:
    assert not is_encrypted(url, Tls(OFF))
    assert is_encrypted(url, Tls(REQUIRE))


@pytest.mark.parametrize(
    "weaker",
    [{"ssl_disabled": "true"}, {"ssl_verify_cert": "false", "ssl_ca": "/dev/null"}, {"sslmode": "disable"}],
    ids=lambda weaker: next(iter(weaker)),
)
def test_the_url_cannot_weaken_it(url: str, stranger: Authority, weaker: dict[str, str]) -> None:
    known = {"sslmode"} if url.startswith("postgresql") else {"ssl_disabled", "ssl_verify_cert", "ssl_ca"}
    query = {name: value for name, value in weaker.items() if name in known}
    weakened = make_url(url).set(query=query).render_as_string(hide_password=False)
    assert "not trusted" in refusal(weakened, Tls(ca=stranger.path))


@pytest.mark.parametrize(
    ("told", "verified"),
    [
        ({"host": "127.0.0.1"}, False),
        ({"host": "localhost"}, False),
        ({"host": "::1"}, False),
        ({"host": "db.example"}, True),
        ({"host": "10.0.0.7"}, True),
        ({"host": "localhost,db.example"}, True),
        ({"host": "localhost", "hostaddr": "10.0.0.7"}, True),
        ({"read_default_file": "/etc/my.cnf"}, True),
        ({}, True),
    ],
)
def test_every_host_but_this_machine_is_verified(told: dict[str, str], verified: bool) -> None:
    assert bool(Tls().postgresql(told)) is verified
    assert bool(Tls().mysql(told)) is verified


def test_a_socket_needs_no_tls() -> None:
    assert Tls(VERIFY).mysql({"unix_socket": "/run/mysqld/mysqld.sock"}) == {}


def test_check_tells_of_it(url: str, authority: Authority, stranger: Authority, tmp_path: Path) -> None:
    def found(what: str, **settings: object) -> tuple[str, str]:
        known = {"database_url": url, "aws_default_region": "us-east-1", "cache_root": tmp_path, "host": "127.0.0.1"}
        findings = check_all(Settings(**{**known, **settings}, ahi_deadline_seconds=0.1))  # type: ignore[arg-type]
        (one,) = (finding for finding in findings if finding.what == what)
        return one.level, one.told

    assert found("database TLS", db_tls_ca=authority.path) == (OK, "encrypted, the certificate is verified")
    assert found("database TLS", db_tls=REQUIRE)[0] == WARNING
    assert found("database TLS", db_tls=OFF) == (WARNING, "the connection is not encrypted")
    level, told = found("database", db_tls_ca=stranger.path)
    assert (level, "not trusted" in told) == (ERROR, True)
    level, told = found("database", db_tls_ca=tmp_path / "none")
    assert (level, told) == (ERROR, f"DB_TLS_CA {tmp_path / 'none'}: No such file or directory")


def test_a_file_without_certificates_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="holds no certificates in PEM"):
        Tls(ca=tmp_path / "empty").check()
