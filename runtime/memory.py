"""Free memory: the C library shares it among all threads, or gives it back to the kernel, instead of keeping it."""

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
    """Have threads share free memory, in this process and those that it forks; call it before any thread starts.

    glibc gives threads up to 8 arenas for each core, and free memory of one is of no use to the others. So a process
    keeps its peak several times over. Large blocks go back to the kernel as soon as they are free: glibc would keep
    blocks of up to 32 MiB once the first ones have been freed, and smaller blocks between them pin them.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option:
        set_option(_M_ARENA_MAX, _ARENAS)
        set_option(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def resident_bytes() -> int:
    """The resident size of this process, including files that it has mapped."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


class Trimmer:
    """Gives free memory back while the process is 16 MiB above its smallest size. Call it every few seconds.

    A call takes some milliseconds at most, without the lock of the interpreter. Every 10 seconds it also collects
    cycles of objects, which a web process rarely does. All threads wait for some hundredths of a second then.
    """

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
        self._smallest_bytes = resident_bytes()
        self._collected_at = time.monotonic()

    def __call__(self) -> None:
        """Give free memory back if there may be much."""
        now_bytes = resident_bytes()
        self._smallest_bytes = min(self._smallest_bytes, now_bytes)
        if now_bytes <= self._smallest_bytes + _WORTH_BYTES:
            return
        if time.monotonic() - self._collected_at > _COLLECT_SECONDS:
            gc.collect()
            self._collected_at = time.monotonic()
        if self._trim:
            self._trim(0)
