"""The build of one file knows every package of the project, and names only libraries that the service has."""

import re
import subprocess

from packaging.utils import canonicalize_name

from tests.deploy.files import ROOT

SCRIPT = (ROOT / "script" / "onefile").read_text()
PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")}


def values(variable: str) -> set[str]:
    """What a variable of the script lists, over all of its lines."""
    lines = re.findall(rf"^{variable}\+?=,?(\S+)$", SCRIPT, flags=re.MULTILINE)
    assert lines
    return {one for line in lines for one in line.split(",")}


def test_all_packages_are_in_it_and_are_compiled() -> None:
    assert values("ours") == PACKAGES
    (compiled,) = re.findall(r"^OURS = \((.*)\)$", (ROOT / "script/onefile_plugin.py").read_text(), flags=re.MULTILINE)
    assert set(re.findall(r'"(\w+)"', compiled)) == PACKAGES | {"main"}


def test_libraries_that_are_asked_for_their_version_are_those_of_the_service() -> None:
    pinned = re.findall(
        r"^([A-Za-z0-9._-]+)(?:\[.*\])?==", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE
    )
    assert values("asked") <= set(map(canonicalize_name, pinned))


def test_what_is_built_lies_where_users_expect_it_and_is_not_committed() -> None:
    assert "ln -f dist/main.bin main.bin" in SCRIPT
    made = ["main.bin", "dist/main.bin"]
    ignored = subprocess.run(["git", "check-ignore", *made], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ignored.stdout.split() == made


def test_files_beside_the_code_are_in_it() -> None:
    """Templates, styles and certificates lie in packages whose data are included."""
    (named,) = re.findall(r"--include-package-data=(\S+)", SCRIPT)
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    beside = {path.partition("/")[0] for path in listed.split() if not path.endswith(".py")}
    assert beside and beside <= set(named.split(","))
