"""SIGHUP from the parent: another process has taken the place of this one, which may leave.

SIGHUP from others is ignored, for example from `pkill -HUP`, which means the parent. A process that left then would no
longer listen, and no other would take its place before it has ended.
"""

import os
import signal

_SIGNALS = [signal.SIGHUP]


def block_signal() -> None:
    """Keep SIGHUP for the functions below; call it before any thread is started."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def wait_to_leave() -> None:
    """Wait until the parent sends SIGHUP."""
    while not _is_of_parent(signal.sigwaitinfo(_SIGNALS)):
        pass


def is_to_leave() -> bool:
    """Whether the parent has sent SIGHUP since the last call."""
    while (received := signal.sigtimedwait(_SIGNALS, 0)) is not None:
        if _is_of_parent(received):
            return True
    return False


def _is_of_parent(received: signal.struct_siginfo) -> bool:
    return received.si_pid == os.getppid()
