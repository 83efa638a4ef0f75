"""The signals of the supervisor, in the order in which they come, through a pipe.

In a process with one thread, waiting for blocked signals would do. But a program in one file has a second thread, of
the part that unpacks it. That thread does not block them, so it may get them, and drops them.
"""

import os
import select
import signal

HANDLED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP}


class Signals:
    """Receives the signals of HANDLED from its creation on."""

    def __init__(self) -> None:
        self._received: dict[int, None] = {}  # each once, in the order of coming
        self._reading_end, self._writing_end = os.pipe()
        os.set_blocking(self._writing_end, False)
        signal.set_wakeup_fd(self._writing_end, warn_on_full_buffer=False)  # a full pipe holds every signal already
        for number in HANDLED:
            signal.signal(number, lambda _number, _frame: None)

    def wait(self, seconds: float | None = None) -> int | None:
        """The next signal; None if none comes within `seconds`."""
        if not self._received:
            self._read(seconds)
        number = next(iter(self._received), None)
        if number is not None:
            del self._received[number]
        return number

    def wait_for_child(self, seconds: float) -> None:
        """Wait `seconds` at most for the end of a child, or for another signal, which `wait` returns afterwards."""
        if signal.SIGCHLD not in self._received:
            self._read(max(0.0, seconds))
        self._received.pop(signal.SIGCHLD, None)

    def close(self) -> None:
        """Restore the default actions, in a child."""
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        os.close(self._reading_end)
        os.close(self._writing_end)

    def _read(self, seconds: float | None) -> None:
        if any(select.select([self._reading_end], [], [], seconds)):
            self._received.update(dict.fromkeys(os.read(self._reading_end, 4096)))
