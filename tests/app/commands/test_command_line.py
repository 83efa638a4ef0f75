"""The command line: each command is one row of a table, and main.py only starts it."""

import os
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest

from app.commands.command_line import COMMANDS, Command, main

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


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_of_a_command_explains_it_and_its_arguments(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command.name, "--help"])
    assert ended.value.code == 0
    assert f"{command.help[1:]}. " in " ".join(capsys.readouterr().out.split())
    parser = ArgumentParser()
    command.add_arguments(parser)
    assert [action.dest for action in parser._actions if not action.help] == []  # noqa: SLF001 - argparse lists them so


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["chekc"], "'chekc' (choose from"),
        (["check", "now"], "unrecognized arguments: now"),
        (["token"], "required: name"),
        (["spool", "empty"], "'empty' (choose from"),
        (["datastore", "--port", "0x10"], "--port: is not the number of a port"),
        (["index", "--compare", "--follow"], "not allowed with"),
    ],
)
def test_a_wrong_command_line_is_usage_and_a_reason(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    usage, reason = capsys.readouterr().err.split("error: ")
    assert (ended.value.code, usage.startswith("usage: "), reason.count("\n")) == (2, True, 1)
    assert told in reason


@pytest.mark.service
@pytest.mark.parametrize(
    ("host", "port", "told"),
    [("a b", "8080", "a b port 8080: "), ("x..y", " ", "x..y port 8080: "), (" ", "ten", "PORT is not a whole number")],
)
def test_a_probe_of_odd_settings_is_one_line(host: str, port: str, told: str) -> None:
    """That of containers, which reads HOST and PORT alone."""
    command = [sys.executable, "-m", "app.commands.probe"]
    environ = {"PATH": os.environ["PATH"], "HOST": host, "PORT": port}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    (line,) = done.stderr.splitlines()
    assert line.startswith(told)
    assert done.returncode == 1
