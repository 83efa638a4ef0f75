"""Static tokens: the file has hashes only."""

from pathlib import Path

import pytest

from app.auth.bearer import Bearer, new_token, parse_tokens
from app.auth.principal import Credentials, NotProven, Principal
from app.commands.token import make_token
from app.settings import SettingsError


def test_a_new_token_is_known_by_its_line(tmp_path: Path) -> None:
    token, line = new_token("pacs", "research, staff")
    path = tmp_path / "tokens"
    path.write_text(f"# programs\n\n{line}\n{new_token('other')[1]}\n")
    tokens = Bearer(parse_tokens(path))
    assert token not in path.read_text()
    assert tokens.principal(Credentials("bearer", token)) == Principal(
        "pacs", frozenset({"research", "staff"}), scheme="bearer"
    )
    with pytest.raises(NotProven):
        tokens.principal(Credentials("bearer", token + "x"))
    assert tokens.principal(Credentials("basic", token)) is None
    assert tokens.principal(Credentials("bearer", "eyJ.of.oidc")) is None


@pytest.mark.parametrize("line", ["pacs", "pacs:xyz", "pacs:" + "A" * 64, ":" + "a" * 64])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{line}\n")
    with pytest.raises(ValueError, match="line 1"):
        parse_tokens(path)


def test_the_command_makes_tokens_with_an_end(tmp_path: Path) -> None:
    token, line = (one.partition(": ")[2].strip() for one in make_token("pacs", "", 30))
    (tmp_path / "tokens").write_text(f"{line}\n")
    found = Bearer(parse_tokens(tmp_path / "tokens")).principal(Credentials("bearer", token))
    assert found and found.until and not found.groups
    for days in (-1, 10**9):
        with pytest.raises(SettingsError):
            list(make_token("pacs", "", days))
