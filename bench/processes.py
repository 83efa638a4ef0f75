"""CPU seconds and memory of all processes of a server, from /proc."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process: now, and its peak."""

    name: str
    now_bytes: int
    peak_bytes: int


def cpu_seconds(root: int) -> float:
    """CPU time of a process and its descendants, including those that ended and were waited for."""
    return sum(sum(map(int, _stat(pid)[11:15])) for pid in family(root)) / _TICKS


def memory(root: int) -> list[Memory]:
    """The memory of a process and each of its descendants."""
    found = []
    for pid in family(root):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        if "VmRSS" in fields:
            now, peak = (int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
            found.append(Memory(fields["Name"].strip(), now, peak))
    return found


def family(root: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for pid, parent in _processes():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found.extend(sorted(children.get(pid, ())))
    return found


def _processes() -> Iterator[tuple[int, int]]:
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield int(path.name), int(_stat(int(path.name))[1])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third one, the state, on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
