"""The Pythons that the project promises, as script/pythons found them on this machine."""

import sys
from pathlib import Path

VERSIONS = ("3.10", "3.11", "3.12", "3.13")
_ROOT = Path(__file__).parents[2]


def find_interpreter(version: str) -> Path | None:
    """The interpreter of a version that has what requirements.txt lists; None where the machine has none."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return Path(sys.executable)
    folder = _ROOT / f".venv-{version}"
    return folder / "bin" / "python" if (folder / "installed-requirements.txt").exists() else None
