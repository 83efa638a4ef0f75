"""The disturbances of a soak: killed processes, reloads, a data store that fails, an evicted cache."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, cycle
from random import Random

from tests.service.ahi import Ahi
from tests.service.process import Service

KINDS = ("web", "FF", "prefetch", "metrics")
"""The beginnings of the names of processes."""

FAULTS = (
    "",
    "*:latency=200ms",
    "GetImageFrame:429:0.3,GetImageSet:429:0.2",
    "",
    "GetImageFrame:503:0.3,GetImageSetMetadata:500:0.3",
    "GetImageFrame:cut-body:0.2,*:latency=50ms",
    "",
    "*:503",
    "GetImageFrame:cut:0.3",
)
"""The faults of the data store in turn; each outage of all calls ends soon."""

_EVICTED_AFTER_SECONDS = 3.0
_AFTERWARDS_SECONDS = 3.0  # a disturbance may have effects for so long


class Disturbance:
    """A thread that disturbs a service every `pause_seconds`, and notes the times."""

    def __init__(self, service: Service, ahi: Ahi, random: Random, pause_seconds: float) -> None:
        self._service = service
        self._ahi = ahi
        self._random = random
        self._pause_seconds = pause_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._kills: list[float] = []
        self._failing: list[tuple[float, float]] = []
        self._faults = cycle(FAULTS)
        self.reloads: list[float] = []
        self.done: Counter[str] = Counter()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and all faults of the data store."""
        self._over.set()
        self._thread.join()
        self._ahi.faults("")
        self._note_faults("")

    def killed_between(self, began: float, ended: float) -> bool:
        """Whether a process was killed between two times of the monotonic clock, or shortly before."""
        return any(began - _AFTERWARDS_SECONDS <= at <= ended for at in list(self._kills))

    def failing_between(self, began: float, ended: float) -> bool:
        """Whether the data store failed or was slow between two times, or shortly before."""
        return any(begin <= ended and began - _AFTERWARDS_SECONDS <= end for begin, end in list(self._failing))

    def _run(self) -> None:
        kinds = cycle(KINDS)
        steps: Iterator[Callable[[], None]] = chain.from_iterable(
            cycle(
                [
                    (
                        lambda: self._kill(next(kinds)),
                        self._fail,
                        lambda: self._kill(next(kinds)),
                        self._reload,
                        self._evict,
                    )
                ]
            )
        )
        for step in steps:
            if self._over.wait(self._pause_seconds):
                return
            step()

    def _kill(self, kind: str) -> None:
        pids = self._service.named(kind)
        if pids:
            self._kills.append(time.monotonic())
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(pids), signal.SIGKILL)
                self.done[f"kills of {kind}"] += 1

    def _reload(self) -> None:
        self.reloads.append(time.time())
        self._service.process.send_signal(signal.SIGHUP)
        self.done["reloads (SIGHUP)"] += 1

    def _fail(self) -> None:
        faults = next(self._faults)
        self._note_faults(faults)
        self._ahi.faults(faults)
        if faults:
            self.done["spells of a failing or slow AHI"] += 1

    def _note_faults(self, faults: str) -> None:
        now = time.monotonic()
        if self._failing and self._failing[-1][1] == float("inf"):
            self._failing[-1] = (self._failing[-1][0], now)
        if faults:
            self._failing.append((now, float("inf")))

    def _evict(self) -> None:
        """Delete older files of the cache, as the cache itself does when it is full."""
        before = time.time() - _EVICTED_AFTER_SECONDS
        for path in (self._service.log_path.parent / "cache").rglob("*"):
            with suppress(OSError):
                if path.is_file() and path.stat().st_mtime < before:
                    path.unlink()
        self.done["evictions of the cache"] += 1
