"""Writes a lock file: every wheel that a requirements file means on Linux, with the hashes of its files.

The pip of each Python resolves the requirements for each kind of processor that the project supports. Wheels only, as
in the image. A library that not every Python gets has an environment marker.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

MACHINES = ("x86_64", "aarch64")
_OLDEST_GLIBC_MINOR, _GLIBC_MINOR = 5, 35  # of Ubuntu 22.04, the oldest system that is supported

_HEAD = (
    "# Every wheel with the hashes of its files, for pip install --require-hashes. Made by script/lock, not by hand.\n"
)

Resolved = set[tuple[str, str, str]]
"""Name, version and hash of each wheel."""


def main(requirements: Path, lock: Path, pythons: Sequence[str]) -> int:
    """Resolve for all machines with the interpreters, the oldest first, and write the lock file; the exit status."""
    by_version = {_version(python): set[tuple[str, str, str]]() for python in pythons}
    for python in pythons:
        for machine in MACHINES:
            by_version[_version(python)] |= _resolved(requirements, python, machine)
    lock.write_text(_HEAD + lock_text(by_version))
    return 0


def lock_text(by_version: Mapping[str, Resolved]) -> str:
    """The entries of the lock file; `by_version` has what each Python resolved, the oldest first."""
    versions, hashes = defaultdict(list), defaultdict(set)
    for version, wheels in by_version.items():
        for name, pin, sha256 in sorted(wheels):
            if version not in versions[name, pin]:
                versions[name, pin].append(version)
            hashes[name, pin].add(sha256)
    return "".join(_entry(*pin, _marker(versions[pin], list(by_version)), hashes[pin]) for pin in sorted(versions))


def _version(python: str) -> str:
    """As environment markers have it: 3.10."""
    tell = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", tell], check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


def _resolved(requirements: Path, python: str, machine: str) -> Resolved:
    """Every wheel that pip would install there; SystemExit with the words of pip where it finds none."""
    minors = range(_GLIBC_MINOR, _OLDEST_GLIBC_MINOR - 1, -1)  # the newest first, as pip takes them by itself
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
        command += ["--ignore-installed", "--only-binary=:all:", f"--target={folder}", "--report=-"]
        command += [f"--requirement={requirements}"]
        command += [f"--platform=manylinux_2_{minor}_{machine}" for minor in minors]
        command += [f"--platform=manylinux2014_{machine}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{python} for {machine}: {done.stderr}")
    return {_wheel(item) for item in json.loads(done.stdout)["install"]}


def _wheel(item: "dict[str, dict[str, dict[str, dict[str, str]]]]") -> tuple[str, str, str]:
    metadata, download = item["metadata"], item["download_info"]
    name = re.sub(r"[-_.]+", "-", str(metadata["name"])).lower()
    return name, str(metadata["version"]), download["archive_info"]["hashes"]["sha256"]


def _entry(name: str, version: str, marker: str, hashes: set[str]) -> str:
    lines = [f"{name}=={version}{marker}", *(f"    --hash=sha256:{one}" for one in sorted(hashes))]
    return " \\\n".join(lines) + "\n"


def _marker(versions: Sequence[str], all_versions: Sequence[str]) -> str:
    """Pythons that get a library are the oldest ones, or the newest ones, or all of them."""
    if len(versions) == len(all_versions):
        return ""
    if versions[-1] == all_versions[-1]:
        return f' ; python_version >= "{versions[0]}"'
    if versions[0] == all_versions[0]:
        return f' ; python_version < "{all_versions[len(versions)]}"'
    raise ValueError(f"Pythons {', '.join(versions)} alone get a library, which no marker says")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
