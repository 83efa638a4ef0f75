"""The parent of all processes: it forks them, replaces those that die, and ends them in order.

It never starts a thread, so that it can fork at any time. Every child holds the reading end of a pipe of which only the
supervisor has the other: when the supervisor is gone, however that came, the pipe closes and the child ends itself.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

log = logging.getLogger(__name__)

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
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
        self._lifeline, self._held = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def start(self, child: Child) -> None:
        """Fork the child."""
        pid = self._fork(child.run, child.name)
        self._children[pid] = replace(child, started_at=time.monotonic())

    def complete(self, run: Callable[[], None]) -> bool:
        """Fork a process for one task and wait for its end; whether it ended well."""
        pid = self._fork(run, "task")
        while True:
            number = signal.sigwait(_SIGNALS)
            if number != signal.SIGCHLD:
                os.kill(pid, signal.SIGTERM)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status) == 0

    def run(self, on_stop: Callable[[], None] = lambda: None) -> None:
        """Watch until told to end; then `on_stop`, end the children that drain, then the others, then what is left."""
        while signal.sigwait(_SIGNALS) == signal.SIGCHLD:
            for child in self._reap():
                log.error("process ended, starting it again name=%s", child.name)
                time.sleep(max(0.0, child.started_at + _MIN_LIFE_SECONDS - time.monotonic()))
                self.start(child)
        on_stop()
        self._stop()

    def _stop(self) -> None:
        log.info("[Shutdown] - finishing what is being answered")
        draining = {pid: child for pid, child in self._children.items() if child.drains_seconds}
        self._end(draining, max((child.drains_seconds for child in draining.values()), default=0))
        self._end(dict(self._children), _LAST_STAGE_SECONDS)
        for pid in list(self._children):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        log.info("[Shutdown] - done")

    def _end(self, children: dict[int, Child], patience_seconds: float) -> None:
        for pid in children:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + patience_seconds
        while children.keys() & self._children.keys() and time.monotonic() < deadline:
            signal.sigtimedwait({signal.SIGCHLD}, max(0.0, deadline - time.monotonic()))
            self._reap()

    def _reap(self) -> list[Child]:
        ended = []
        while self._children:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            if pid in self._children:
                ended.append(self._children.pop(pid))
        return ended

    def _fork(self, run: Callable[[], None], name: str) -> int:
        pid = os.fork()
        if pid:
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
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        threading.Thread(target=_end_with_parent, args=(self._lifeline,), daemon=True).start()


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(9)
    os._exit(1)
