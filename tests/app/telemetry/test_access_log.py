"""The access log: one line for each request, with its ID and its user, and nothing of patients."""

import io
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from flask import Flask, Response, g
from werkzeug.test import TestResponse

from app.auth.principal import Principal
from app.telemetry.access_log import install_access_log
from app.telemetry.logs import JsonLines, TextLines
from runtime.timing import measured
from tests.bare_services import bare_services

UID = "1.2.840.113619.2.30.1"


@dataclass(frozen=True)
class Logged:
    app: Flask
    text: io.StringIO
    objects: io.StringIO

    def get(self, url: str, **headers: str) -> TestResponse:
        with self.app.test_client() as client:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            return client.get(url, headers=sent, buffered=True)


@pytest.fixture
def logged() -> Iterator[Logged]:
    app = Flask(__name__)
    install_access_log(app, bare_services())

    @app.before_request
    def enter() -> None:
        g.principal = Principal("anna b\nroot", scheme="basic")

    @app.get("/aetitle/studies/<study>/series")
    def series(study: str) -> Response:
        logging.getLogger("index").error("index does not answer")
        return Response(study)

    @app.get("/link/<link>/studies")
    def linked(link: str) -> Response:
        return Response("x" * len(link))

    made = Logged(app, io.StringIO(), io.StringIO())
    handlers = [logging.StreamHandler(made.text), logging.StreamHandler(made.objects)]
    handlers[0].setFormatter(TextLines())
    handlers[1].setFormatter(JsonLines())
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    for handler in handlers:
        root.addHandler(handler)
    yield made
    root.setLevel(before)
    for handler in handlers:
        root.removeHandler(handler)


def test_one_line_tells_of_a_request(logged: Logged) -> None:
    answer = logged.get(f"/aetitle/studies/{UID}/series?PatientName=DOE^JANE", X_Request_ID="from-the-client-1")
    *_, line = map(json.loads, logged.objects.getvalue().splitlines())
    assert line.pop("ms") >= 0
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO", "logger": "access", "message": "request", "method": "GET",
        "path": f"/aetitle/studies/{UID}/series", "status": 200, "bytes": len(answer.data), "from": "127.0.0.1",
        "user": "basic:anna b\nroot", "request": "from-the-client-1",
    }  # fmt: skip


def test_every_line_of_a_request_has_its_id(logged: Logged) -> None:
    asked = logged.get(f"/aetitle/studies/{UID}/series").headers["X-Request-ID"]
    assert [json.loads(line)["request"] for line in logged.objects.getvalue().splitlines()] == [asked, asked]
    assert [f"request={asked}" in line for line in logged.text.getvalue().splitlines()] == [True, True]


@pytest.mark.parametrize("given", ["", "two words", "a" * 129, "naïve", "x\ty", '"', "a;b"])
def test_an_id_with_surprises_is_replaced(logged: Logged, given: str) -> None:
    made = [logged.get("/none", X_Request_ID=given).headers["X-Request-ID"] for _ in range(2)]
    assert made[0] != made[1]
    assert all(len(one) == 32 for one in made)


def test_an_answer_says_how_long_it_took(logged: Logged) -> None:
    name, _, duration = logged.get("/none").headers["Server-Timing"].partition(";dur=")
    assert (name, float(duration) >= 0) == ("total", True)


def test_an_answer_says_what_its_time_went_into() -> None:
    app = Flask(__name__)
    install_access_log(app, bare_services())

    @app.get("/slow")
    def slow() -> str:
        for _ in range(2):
            with measured("db"):
                time.sleep(0.02)
        return ""

    for _ in range(2):  # the second request does not count the time of the first
        told = dict(part.split(";dur=") for part in app.test_client().get("/slow").headers["Server-Timing"].split(", "))
        assert 40 <= float(told["db"]) <= float(told["total"])
        assert set(told) == {"total", "db"}
        assert float(told["db"]) < 2000


@pytest.mark.parametrize(
    "url",
    [
        f"/aetitle/studies/{UID}/series?PatientName=DOE%5EJANE&00100020=PAT-4711",
        "/aetitle/studies/DOE%5EJANE/series",
        "/aetitle/DOE%5EJANE/PAT-4711",
        "/link/DOE%5EJANE.PAT-4711/studies",
        "/aetitle/studies/x%0A2026-01-01 forged DOE%5EJANE",
    ],
)
def test_no_name_id_or_token_is_logged(logged: Logged, url: str) -> None:
    logged.get(url)
    for text in (logged.text.getvalue(), logged.objects.getvalue()):
        assert "path" in text
        assert not [hidden for hidden in ("DOE", "JANE", "PAT-4711", "forged") if hidden in text]


def test_a_user_cannot_forge_a_line(logged: Logged) -> None:
    logged.get("/none")
    (line,) = logged.text.getvalue().splitlines()
    assert r'user="basic:anna b\nroot"' in line
