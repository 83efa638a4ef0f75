"""Where a request waits for somebody else: the thread that answers it says so, and another one works meanwhile.

What runs between has no right to work for long: it waits for an answer of the index, of a fetcher, of a client. A lock
that is held while waiting is taken inside of it, or who waits for the lock keeps who holds it from going on.
"""

import threading
from contextlib import AbstractContextManager, nullcontext

_NOWHERE: AbstractContextManager[None] = nullcontext()


class _Thread(threading.local):
    waiting: AbstractContextManager[None] = _NOWHERE


_thread = _Thread()


def waits_by(waiting: AbstractContextManager[None]) -> None:
    """From here on, this thread enters and leaves `waiting` where it waits; it can be entered again within."""
    _thread.waiting = waiting


def waiting() -> AbstractContextManager[None]:
    """The context of what this thread waits for."""
    return _thread.waiting
