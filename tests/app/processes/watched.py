"""A supervisor whose children have hearts that beat, and jobs for its fetcher. Run by test_watchdog.py.

Each child does what its name says when it is the first of that name; those that replace it only beat.
"""

import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ahi.cache.cache import Cache
from ahi.client.calls import AhiClient
from ahi.image_sets.version_cache import VersionCache
from ahi.workers import worker as fetcher_module
from ahi.workers.context import WorkerContext
from ahi.workers.scheduler import SchedulerLimits
from ahi.workers.worker import serve
from app.processes.supervisor import Child, Place, Supervisor
from app.telemetry.logs import start_logging
from app.telemetry.replacements import ProcessKind

SILENT_SECONDS = 2.0
GROWN_BYTES = 200 * 2**20
TOLD = "a" * 40 + "b"
"""Stands for what must not be in the log."""

_LOCKS = threading.Lock(), threading.Lock()
_BOTH_HOLD = threading.Barrier(2)
_kept: list[bytearray] = []


def beat(place: Place) -> None:
    while True:
        place.heartbeat.listened()
        time.sleep(0.1)


def backtrack(_place: Place) -> None:
    re.match(r"(a+)+$", TOLD)  # for hours, and no other thread runs meanwhile


def hold_and_wait(first: int) -> None:
    with _LOCKS[first]:
        _BOTH_HOLD.wait()
        with _LOCKS[1 - first]:
            pass


def deadlock(place: Place) -> None:
    place.heartbeat.step()
    for first in (0, 1):
        threading.Thread(target=hold_and_wait, args=(first,)).start()
    place.heartbeat.set_waiting(1)
    beat(place)


def asleep(place: Place) -> None:
    """Nothing is to be done, and has not been for long."""
    place.heartbeat.set_waiting(0)
    beat(place)


FIRST: dict[str, Callable[[Place], None]] = {
    "beat": beat,
    "backtrack": backtrack,
    "deadlock": deadlock,
    "asleep": asleep,
}


def child(name: str, folder: Path) -> Child:
    def run(place: Place) -> None:
        place.heartbeat.listened()
        is_first = not list(folder.glob(f"{name}.*"))
        (folder / f"{name}.{os.getpid()}").touch()
        FIRST[name](place) if is_first else beat(place)

    return Child(name, run, ProcessKind.WEB, silent_seconds=SILENT_SECONDS)


def fetcher(folder: Path) -> Child:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "socket"))
    listening.listen(100)

    def run(place: Place) -> None:
        (folder / f"fetcher.{os.getpid()}").touch()
        context = WorkerContext(AhiClient(region="us-east-1"), Cache(folder / "cache", 10**6), VersionCache(60))
        serve(listening, context, SchedulerLimits(threads=2), place.heartbeat)

    return Child("fetcher", run, ProcessKind.FETCHER, leaves=True, silent_seconds=SILENT_SECONDS)


def process(_context: WorkerContext, _number: int = 0) -> int:
    return os.getpid()


def slow_process(_context: WorkerContext, seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def large(_context: WorkerContext, number: int) -> bytes:
    return bytes([number % 256]) * 2**21


def deadlock_once(context: WorkerContext, first: int) -> int:
    if context.cache.read(f"deadlocks/{first}") is None:
        context.cache.put(f"deadlocks/{first}", b"")
        hold_and_wait(first)
    return os.getpid()


def compute(_context: WorkerContext, seconds: float) -> int:
    """Without a step, while work waits, but with other threads running in between."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))
    return os.getpid()


def grow(_context: WorkerContext) -> int:
    _kept.append(bytearray(os.urandom(1) * GROWN_BYTES))
    return os.getpid()


def main() -> None:
    fetcher_module._POLL_SECONDS = 0.2
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    start_logging("INFO", "text")
    supervisor = Supervisor()
    supervisor.growth.look_seconds, supervisor.growth.max_bytes = 0.2, GROWN_BYTES
    for name in names:
        supervisor.start(fetcher(folder) if name == "fetcher" else child(name, folder))
    supervisor.run()
    for (kind, reason), number in supervisor.replacements.totals().items():
        if number:
            sys.stderr.write(f"replaced {kind.value} {reason.value} {number}\n")


if __name__ == "__main__":
    from tests.app.processes import watched  # jobs are known by the name of their module, not as those of __main__

    watched.main()
