"""Signs of life of one process, in memory that it shares with the supervisor: the process writes, the supervisor reads.

A beat is one write of the time, so it may be given often and by any thread. Times are seconds of the
monotonic clock, which all processes of a machine share. Each process has memory of its own, made before it is forked.

    the process       heartbeat.listened(), .step(), .set_waiting(3), .expecting(10)
    the supervisor    heartbeat.pulse  →  Pulse
"""

import mmap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_BYTES = 8
_LISTENED, _STEPPED, _EXPECTED, _WAITING_SINCE = range(4)
_WORDS = 4


@dataclass(frozen=True)
class Pulse:
    """The last beats of a process, in seconds of the monotonic clock; 0 for a beat that never came."""

    listened_at: float = 0.0
    stepped_at: float = 0.0
    expected_until: float = 0.0
    waiting_since: float = 0.0
    """The time since which work waits for a thread; 0 while none waits."""

    @property
    def listens(self) -> bool:
        """Whether the process has started to listen."""
        return self.listened_at > 0

    @property
    def idle_since(self) -> float | None:
        """The time since which a step is due; None while no work waits. It may be in the future."""
        if not self.waiting_since:
            return None
        return max(self.stepped_at, self.expected_until, self.waiting_since)


class Heartbeat:
    """The beats of one process. All its threads may beat; its parent reads `pulse`.

    A process is hung if its listening loop has not gone round for 20 seconds. It is also hung if work waits for a
    thread and no thread has made a step for 20 seconds, counted from the end of the longest wait that is expected. It
    is then replaced. A forgotten beat costs no more than that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expected: dict[object, float] = {}
        self._words = memoryview(mmap.mmap(-1, _WORDS * _BYTES)).cast("d")

    @classmethod
    def alone(cls) -> "Heartbeat":
        """A heartbeat for a process that nobody watches."""
        return cls()

    def listened(self) -> None:
        """Note a round of the listening loop. There is one every 5 seconds or more often, even if nothing happens."""
        self._words[_LISTENED] = time.monotonic()

    def step(self) -> None:
        """Note the progress of a thread: it began or ended a piece of work, or received a part of what it waits for."""
        self._words[_STEPPED] = time.monotonic()

    def set_waiting(self, number: int) -> None:
        """Note how many pieces of work wait for a thread, without those that have begun.

        Two threads must not call this at the same time. The caller holds the lock of its queue, or calls it again soon,
        for example in each round of the listening loop.
        """
        if bool(number) != bool(self._words[_WAITING_SINCE]):
            self._words[_WAITING_SINCE] = time.monotonic() if number else 0.0

    @contextmanager
    def expecting(self, seconds: float) -> Iterator[None]:
        """A context in which this thread waits for up to `seconds`. No thread owes a step meanwhile; its end is one.

        It is for waits with a deadline: a statement, a call to AHI, an answer of a fetcher.
        """
        key = object()
        self._set_expected(key, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._set_expected(key, None)
            self.step()

    def _set_expected(self, key: object, until: float | None) -> None:
        with self._lock:
            if until is None:
                del self._expected[key]
            else:
                self._expected[key] = until
            self._words[_EXPECTED] = max(self._expected.values(), default=0.0)

    @property
    def pulse(self) -> Pulse:
        """The last beats."""
        words = self._words
        return Pulse(words[_LISTENED], words[_STEPPED], words[_EXPECTED], words[_WAITING_SINCE])
