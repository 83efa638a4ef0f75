"""The processes of a running service: the memory of each kind, and how long old ones stay."""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bench.processes import family
from tests.service.process import Service, alive

_TICKS = os.sysconf("SC_CLK_TCK")
_EVERY_SECONDS = 1.0


class ProcessWatch:
    """A thread that records the processes of a service every second; `reloads` has the times of its reloads."""

    def __init__(self, service: Service, reloads: Sequence[float]) -> None:
        self._root = service.process.pid
        self._reloads = reloads
        self._samples: list[tuple[float, str, int]] = []
        self._seen: dict[str, set[int]] = defaultdict(set)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        self._began = time.time()
        self.longest_stay_seconds = 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._over.set()
        self._thread.join()

    def resident(self, *, anonymous: bool = False) -> Mapping[str, int]:
        """The resident bytes of each process now, by its name and number; mapped files count, unless `anonymous`."""
        field = "RssAnon" if anonymous else "VmRSS"
        return {f"{name} {pid}": size for pid, name, size, _ in self._processes(field)}

    @property
    def rows(self) -> list[tuple[str, int, float, float, float]]:
        """For each kind of process: the number seen, and the peak MB in each half of the time and overall."""
        return [(kind, len(self._seen[kind]), *self._most(kind)) for kind in sorted(self._seen)]

    @property
    def growth(self) -> Mapping[str, int]:
        """The growth of the largest process of each kind from the first half to the second, in bytes."""
        return {kind: int((self._most(kind)[1] - self._most(kind)[0]) * 1e6) for kind in self._seen}

    @property
    def left(self) -> list[str]:
        """The processes that are still there."""
        return [f"{kind} {pid}" for kind, pids in self._seen.items() for pid in pids if alive(pid)]

    def _most(self, kind: str) -> tuple[float, float, float]:
        half = (self._began + max((at for at, _, _ in self._samples), default=self._began)) / 2
        first = max((size for at, of, size in self._samples if of == kind and at <= half), default=0) / 1e6
        second = max((size for at, of, size in self._samples if of == kind and at > half), default=0) / 1e6
        return first, second, max(first, second)

    def _run(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            now = time.time()
            for pid, name, size, started_at in self._processes():
                kind = name.rstrip("0123456789")
                self._samples.append((now, kind, size))
                self._seen[kind].add(pid)
                since = [at for at in list(self._reloads) if started_at < at]
                if kind == "web" and since:
                    self.longest_stay_seconds = max(self.longest_stay_seconds, now - since[0])

    def _processes(self, field: str = "VmRSS") -> list[tuple[int, str, int, float]]:
        """Number, name, bytes and start of each process; the bytes are `field` of /proc/PID/status."""
        found = []
        for pid in family(self._root):
            with suppress(OSError, KeyError):  # it has ended
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                fields = dict(line.split(":", 1) for line in lines)
                ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
                started_at = self._booted_at + ticks / _TICKS
                name = "supervisor" if pid == self._root else fields["Name"].strip()
                if name.startswith("python"):  # just forked, it has no name yet
                    continue
                found.append((pid, name, int(fields[field].split()[0]) * 1024, started_at))
        return found
