"""A service without logins on loopback answers to the names of its machine only: the others come from web pages."""

from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask

from app.middleware.forwarded import install_forwarded
from app.middleware.known_hosts import install_known_hosts, name_of
from app.settings import Settings
from dicomweb import respond
from dicomweb.errors import ProxyError
from tests.bare_services import bare_services

HERE = [
    "localhost",
    "LOCALHOST:8080",
    "localhost.",
    "viewer.localhost:1",
    "127.0.0.1",
    "127.0.0.1:80",
    "127.1.2.3:8080",
]
HERE_TOO = ["[::1]", "[::1]:8080", "[0:0:0:0:0:0:0:1]"]
ELSEWHERE = [
    "evil.example",
    "evil.example:8080",
    "192.0.2.1",
    "[2001:db8::1]:8080",
    "0.0.0.0:8080",
    "localhost.evil.example",
]
ELSEWHERE_TOO = ["127.0.0.1.evil.example", "evillocalhost", "dicom.example.org.evil.example", "host/path:1"]
LOGIN = {"auth": ("basic",), "auth_users_file": Path("/dev/null")}
PUBLIC_URL = "https://DICOM.example.org:8443/pacs"


def status(sent: str | None, path: str = "/patients", headers: dict[str, str] | None = None, **settings: Any) -> int:
    services = bare_services(**{"host": "127.0.0.1", **settings})
    app = Flask(__name__)
    data, health = Blueprint("data", __name__), Blueprint("health", __name__)
    data.get("/patients")(lambda: "patients")
    health.get("/live")(lambda: "OK")
    install_forwarded(app, services)
    install_known_hosts(app, services)
    app.register_blueprint(data)
    app.register_blueprint(health)
    app.register_error_handler(ProxyError, respond.problem)
    environment = {"HTTP_HOST": sent or ""}
    return app.test_client().get(path, headers=headers, environ_overrides=environment).status_code


@pytest.mark.parametrize("host", [*HERE, *HERE_TOO, None])
@pytest.mark.parametrize("listening", ["127.0.0.1", "localhost", "::1"])
def test_names_of_this_machine_are_answered(host: str | None, listening: str) -> None:
    assert status(host, host=listening) == 200


@pytest.mark.parametrize("host", [*ELSEWHERE, *ELSEWHERE_TOO])
def test_other_names_are_not(host: str) -> None:
    assert status(host) == (400 if "/" in host else 421)
    assert status(host, "/none") == (400 if "/" in host else 421)


@pytest.mark.parametrize("host", ["dicom.example.org", "dicom.example.org:8443", "Dicom.Example.org:80", "localhost"])
def test_the_public_name_is_answered(host: str) -> None:
    assert status(host, public_url=PUBLIC_URL) == 200
    assert status("evil.example", public_url=PUBLIC_URL) == 421


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0"}, {"host": "192.0.2.1"}, LOGIN])  # noqa: S104
def test_any_name_is_answered_where_others_reach_it_or_have_to_log_in(settings: dict[str, Any]) -> None:
    assert status("evil.example", **settings) == 200


def test_health_is_told_under_any_name() -> None:
    assert status("evil.example", "/live") == 200


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "Forwarded"])
def test_a_page_cannot_say_that_a_proxy_changed_its_name(header: str) -> None:
    value = "host=localhost" if header == "Forwarded" else "localhost"
    trusting = Settings.from_env({"TRUSTED_PROXY": "127.0.0.1", "HOST": "127.0.0.1"}).trusted_proxy
    assert status("evil.example", headers={header: value}, trusted_proxy=trusting) == 421
    assert status("localhost", headers={header: value.replace("localhost", "d.example")}, trusted_proxy=trusting) == 200


@pytest.mark.parametrize(
    ("host", "name"), [("A.b:1", "a.b"), ("[::1]:8080", "::1"), ("a.", "a"), ("127.0.0.1", "127.0.0.1")]
)
def test_the_name_in_a_header(host: str, name: str) -> None:
    assert name_of(host) == name
