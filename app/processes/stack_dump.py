"""The stacks of a hung process: on a signal it writes names of files and functions, no values.

`faulthandler` writes them without the lock of the interpreter, which a hung process may hold for ever, into memory that
all processes share. The supervisor reads them there. A frozen process cannot answer.
"""

import faulthandler
import os
import signal

_SIGNAL = signal.SIGUSR2
_MAX_BYTES = 2**16


class Stacks:
    """The stacks of one process at a time, made before any fork."""

    def __init__(self) -> None:
        self._file = os.memfd_create("stacks")

    def register(self) -> None:
        """Have this process answer the signal."""
        faulthandler.register(_SIGNAL, file=self._file, all_threads=True)

    def ask(self, pid: int) -> None:
        """Drop the last stacks, and send the signal to a process."""
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)  # the offset is shared with all processes that write
        os.kill(pid, _SIGNAL)

    def read(self) -> str:
        """The stacks that have been written so far; "" if none have."""
        return os.pread(self._file, _MAX_BYTES, 0).decode("utf-8", "replace").strip()
