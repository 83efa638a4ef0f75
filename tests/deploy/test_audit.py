"""The check for known weaknesses never passes without having checked every library."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers import free_port

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]

GOOD = {"name": "good-one", "version": "1.0", "vulns": []}
WEAK = {"name": "good-one", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "description": ""}]}
OTHER = {"name": "Other_Two", "version": "2.0", "vulns": []}
SKIPPED = {"name": "other-two", "skip_reason": "Dependency not found on PyPI and could not be audited: other-two (2.0)"}


def report(tmp_path: Path, text: str, requirements: str = "good.one==1.0\n# a note\nother-two[x]==2.0\n") -> Any:
    path = tmp_path / "requirements.txt"
    path.write_text(requirements)
    command = [sys.executable, str(ROOT / "script/audit_report.py"), str(path)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("libraries", "status", "said"),
    [
        ([GOOD, OTHER], 0, "2 libraries were checked, no weakness is known"),
        ([WEAK, OTHER], 1, "good-one 1.0: PYSEC-1, mended in 1.1"),
        ([GOOD, SKIPPED], 2, "1 of 2 libraries could not be checked: other-two."),
        ([GOOD], 2, "1 of 2 libraries could not be checked: other-two."),
        ([], 2, "2 of 2 libraries could not be checked: good-one, other-two."),
        ([WEAK, SKIPPED], 1, "could not be checked: other-two."),
    ],
)
def test_a_report_is_judged(tmp_path: Path, libraries: list[Any], status: int, said: str) -> None:
    done = report(tmp_path, json.dumps({"dependencies": libraries, "fixes": []}))
    assert done.returncode == status
    assert said in done.stdout + done.stderr


@pytest.mark.parametrize("text", ["", "{}", "[]", "Traceback"])
def test_without_a_report_nothing_was_checked(tmp_path: Path, text: str) -> None:
    done = report(tmp_path, text)
    assert done.returncode == 2
    assert "2 of 2 libraries could not be checked" in done.stderr


def test_what_pins_nothing_does_not_pass(tmp_path: Path) -> None:
    assert report(tmp_path, '{"dependencies": []}', "# nothing\n").returncode == 2


def test_without_a_network_the_audit_fails_in_words() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    environment = {**os.environ, "HTTPS_PROXY": nowhere, "https_proxy": nowhere, "NO_PROXY": "", "no_proxy": ""}
    command = [str(ROOT / "script/audit")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2, done.stderr
    assert "could not be checked" in done.stderr and "Traceback" not in done.stderr
