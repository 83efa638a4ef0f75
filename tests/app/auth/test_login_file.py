"""Users and tokens as processes know them: a change that one of them makes counts for all, at once."""

import base64
import os
from datetime import date, timedelta
from pathlib import Path

import bcrypt
import pytest

from app.auth.basic import Basic, new_line, parse_users
from app.auth.bearer import Bearer, new_token, parse_tokens
from app.auth.login_file import LoginFile
from app.auth.principal import Credentials, NotProven, Principal
from runtime.changes import Changes

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # other tests have left threads


def line(name: str, password: str) -> str:
    return f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"


def given(name: str, password: str) -> Credentials:
    return Credentials("basic", base64.b64encode(f"{name}:{password}".encode()).decode())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "users"
    made.write_text(line("anna", "one"))
    return made


def test_a_change_counts_when_it_is_noted(path: Path) -> None:
    changes = Changes()
    here, there = (LoginFile[str](path, parse_users, changes) for _ in range(2))
    path.write_text(line("bert", "two"))
    assert list(here()) == list(there()) == ["anna"] and here.has_changed()
    here.note_change()
    assert list(here()) == list(there()) == ["bert"] and not there.has_changed()


def test_other_processes_know_it(path: Path) -> None:
    file = LoginFile[str](path, parse_users, Changes())
    path.write_text(line("bert", "two"))
    child = os.fork()
    if child == 0:
        file.note_change()
        os._exit(0)
    os.waitpid(child, 0)
    assert list(file()) == ["bert"]


def test_a_file_that_cannot_be_read_again_changes_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = LoginFile[str](path, parse_users, Changes())
    path.write_text("a secret line")
    file.note_change()
    for _ in range(3):
        assert list(file()) == ["anna"]
    assert caplog.text.count("cannot be read again") == 1 and "secret" not in caplog.text and file.has_changed()


def test_a_password_that_was_remembered_ends_with_its_user(path: Path) -> None:
    file = LoginFile[str](path, parse_users, Changes())
    basic = Basic(file)
    assert basic.principal(given("anna", "one")) == Principal("anna", scheme="basic")
    kept = basic.keep(Principal("anna", scheme="basic"))
    path.write_text(line("anna", "two") + line("bert", "x"))
    file.note_change()
    with pytest.raises(NotProven):
        basic.principal(given("anna", "one"))
    assert basic.principal(given("anna", "two")) and basic.recall(kept) is None
    path.write_text(line("bert", "x"))
    file.note_change()
    with pytest.raises(NotProven):
        basic.principal(given("anna", "two"))


def test_a_new_line_is_a_user_with_this_password(path: Path) -> None:
    path.write_text(new_line("ä b", "pässwörd") + "\n")
    assert Basic(LoginFile[str](path, parse_users)).principal(given("ä b", "pässwörd"))


def test_a_token_ends_with_its_file_and_with_its_last_day(tmp_path: Path) -> None:
    path, until = tmp_path / "tokens", date.today() + timedelta(days=2)
    token, made = new_token("pacs", "a,b", until)
    assert made.startswith("pacs:") and made.endswith(f":a,b:{until}")
    other, plain = new_token("pacs")
    path.write_text(f"{made}\n{plain}\n")
    file = LoginFile[Principal](path, parse_tokens, Changes())
    bearer = Bearer(file)
    found = bearer.principal(Credentials("bearer", token))
    assert found and found.groups == {"a", "b"} and len(bearer.tokens) == 2
    kept = bearer.keep(found, token)
    assert bearer.recall(kept) == found
    path.write_text(f"{made[:-10]}2026-01-01\n")
    file.note_change()
    assert bearer.recall(kept) is None
    with pytest.raises(NotProven, match="not valid"):
        bearer.principal(Credentials("bearer", token))
    with pytest.raises(NotProven):
        bearer.principal(Credentials("bearer", other))


@pytest.mark.parametrize("end", [":2026-13-01", ":tomorrow", ":2026-01-01:", "::x"])
def test_an_end_that_is_no_day_is_refused(tmp_path: Path, end: str) -> None:
    (tmp_path / "tokens").write_text(f"pacs:{'0' * 64}:group{end}\n")
    with pytest.raises(ValueError, match="line 1"):
        parse_tokens(tmp_path / "tokens")
