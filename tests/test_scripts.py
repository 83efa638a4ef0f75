"""The scripts of the project: linted, executable, and described by their first lines."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "script" / "lib.sh"
PYTHON_MODULES = {"audit_report.py", "licences.py", "lock_requirements.py", "make_viewer.py", "onefile_plugin.py"}
"""What other scripts run or load."""


def shell_scripts() -> list[Path]:
    """Every file of the project that a shell runs."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    return [one for one in files if one.read_bytes().partition(b"\n")[0].endswith((b"bash", b"/bin/sh"))]


def commands() -> list[Path]:
    return sorted(path for path in (ROOT / "script").iterdir() if path.is_file() and path != LIBRARY)


def test_shell_scripts_are_linted() -> None:
    scripts = shell_scripts()
    assert {ROOT / "script" / "setup", ROOT / "systemd" / "dicomweb"} <= set(scripts)
    linter = Path(sys.executable).with_name("shellcheck")
    options = ["--external-sources", "--source-path=."]
    found = subprocess.run([linter, *options, *scripts, LIBRARY], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("path", commands(), ids=lambda path: str(path.name))
def test_a_command_can_be_run_and_says_what_it_does(path: Path) -> None:
    if path.name in PYTHON_MODULES:
        return
    assert path.stat().st_mode & 0o111 == 0o111
    first, second = path.read_text().splitlines()[:2]
    assert first in ("#!/usr/bin/env bash", "#!/usr/bin/env python3")
    assert re.match(rf'(# |""")script/{path.name}( [^:]*)?: ', second), second
