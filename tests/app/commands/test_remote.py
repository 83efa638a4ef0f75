"""`check` names host and port of whatever does not answer, and what was tried there."""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ahi.client.calls import AhiClient
from app.check_result import ERROR, OK, WARNING, CheckResult
from app.commands.check import check_all
from app.commands.remote import Remote
from app.settings import Settings
from tests.app.auth.provider import provided
from tests.servers import Sqlite, free_port

SECRET = "arn:aws:secretsmanager:us-east-1:111122223333:secret:index-AbCdEf"  # noqa: S105 - a name
BALANCER = "arn:aws:elasticloadbalancing:us-east-1:111122223333:loadbalancer/app/a/1"

_refused: list[tuple[str, int]] = []
"""The addresses that this process connects to, as the interpreter reports them."""
_others: set[int | None] = set()
"""Threads that other tests have started; where they connect to is not asked about."""


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple) and threading.get_ident() not in _others:
        _refused.append(arguments[1][:2])


sys.addaudithook(_note)


@dataclass(frozen=True)
class Away:
    """A server that does not answer: its result, what is tried, and how settings or variables name it."""

    what: str
    level: str
    tried: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)


def _endpoint(service: str) -> dict[str, str]:
    return {f"AWS_ENDPOINT_URL_{service}": "http://127.0.0.1:{port}"}


