"""Says what a report of pip-audit (JSON, on standard input) means for the libraries of a requirements file.

The exit status is 0 if all were checked and none has a known weakness, 1 if one has, 2 if one could not be checked.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

_PINNED = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==")


def main(requirements: Path, text: str) -> int:
    """Print a line for each weakness, and one for all that could not be checked; the exit status."""
    pinned = {_plain(found[1]) for line in requirements.read_text().splitlines() if (found := _PINNED.match(line))}
    libraries = _libraries(text)
    checked = {_plain(one["name"]) for one in libraries if "vulns" in one}
    weak = [(one, weakness) for one in libraries for weakness in one.get("vulns", ())]
    for one, weakness in weak:
        better = ", ".join(weakness.get("fix_versions", ())) or "no version"
        sys.stdout.write(f"{one['name']} {one['version']}: {weakness['id']}, mended in {better}\n")
    if unchecked := sorted(pinned - checked):
        sys.stderr.write(f"audit: {len(unchecked)} of {len(pinned)} libraries could not be checked: ")
        sys.stderr.write(f"{', '.join(unchecked)}. Can this machine reach the databases of PyPI and OSV?\n")
    elif not pinned:
        sys.stderr.write(f"audit: {requirements} pins nothing, so nothing was checked\n")
    elif not weak:
        sys.stdout.write(f"{len(pinned)} libraries were checked, no weakness is known\n")
    if weak:
        return 1
    return 2 if unchecked or not pinned else 0


def _libraries(text: str) -> list[dict[str, Any]]:
    """Those of the report; none where pip-audit ended without one."""
    try:
        found: list[dict[str, Any]] = json.loads(text)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return []
    return found


def _plain(name: str) -> str:
    """The name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.stdin.read()))
