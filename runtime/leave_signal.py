"""SIGHUP, by which its parent tells a process that another one has taken its place, and that it may leave.

That of anybody else, for example of `pkill -HUP`, which means the parent, is nothing: a process that left on it would
listen no more, and nobody would take its place before it has ended.
"""

import os
import signal

_SIGNALS = [signal.SIGHUP]


def block_signal() -> None:
    """Keep SIGHUP for who asks here: to be called before any thread is started."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def wait_to_leave() -> None:
    """Wait until the parent says so."""
    while not _is_of_parent(signal.sigwaitinfo(_SIGNALS)):
        pass


def is_to_leave() -> bool:
    """Whether the parent has said so since this was asked last."""
    while (come := signal.sigtimedwait(_SIGNALS, 0)) is not None:
        if _is_of_parent(come):
            return True
    return False


def _is_of_parent(come: signal.struct_siginfo) -> bool:
    return come.si_pid == os.getppid()
