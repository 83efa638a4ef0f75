"""The image: linted, complete, and of wheels alone on both kinds of processor. There is no engine to build it with."""

import subprocess
import sys
from pathlib import Path
from shutil import copy, copytree

import pytest
from packaging.requirements import Requirement

from tests.deploy.files import DOCKERFILE, ROOT, instructions

PYTHON, GLIBC_MINOR = "3.13", 36
"""Of the base image, Debian 12."""


def test_the_dockerfile_is_linted() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_user_is_a_number_and_not_root() -> None:
    assert ("USER", "10001:10001") in instructions()


def test_what_is_copied_is_what_the_service_needs(tmp_path: Path) -> None:
    copied = [words.split()[0] for name, words in instructions() if name == "COPY" and not words.startswith("--from")]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for source in copied:
        assert f"!{source}" in ignored or f"!{source}/" in ignored
        path = ROOT / source
        copytree(path, tmp_path / source) if path.is_dir() else copy(path, tmp_path / source)
    command = [sys.executable, "-c", "import main; main.Embedded"]
    subprocess.run(command, cwd=tmp_path, check=True, env={"PATH": ""})
    needed = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"main.py"}
    assert needed <= set(copied)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_dependency_is_a_wheel(machine: str, tmp_path: Path) -> None:
    environment = {"platform_machine": machine, "python_version": PYTHON, "python_full_version": f"{PYTHON}.0"}
    pins = [Requirement(line.partition(" #")[0]) for line in (ROOT / "requirements.txt").read_text().splitlines()
            if line and not line.startswith("#")]  # fmt: skip
    wanted = [f"{pin.name}{''.join(f'[{extra}]' for extra in pin.extras)}{pin.specifier}" for pin in pins
              if pin.marker is None or pin.marker.evaluate(environment)]  # fmt: skip
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in range(17, GLIBC_MINOR + 1)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
    options = ["--no-deps", "--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp"]
    target = [f"--target={tmp_path}", "--ignore-installed"]
    subprocess.run([*command, *options, *platforms, *target, *wanted], check=True, capture_output=True)


def test_the_health_check_is_a_command_of_the_service() -> None:
    (check,) = [words for name, words in instructions() if name == "HEALTHCHECK"]
    assert check.endswith('CMD ["python", "main.py", "probe"]')
