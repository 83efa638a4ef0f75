"""Users and tokens are made and removed by forms, by those who have the right and no further than their own rights."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.auth.bearer import new_token
from tests.app.auth.users import ANNA
from tests.app.console.conftest import Clients

BROWSER = {"Accept": "text/html"}
ALL = ["read", "store", "share", "delete", "operate"]
EVIL = "<script>alert(1)</script>"


@dataclass
class Console:
    """A console, as anna uses it without scripts."""

    client: FlaskClient
    folder: Path
    token: str = ""

    def get(self, path: str) -> TestResponse:
        answer = self.client.get(path, headers={**BROWSER, **ANNA})
        self.token = (re.findall(r'"X-CSRF-Token": "(\w+)"', answer.text) or [""])[0]
        return answer

    def post(self, path: str, **fields: str) -> TestResponse:
        self.get("/console/access")
        return self.client.post(path, data={"csrf": self.token, **fields}, headers={**BROWSER, **ANNA})

    def status(self, headers: dict[str, str]) -> int:
        return self.client.application.test_client().get("/aetitle/studies", headers=headers).status_code

    def names(self, kind: str) -> list[str]:
        lines = (self.folder / kind).read_text().splitlines()
        return [line.partition(":")[0] for line in lines if not line.startswith("#")]


Maker = Callable[..., Console]


@pytest.fixture
def console(client_of: Clients, tmp_path: Path) -> Maker:
    def make(*rules: dict[str, Any], **settings: Any) -> Console:
        secret = bcrypt.hashpw(b"geheim", bcrypt.gensalt(4)).decode()
        (tmp_path / "users").write_text(f"# people\nanna:{secret}\nbert:{secret}\n")
        (tmp_path / "tokens").write_text(new_token("pacs", "radiology")[1] + "\n")
        (tmp_path / "rules").write_text(json.dumps(rules or [{"name": "basic:anna", "rights": ALL}, {}]))
        client = client_of(
            auth=("basic", "bearer"),
            auth_users_file=tmp_path / "users",
            auth_tokens_file=tmp_path / "tokens",
            access_rules=tmp_path / "rules",
            **settings,
        )
        return Console(client, tmp_path)

    return make


def secret_of(answer: TestResponse) -> str:
    found = re.search(r'<input id="secret" readonly value="([^"]+)"', answer.text)
    return unescape(found[1]) if found else ""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_users_and_tokens_are_listed_without_secrets(console: Maker) -> None:
    one = console()
    text = one.get("/console/access").text
    assert all(f"<strong>{name}</strong>" in text for name in ("anna", "bert", "pacs"))
    assert "radiology" in text and "delete, operate, read, share, store" in text
    lines = [line for name in ("users", "tokens") for line in (one.folder / name).read_text().splitlines()]
    assert not [line for line in lines if ":" in line and line.split(":")[1] in text]


def test_a_user_is_made_and_removed(console: Maker) -> None:
    one = console()
    answer = one.post("/console/access/users", name="carl", password="")
    password = secret_of(answer)
    assert answer.status_code == 200 and len(password) >= 20 and password not in one.get("/console/access").text
    assert one.names("users") == ["anna", "bert", "carl"]
    assert (one.folder / "users").read_text().startswith("# people\n")
    carl = {"Authorization": "Basic " + base64.b64encode(f"carl:{password}".encode()).decode()}
    assert one.status(carl) == 200
    question = one.get("/console/access/remove?kind=user&key=carl")
    assert "Remove the user carl?" in question.text and "I know" not in question.text
    assert one.names("users") == ["anna", "bert", "carl"]
    assert "is removed" in one.post("/console/access/remove", kind="user", key="carl").text
    assert one.names("users") == ["anna", "bert"] and one.status(carl) == 401
    assert one.post("/console/access/remove", kind="user", key="carl").status_code == 404


def test_a_password_of_ones_own_is_not_shown(console: Maker) -> None:
    one = console()
    answer = one.post("/console/access/users", name="carl", password="long enough 123")  # noqa: S106 - a test's
    assert answer.status_code == 200 and "long enough" not in answer.text and secret_of(answer) == ""


def test_a_token_is_made_and_removed(console: Maker) -> None:
    one = console()
    answer = one.post("/console/access/tokens", name="pacs", groups=" a, b ,", days="30")
    token = secret_of(answer)
    assert token.startswith("adp_") and one.status(bearer(token)) == 200
    line = (one.folder / "tokens").read_text().splitlines()[1]
    assert re.fullmatch(r"pacs:[0-9a-f]{64}:a,b:\d{4}-\d\d-\d\d", line)
    keys = re.findall(r"kind=token&amp;key=([0-9a-f]{16})", one.get("/console/access").text)
    assert len(keys) == 2
    one.post("/console/access/remove", kind="token", key=keys[1])
    assert one.names("tokens") == ["pacs"] and one.status(bearer(token)) == 401
    assert one.get(f"/console/access/remove?kind=token&key={keys[0]}").status_code == 200


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("users", {"name": "", "password": ""}, 400),
        ("users", {"name": "a:b", "password": ""}, 400),
        ("users", {"name": "#a", "password": ""}, 400),
        ("users", {"name": "a\nb:c", "password": ""}, 400),
        ("users", {"name": "x" * 65, "password": ""}, 400),
        ("users", {"name": "bert", "password": ""}, 409),
        ("users", {"name": "carl", "password": "short"}, 400),
        ("users", {"name": "carl", "password": "ä" * 37}, 400),
        ("tokens", {"name": "x", "groups": "a:b", "days": "0"}, 400),
        ("tokens", {"name": "x", "groups": "a\nb", "days": "0"}, 400),
        ("tokens", {"name": "x", "groups": "", "days": "2"}, 400),
        ("tokens", {"name": "x", "groups": "", "days": "-1"}, 400),
        ("remove", {"kind": "user", "key": "nobody"}, 404),
        ("remove", {"kind": "x", "key": "bert"}, 404),
    ],
)
def test_what_cannot_be_changes_nothing(console: Maker, path: str, fields: dict[str, str], status: int) -> None:
    one = console()
    before = [(one.folder / name).read_bytes() for name in ("users", "tokens")]
    answer = one.post(f"/console/access/{path}", **fields)
    assert answer.status_code == status and (status == 404 or "Nothing was changed" in answer.text)
    assert [(one.folder / name).read_bytes() for name in ("users", "tokens")] == before


@pytest.mark.parametrize(
    ("rules", "name", "status"),
    [
        ([{"name": "basic:anna", "rights": ["operate"]}, {}], "carl", 403),
        ([{"name": "basic:anna", "rights": ["operate", "read"]}, {}], "carl", 200),
        ([{"name": "basic:anna", "rights": ["operate", "read"], "filter": {"Modality": "CT"}}, {}], "carl", 403),
        (
            [
                {"name": "basic:anna", "rights": ["operate", "read"], "filter": {"Modality": "CT"}},
                {"filter": {"Modality": "CT", "PatientID": "1"}},
            ],
            "carl",
            200,
        ),
        ([{"name": "basic:anna", "rights": ["operate", "read"]}, {"name": "basic:chief", "rights": ALL}], "chief", 403),
        ([{"name": "basic:anna", "rights": ["operate"]}, {"name": "basic:chief", "rights": ALL}], "carl", 200),
    ],
)
def test_nobody_gives_more_than_they_have(console: Maker, rules: list[dict[str, Any]], name: str, status: int) -> None:
    one = console(*rules)
    answer = one.post("/console/access/users", name=name, password="")
    assert answer.status_code == status
    assert (name in one.names("users")) == (status == 200)


def test_a_group_gives_no_more_either(console: Maker) -> None:
    one = console({"name": "basic:anna", "rights": ["operate", "read"]}, {"group": "chiefs", "rights": ALL}, {})
    assert one.post("/console/access/tokens", name="x", groups="a,chiefs", days="0").status_code == 403
    assert one.post("/console/access/tokens", name="x", groups="a", days="0").status_code == 200


def test_the_last_operator_is_asked_first(console: Maker) -> None:
    one = console({"name": "basic:anna", "rights": ALL}, {"name": "basic:bert", "rights": ["operate"]})
    question = one.get("/console/access/remove?kind=user&key=anna").text
    assert "your own login" in question and "I know" in question
    one.post("/console/access/remove", kind="user", key="bert")
    assert one.names("users") == ["anna"]
    assert "Nobody else can operate" in one.get("/console/access/remove?kind=user&key=anna").text
    assert one.post("/console/access/remove", kind="user", key="anna").status_code == 409
    assert one.names("users") == ["anna"]
    assert one.post("/console/access/remove", kind="user", key="anna", sure="yes").status_code == 200
    assert one.names("users") == [] and one.status(ANNA) == 401


def test_an_operator_with_a_token_is_one_too(console: Maker) -> None:
    one = console({"name": "basic:anna", "rights": ALL}, {"group": "radiology", "rights": ["operate"]})
    assert "Nobody else" not in one.get("/console/access/remove?kind=user&key=anna").text


@pytest.mark.parametrize("path", ["users", "tokens", "remove"])
def test_others_and_forged_forms_are_refused(console: Maker, path: str) -> None:
    one = console({"name": "basic:anna", "rights": ["read", "share", "store", "delete"]}, {"name": "basic:bert"})
    fields = {"name": "carl", "password": "", "groups": "", "days": "0", "kind": "user", "key": "bert"}
    one.get("/console/")
    for headers in ({**BROWSER, **ANNA}, ANNA):
        answer = one.client.post(f"/console/access/{path}", data={"csrf": one.token, **fields}, headers=headers)
        assert answer.status_code == 403 and "no right to operate" in answer.text
    assert one.names("users") == ["anna", "bert"] and one.names("tokens") == ["pacs"]
    operator = console()
    assert operator.client.post(f"/console/access/{path}", data=fields, headers=ANNA).status_code == 403
    assert operator.names("users") == ["anna", "bert"]


def test_a_file_that_is_not_ours_has_no_forms_but_the_command(console: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.console.logins.obstacle", lambda path: f"{path} is read-only")
    one = console()
    text = one.get("/console/access").text
    assert "users is read-only" in text and "htpasswd -B" in text and "python main.py token" in text
    assert "/console/access/users" not in text and "kind=user" not in text


def test_what_a_person_has_changed_is_said_and_kept(console: Maker) -> None:
    one = console()
    users = one.folder / "users"
    users.write_text(users.read_text() + "# a note\ndora:$2b$04$x\n")
    assert "Somebody has changed the file" in one.get("/console/access").text
    assert "<strong>dora</strong>" not in one.get("/console/access").text  # until SIGHUP, or a change here
    one.post("/console/access/users", name="carl", password="")
    assert one.names("users") == ["anna", "bert", "dora", "carl"] and "# a note" in users.read_text()
    assert "<strong>dora</strong>" in one.get("/console/access").text


def test_markup_in_names_is_text(console: Maker) -> None:
    one = console()
    answer = one.post("/console/access/users", name=EVIL, password="")
    pages = [answer, one.get("/console/access"), one.get(f"/console/access/remove?kind=user&key={EVIL}")]
    pages.append(one.post("/console/access/tokens", name=EVIL, groups=EVIL, days="0"))
    for page in pages:
        main = page.text.partition("<main")[2]
        assert page.status_code == 200 and "<script" not in main and "alert(1)" in main
