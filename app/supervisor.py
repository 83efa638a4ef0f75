"""The parent of all processes: it forks them, replaces those that die, and ends them in order.

It never starts a thread, so that it can fork at any time. Every child holds the reading end of a pipe of which only the
supervisor has the other: when the supervisor is gone, however that came, the pipe closes and the child ends itself.
"""

import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

log = logging.getLogger(__name__)

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP}
_MIN_LIFE_SECONDS = 2.0  # a child that dies sooner is not started again before that
_LAST_STAGE_SECONDS = 1.0


@dataclass(frozen=True)
class Child:
    """A process: what it runs, and whether it is given time to finish what it is doing when all ends."""

    name: str
    run: Callable[[], None]
    drains_seconds: float = 0.0
    started_at: float = 0.0


class Supervisor:
    """Forks children and watches over them until SIGTERM or SIGINT."""

    def __init__(self) -> None:
        self._children: dict[int, Child] = {}
        self._leaving: dict[int, Child] = {}  # others have taken their places
        self._lifeline, self._held = os.pipe()
        self._signals = _Signals()

    def start(self, child: Child) -> None:
        """Fork the child."""
        pid = self._fork(child.run, child.name)
        self._children[pid] = replace(child, started_at=time.monotonic())

    def complete(self, run: Callable[[], None]) -> bool:
        """Fork a process for one task and wait for its end; whether it ended well."""
        pid = self._fork(run, "task")
        while True:
            number = self._signals.wait()
            if number in (signal.SIGTERM, signal.SIGINT):
                os.kill(pid, signal.SIGTERM)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status) == 0

    def run(self, on_stop: Callable[[], None] = lambda: None, on_hangup: Callable[[], None] | None = None) -> None:
        """Watch until told to end; then `on_stop`, end the children that drain, then the others, then what is left.

        `on_hangup` is called on SIGHUP, which is to end, too, where there is none.
        """
        while (number := self._signals.wait()) not in (signal.SIGTERM, signal.SIGINT):
            if number == signal.SIGHUP:
                if not on_hangup:
                    break
                on_hangup()
            for child in self._reap():
                log.error("process ended, starting it again name=%s", child.name)
                time.sleep(max(0.0, child.started_at + _MIN_LIFE_SECONDS - time.monotonic()))
                self.start(child)
        on_stop()
        self._stop()

    def renew(self, children: Sequence[Child]) -> None:
        """Start children in the places of those of the same names, which are told by SIGHUP to finish and to leave.

        Those that have nothing to finish are ended at once.

        Those that still have not left since the last time are ended before that, within the time they need to drain.
        """
        names = {child.name for child in children}
        patience_seconds = max((child.drains_seconds for child in self._leaving.values()), default=0)
        for child in self._end(self._leaving, patience_seconds):
            if child.name not in names:
                self.start(child)
        old = {pid: child for pid, child in self._children.items() if child.name in names}
        for child in children:
            self.start(child)
        for pid in old:
            self._leaving[pid] = leaving = self._children.pop(pid)
            os.kill(pid, signal.SIGHUP if leaving.drains_seconds else signal.SIGTERM)

    def _stop(self) -> None:
        log.info("[Shutdown] - finishing what is being answered")
        self._children |= self._leaving
        draining = {pid: child for pid, child in self._children.items() if child.drains_seconds}
        self._end(draining, max((child.drains_seconds for child in draining.values()), default=0))
        self._end(dict(self._children), _LAST_STAGE_SECONDS)
        for pid in list(self._children):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        log.info("[Shutdown] - done")

    def _end(self, children: dict[int, Child], patience_seconds: float) -> list[Child]:
        """Those that have ended meanwhile, other than those that were to leave."""
        for pid in children:
            os.kill(pid, signal.SIGTERM)  # a child that has ended is there until it is reaped, here
        deadline = time.monotonic() + patience_seconds
        pids, ended = set(children), []
        while pids & (self._children.keys() | self._leaving.keys()) and time.monotonic() < deadline:
            self._signals.wait_for_child(deadline - time.monotonic())
            ended += self._reap()
        return ended

    def _reap(self) -> list[Child]:
        """The children that have ended, other than those that were to leave."""
        ended = []
        while self._children or self._leaving:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            self._leaving.pop(pid, None)
            if pid in self._children:
                ended.append(self._children.pop(pid))
        return ended

    def _fork(self, run: Callable[[], None], name: str) -> int:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # a child that is not ready has no use for them
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            return pid
        code = 1
        try:
            self._become_child(name)
            run()
            code = 0
        except Exception:  # the outermost frame of a process
            log.exception("process failed")
        finally:
            logging.shutdown()
            os._exit(code)

    def _become_child(self, name: str) -> None:
        Path("/proc/self/comm").write_text(name)  # what ps and top show
        os.close(self._held)
        self._signals.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
        threading.Thread(target=_end_with_parent, args=(self._lifeline,), daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS - {signal.SIGHUP})  # it waits for who has a use for it


class _Signals:
    """The signals of this process as they come, in a pipe.

    Waiting for blocked ones would do where there is one thread only. A program in one file has a second one, of the
    part that unpacks it, and what that one does not block it gets, too, and drops.
    """

    def __init__(self) -> None:
        self._come: dict[int, None] = {}  # each once, in the order of coming
        self._arriving, self._noting = os.pipe()
        os.set_blocking(self._noting, False)
        signal.set_wakeup_fd(self._noting, warn_on_full_buffer=False)  # what it has no room for it holds already
        for number in _SIGNALS:
            signal.signal(number, lambda _number, _frame: None)

    def wait(self) -> int:
        """The next signal."""
        if not self._come:
            self._read(None)
        number = next(iter(self._come))
        del self._come[number]
        return number

    def wait_for_child(self, seconds: float) -> None:
        """Until a child has ended, for so many seconds at most; or for any other signal, which `wait` will tell."""
        if signal.SIGCHLD not in self._come:
            self._read(max(0.0, seconds))
        self._come.pop(signal.SIGCHLD, None)

    def _read(self, seconds: float | None) -> None:
        if any(select.select([self._arriving], [], [], seconds)):
            self._come.update(dict.fromkeys(os.read(self._arriving, 4096)))

    def close(self) -> None:
        """A child is told nothing here, and does on a signal what processes do."""
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.close(self._arriving)
        os.close(self._noting)


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(9)
    os._exit(1)
