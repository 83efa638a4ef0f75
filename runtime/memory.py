"""Memory that is free serves all threads of a process, or goes back to the kernel; the C library keeps it otherwise."""

import ctypes
import gc
import resource
import time
from pathlib import Path

_WORTH_BYTES = 16 * 2**20
_COLLECT_SECONDS = 10.0
_PAGE_BYTES = resource.getpagesize()

_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # of malloc.h
_ARENAS = 2
_LARGE_BYTES = 2**18


def share_free_memory() -> None:
    """Have threads share what others have freed, in this process and those that it forks; call it before any thread.

    glibc gives threads up to 8 arenas for each core, and what is free in one is of no use to the others: a process
    keeps the most that it ever needed several times over. What is large goes back to the kernel as soon as it is free;
    glibc begins to keep blocks of up to 32 MiB when the first ones have been freed, and what lies between pins them.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option:
        set_option(_M_ARENA_MAX, _ARENAS)
        set_option(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def resident_bytes() -> int:
    """The resident size of this process, files that it has mapped included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


class Trimmer:
    """Gives free memory back while the process is 16 MiB larger than it was at its smallest. To be called now and then.

    A call takes some milliseconds at most, without the lock of the interpreter. Every 10 seconds it also collects the
    cycles that the thresholds of a web process leave for long. All threads wait for some hundredths of a second.
    """

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others need none
        self._smallest_bytes = resident_bytes()
        self._collected_at = time.monotonic()

    def __call__(self) -> None:
        """Look, and give back what is free if that may be much."""
        now_bytes = resident_bytes()
        self._smallest_bytes = min(self._smallest_bytes, now_bytes)
        if now_bytes <= self._smallest_bytes + _WORTH_BYTES:
            return
        if time.monotonic() - self._collected_at > _COLLECT_SECONDS:
            gc.collect()
            self._collected_at = time.monotonic()
        if self._trim:
            self._trim(0)
