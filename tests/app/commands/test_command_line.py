"""The command line: each command is one row of a table, and main.py only starts it."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.commands.command_line import COMMANDS, main

ROOT = Path(__file__).parents[3]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = " ".join(capsys.readouterr().out.split())
    assert [command.name for command in COMMANDS if f" {command.name} {command.help}" not in listed] == []


def test_main_is_a_few_lines() -> None:
    assert len((ROOT / "main.py").read_text().splitlines()) <= 10


@pytest.mark.service
def test_a_python_without_the_libraries_is_told_what_to_do() -> None:
    command = [sys.executable, "-S", "main.py", "check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    (line,) = done.stderr.splitlines()
    assert line.startswith("No module named ") and line.endswith(".venv/bin/python main.py")
    assert done.returncode == 1


def test_wrong_settings_are_status_2(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "http")
    assert main(["token", "anna"]) == 2
    assert capsys.readouterr().err == "PORT is not a whole number\n"


def test_an_unexpected_error_is_one_line_without_its_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("Zq9xsecret")

    monkeypatch.setattr("app.commands.token.make_token", fail)
    assert main(["token", "anna"]) == 1
    assert capsys.readouterr().err == "RuntimeError (LOG_LEVEL=DEBUG shows where)\n"
