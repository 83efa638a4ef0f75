"""The signals of the supervisor as they come, in a pipe.

Waiting for blocked ones would do where there is one thread only. A program in one file has a second one, of the part
that unpacks it, and what that one does not block it gets, too, and drops.
"""

import os
import select
import signal

HANDLED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP}


class Signals:
    """Those of HANDLED, from the moment that this is made."""

    def __init__(self) -> None:
        self._come: dict[int, None] = {}  # each once, in the order of coming
        self._arriving, self._noting = os.pipe()
        os.set_blocking(self._noting, False)
        signal.set_wakeup_fd(self._noting, warn_on_full_buffer=False)  # what it has no room for it holds already
        for number in HANDLED:
            signal.signal(number, lambda _number, _frame: None)

    def wait(self, seconds: float | None = None) -> int | None:
        """The next signal; None if none comes within so many seconds."""
        if not self._come:
            self._read(seconds)
        number = next(iter(self._come), None)
        if number is not None:
            del self._come[number]
        return number

    def wait_for_child(self, seconds: float) -> None:
        """Until a child has ended, for so many seconds at most; or for any other signal, which `wait` will tell."""
        if signal.SIGCHLD not in self._come:
            self._read(max(0.0, seconds))
        self._come.pop(signal.SIGCHLD, None)

    def close(self) -> None:
        """A child is told nothing here, and does on a signal what processes do."""
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        os.close(self._arriving)
        os.close(self._noting)

    def _read(self, seconds: float | None) -> None:
        if any(select.select([self._arriving], [], [], seconds)):
            self._come.update(dict.fromkeys(os.read(self._arriving, 4096)))
