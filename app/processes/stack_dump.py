"""Where the threads of a hung process are: it is asked by a signal, and writes names of files and functions, no values.

The answer is written by `faulthandler` without the interpreter, which a hung process may never let go of, into memory
that all processes share; the supervisor reads it there. A frozen process cannot answer.
"""

import faulthandler
import os
import signal

_ASKED_BY = signal.SIGUSR2
_MOST_BYTES = 2**16


class Stacks:
    """The answer of one process at a time. Made before any fork."""

    def __init__(self) -> None:
        self._file = os.memfd_create("stacks")

    def register(self) -> None:
        """Have this process answer."""
        faulthandler.register(_ASKED_BY, file=self._file, all_threads=True)

    def ask(self, pid: int) -> None:
        """Forget the last answer, and ask a process."""
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)  # which is shared with all who write
        os.kill(pid, _ASKED_BY)

    def told(self) -> str:
        """What it has answered so far; "" if nothing."""
        return os.pread(self._file, _MOST_BYTES, 0).decode("utf-8", "replace").strip()
