"""Signs of life of all processes, in memory that they share: each writes a row of its own, the supervisor reads them.

A beat is one write of the time, without a lock, so it may be given often and by any thread. Times are seconds of the
monotonic clock, which all processes of a machine share. A row outlives its process: the supervisor calls `restart`
before it forks the next one.

    the process       heartbeat.listened(), .step(), .set_waiting(3), .expect(10)
    the supervisor    heartbeat.pulse  →  Pulse
"""

import mmap
import time
from dataclasses import dataclass

_BYTES = 8
_LISTENED, _STEPPED, _EXPECTED, _WAITING_SINCE = range(4)
_WORDS = 4


@dataclass(frozen=True)
class Pulse:
    """The last beats of a process, each 0 where there was none."""

    listened_at: float = 0.0
    stepped_at: float = 0.0
    expected_until: float = 0.0
    waiting_since: float = 0.0
    """Since when work waits for a thread; 0 while none does."""

    @property
    def listens(self) -> bool:
        """Whether its start is over."""
        return self.listened_at > 0

    @property
    def idle_since(self) -> float | None:
        """Since when no thread has made a step that was due; None while no work waits. It may be in the future."""
        if not self.waiting_since:
            return None
        return max(self.stepped_at, self.expected_until, self.waiting_since)


class Heartbeats:
    """The rows of a number of processes. Made before they are forked."""

    def __init__(self, processes: int) -> None:
        self._words = memoryview(mmap.mmap(-1, max(1, processes) * _WORDS * _BYTES)).cast("d")

    def of_process(self, process: int) -> "Heartbeat":
        """The row of one process, from 0."""
        return Heartbeat(self._words[process * _WORDS : (process + 1) * _WORDS])


class Heartbeat:
    """The row of one process. All its threads may beat; any other process may look at `pulse`.

    A process is hung when its listening loop has not gone round for 20 seconds, or when work waits for a thread and no
    thread has made a step for 20 seconds, counted from the end of what it was told to expect. It is then replaced. A
    forgotten beat costs no more than that.
    """

    def __init__(self, words: "memoryview[float]") -> None:
        self._words = words

    @classmethod
    def alone(cls) -> "Heartbeat":
        """For a process that nobody watches."""
        return Heartbeats(1).of_process(0)

    def restart(self) -> None:
        """Forget the beats of the process before; to be called before the next one is forked."""
        for word in range(_WORDS):
            self._words[word] = 0.0

    def listened(self) -> None:
        """The listening loop has gone round. It does so every 5 seconds, or more often, also when nothing happens."""
        self._words[_LISTENED] = time.monotonic()

    def step(self) -> None:
        """A thread has made progress: it began or ended a piece of work, or was given a part of what it waits for."""
        self._words[_STEPPED] = time.monotonic()

    def set_waiting(self, number: int) -> None:
        """So much work waits for a thread now, apart from what threads have begun.

        Two threads must not call this at the same time: the caller holds the lock of its queue, or calls it again soon,
        for example in each round of the listening loop.
        """
        if bool(number) != bool(self._words[_WAITING_SINCE]):
            self._words[_WAITING_SINCE] = time.monotonic() if number else 0.0

    def expect(self, seconds: float) -> None:
        """A thread begins to wait for something that may take so long: no step is due before that, of any thread.

        It is for what has a deadline: a statement, an answer of a fetcher, a client that takes its time.
        """
        until = time.monotonic() + seconds
        if until > self._words[_EXPECTED]:
            self._words[_EXPECTED] = until

    @property
    def pulse(self) -> Pulse:
        """The last beats."""
        words = self._words
        return Pulse(words[_LISTENED], words[_STEPPED], words[_EXPECTED], words[_WAITING_SINCE])