AWAY = {
    "STS": Away("identity", WARNING, "GetCallerIdentity", environ=_endpoint("STS")),
    "AHI": Away("AHI", ERROR, "ListDatastores", environ=_endpoint("MEDICAL_IMAGING")),
    "MySQL": Away("database", ERROR, "SELECT", {"database_url": "mysql+pymysql://reader:secret@127.0.0.1:{port}/index"}),
    "PostgreSQL": Away("database", ERROR, "SELECT", {"database_url": "postgresql://reader:secret@127.0.0.1:{port}/i"}),
    "Secrets Manager": Away("database", ERROR, "GetSecretValue", {"database_url": None, "db_secret_arn": SECRET},
                            _endpoint("SECRETS_MANAGER")),
    "issuer": Away("login", ERROR, "its discovery document", {
        "auth": ("oidc",), "oidc_issuer": "http://127.0.0.1:{port}", "oidc_audience": ("dicomweb",)}),
    "keys of load balancers": Away("login", ERROR, "the keys of load balancers", {
        "auth": ("alb",), "alb_arn": BALANCER, "alb_public_keys_url": "http://127.0.0.1:{port}"}),
    "CloudWatch Logs": Away("audit", WARNING, "CreateLogStream", {"audit": "cloudwatch", "audit_log_group": "audit"},
                            _endpoint("CLOUDWATCH_LOGS")),
    "syslog": Away("audit", WARNING, "a connection", {"audit": "syslog", "audit_syslog": "tls://127.0.0.1:{port}"}),
    "OpenTelemetry collector": Away("traces", WARNING, "an export",
                                    environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:{port}"}),
    "write login": Away("write login", ERROR, "SELECT", {
        "index_write_url": "mysql+pymysql://writer:secret@127.0.0.1:{port}/index"}),
    "secret of the write login": Away("write login", ERROR, "GetSecretValue", {"index_write_secret_arn": SECRET},
                                      _endpoint("SECRETS_MANAGER")),
    "AHI's STOW-RS service": Away("store", ERROR, "StoreDICOM", {
        "store": True, "store_datastore_id": "0" * 32, "ahi_stow_endpoint": "http://127.0.0.1:{port}"}),
    "metrics": Away("processes", WARNING, "GET /metrics", {"metrics_port": "{port}"}),
}  # fmt: skip
"""Everything that `check` calls. What is added to `check` is added here, or the last test fails."""

_WITHOUT_CAUSE = {"PostgreSQL", "OpenTelemetry collector"}
"""Those whose library keeps the error of the system to itself."""

Checking = Callable[..., list[CheckResult]]


@pytest.fixture
def check(sqlite: Sqlite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checking:
    """The results where one server of AWAY is at a port that nobody listens on, and the index is an empty file."""

    def run(port: int, away: Away) -> list[CheckResult]:
        for name, value in away.environ.items():
            monkeypatch.setenv(name, value.format(port=port))
        named = {
            name: value.format(port=port) if isinstance(value, str) else value for name, value in away.settings.items()
        }
        if "metrics_port" in named:
            named["metrics_port"] = port
        usual: dict[str, Any] = {"database_url": sqlite.new_index(), "aws_default_region": "us-east-1"}
        bounds = {"cache_root": tmp_path / "cache", "cache_max_bytes": 2**20, "cache_min_free_bytes": 0}
        return check_all(Settings(**{**usual, **bounds, "ahi_deadline_seconds": 1.0, **named}))

    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "test")
    for service in ("STS", "MEDICAL_IMAGING"):  # nothing leaves this machine
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", f"http://127.0.0.1:{free_port()}")
    return run


@pytest.mark.parametrize("kind", AWAY)
def test_a_server_that_does_not_answer_is_named(kind: str, check: Checking) -> None:
    away, port = AWAY[kind], free_port()
    (result,) = [one for one in check(port, away) if one.what == away.what]
    assert (result.level, bool(result.advice)) == (away.level, True)
    assert f"tried {away.tried} at 127.0.0.1 port {port})" in result.told
    assert ("(Connection refused; " in result.told) is (kind not in _WITHOUT_CAUSE)
    assert "secret" not in result.told.replace("database secret", "")


def test_the_keys_of_an_issuer_may_be_away_alone(check: Checking) -> None:
    with provided() as provider:
        found = {"auth": ("oidc",), "oidc_issuer": provider.issuer, "oidc_audience": ("dicomweb",)}
        (well,) = [one for one in check(0, Away("", "", "", found)) if one.what == "login"]
        port = free_port()
        provider.documents["/.well-known/openid-configuration"]["jwks_uri"] = f"http://127.0.0.1:{port}/keys"
        (away,) = [one for one in check(0, Away("", "", "", found)) if one.what == "login"]
        provider.documents["/.well-known/openid-configuration"]["jwks_uri"] = "file:///etc/passwd"
        (odd,) = [one for one in check(0, Away("", "", "", found)) if one.what == "login"]
    assert (well.level, well.told) == (OK, "the issuer has 1 keys")
    assert (away.level, odd.level) == (ERROR, ERROR)
    assert f"tried the keys of the issuer at 127.0.0.1 port {port})" in away.told
    assert "the discovery document has no URL of keys" in odd.told


def test_the_keys_of_load_balancers_are_there_if_their_host_answers(check: Checking) -> None:
    with provided() as provider:
        found = {"auth": ("alb",), "alb_arn": BALANCER, "alb_public_keys_url": provider.issuer}
        (result,) = [one for one in check(0, Away("", "", "", found)) if one.what == "login"]
    assert result.level == OK


@pytest.mark.parametrize("kind", [*AWAY, "everything"])
def test_every_address_that_refuses_is_in_the_results(kind: str, check: Checking) -> None:
    """Whoever adds a call to `check` without naming its server fails here."""
    ways = [AWAY[one] for one in AWAY] if kind == "everything" else [AWAY[kind]]
    together = Away("", "", "", {k: v for way in ways for k, v in way.settings.items()},
                    {k: v for way in ways for k, v in way.environ.items()})  # fmt: skip
    _refused.clear()
    _others.update({thread.ident for thread in threading.enumerate()} - {threading.get_ident()})
    port = free_port()
    text = "\n".join(result.told for result in check(port, together))
    addresses = {address for address in _refused if address[0] == "127.0.0.1"}
    assert addresses
    assert [f"{host} port {at}" for host, at in sorted(addresses) if f"{host} port {at})" not in text] == []


def test_ahi_has_a_host_for_data_stores_and_one_for_image_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    client = AhiClient(region="us-east-1")
    hosts = {name: Remote.from_url(client.endpoint_url(name)).place for name in ("GetDatastore", "GetImageFrame")}
    assert hosts == {
        "GetDatastore": "medical-imaging.us-east-1.amazonaws.com port 443",
        "GetImageFrame": "runtime-medical-imaging.us-east-1.amazonaws.com port 443",
    }
    monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", "https://vpce-1.example.org:8443")
    assert AhiClient(region="us-east-1").endpoint_url("GetImageFrame") == "https://vpce-1.example.org:8443"
