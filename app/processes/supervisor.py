"""The supervisor: the parent of all processes. It forks them, replaces those that die, hang or grow, and ends them.

It never starts a thread, so it can fork at any time. Every child holds the reading end of a pipe of which only the
supervisor has the other end. When the supervisor ends in any way, the pipe closes and the child ends itself.
"""

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.processes.signals import HANDLED, Signals
from app.processes.stack_dump import Stacks
from app.processes.watchdog import ROUND_SECONDS, GrowthDetector, HangDetector
from app.telemetry.replacements import ProcessKind, Reason, Replacements
from runtime.heartbeat import Heartbeat

log = logging.getLogger(__name__)

_MIN_LIFE_SECONDS = 2.0  # a child that dies sooner is not started again before that
_LAST_STAGE_SECONDS = 1.0
_STACKS_SECONDS = 2.0  # a hung process has so long to write its stacks


@dataclass(frozen=True)
class Place:
    """The heartbeat and the side that the supervisor gives to a process."""

    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    side: int = 0
    """0 or 1. A process and the one that replaces it may run at the same time; they have different sides."""


@dataclass(frozen=True)
class Child:
    """The function that a process runs, and how the process is treated.

    A process that `leaves` finishes its work on SIGHUP while another takes its place; any other is ended. It may work
    for `drains_seconds` more when all ends. `silent_seconds` is the longest time without a sign of life; None if it has
    no heartbeat. A process with `deadline_seconds` runs once: it is not started again, and killed if it takes longer.
    """

    name: str
    run: Callable[[Place], None]
    kind: ProcessKind = ProcessKind.OTHER
    drains_seconds: float = 0.0
    leaves: bool = False
    silent_seconds: float | None = None
    deadline_seconds: float | None = None


@dataclass(eq=False)
class Process:
    """A child that runs."""

    pid: int
    child: Child
    place: Place
    started_at: float
    reason: Reason = Reason.DIED
    """The reason for its replacement when it ends."""

    killed_at: float | None = None
    """The time when it is killed, if it was told to end."""

    @property
    def name(self) -> str:
        return self.child.name

    @property
    def kind(self) -> ProcessKind:
        return self.child.kind

    @property
    def heartbeat(self) -> Heartbeat:
        return self.place.heartbeat

    @property
    def silent_seconds(self) -> float | None:
        return self.child.silent_seconds

    def is_late(self, now: float) -> bool:
        """Whether a process that runs once has taken too long."""
        deadline_seconds = self.child.deadline_seconds
        return deadline_seconds is not None and now - self.started_at > deadline_seconds


class Supervisor:
    """Forks children and watches over them until SIGTERM or SIGINT."""

    def __init__(self) -> None:
        self._processes: dict[int, Process] = {}
        self._leaving: dict[int, Process] = {}  # processes whose places others have taken
        self._wanted: dict[str, Child] = {}  # children that wait for their places to become free
        self._due: dict[str, tuple[float, Child]] = {}  # children that died young, and when they are started again
        self._lifeline, self._held = os.pipe()
        self._signals = Signals()
        self._stacks = Stacks()
        self._hangs = HangDetector(time.monotonic())
        self._asked: tuple[Process, str, float] | None = None  # a hung process, the reason, and when it is killed
        self.growth = GrowthDetector()
        """Its `max_bytes` may be set at any time."""

        self.replacements = Replacements()

    def start(self, child: Child) -> None:
        """Fork the child."""
        taken = {one.place.side for one in self._all() if one.name == child.name}
        place = Place(side=int(0 in taken))
        pid = self._fork(lambda: child.run(place), child.name)
        self._processes[pid] = Process(pid, child, place, time.monotonic())

    def run_once(self, child: Child) -> None:
        """Fork a child with a deadline. If the machine has no room for it, a line in the log says so."""
        self._can_start(child)

    def runs(self, name: str) -> bool:
        """Whether a process of this name runs, and was not told to leave."""
        return any(one.name == name for one in self._processes.values())

    def complete(self, run: Callable[[], None]) -> bool:
        """Fork a process for one task and wait for its end; true if it ended with status 0."""
        pid = self._fork(run, "task")
        while True:
            number = self._signals.wait()
            if number in (signal.SIGTERM, signal.SIGINT):
                os.kill(pid, signal.SIGTERM)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status) == 0

    def run(
        self,
        on_stop: Callable[[], None] = lambda: None,
        on_hangup: Callable[[], None] | None = None,
        on_round: Callable[[], None] = lambda: None,
    ) -> None:
        """Watch the children until SIGTERM or SIGINT. Then call `on_stop`, and end first the children that drain.

        `on_hangup` is called on SIGHUP; without it, SIGHUP ends the service, too. `on_round` is called every
        ROUND_SECONDS; an error in it is logged.
        """
        while (number := self._signals.wait(self._until_round())) not in (signal.SIGTERM, signal.SIGINT):
            if number == signal.SIGHUP:
                if not on_hangup:
                    break
                on_hangup()
            self._replace_ended()
            self._take_places()
            self._watch()
            _call(on_round)
        on_stop()
        self._stop()

    def renew(self, children: Sequence[Child]) -> None:
        """Start children in the places of those with the same names, which get SIGHUP to finish and leave.

        Children that do not leave are ended at once. If the machine has no room for a new child, the old one stays.

        If an older child of the same name has still not left, it is ended first, within the time that it needs to
        drain. This does not wait for it: the newest child of a name starts when its place is free.
        """
        self._wanted.update((child.name, child) for child in children)
        self._take_places()

    def _take_places(self) -> None:
        """Start children for which there is a place, and end processes that are in the way."""
        now = time.monotonic()
        for name, child in list(self._wanted.items()):
            in_the_way = [one for one in self._leaving.values() if one.name == name]
            for one in in_the_way:
                _end_in_time(one, now)
            if not in_the_way:
                del self._wanted[name]
                self._take_place(child)

    def _take_place(self, child: Child) -> None:
        one = next((one for one in self._processes.values() if one.name == child.name), None)
        if not self._can_start(child):
            if one is None:
                self._due[child.name] = (time.monotonic() + _MIN_LIFE_SECONDS, child)
            return
        self._due.pop(child.name, None)
        if one is not None:
            self._leaving[one.pid] = self._processes.pop(one.pid)
            os.kill(one.pid, signal.SIGHUP if one.child.leaves else signal.SIGTERM)

    def _can_start(self, child: Child) -> bool:
        """Fork the child, if the system has a process and memory for it; false otherwise."""
        try:
            self.start(child)
        except OSError as error:
            log.error("process cannot be started: %s name=%s", error.strerror, child.name)  # noqa: TRY400 - told
            return False
        return True

    def _until_round(self) -> float:
        due = min((at for at, _ in self._due.values()), default=math.inf)
        return max(0.0, min(ROUND_SECONDS, due - time.monotonic()))

    def _all(self) -> list[Process]:
        return [*self._processes.values(), *self._leaving.values()]

    def _replace_ended(self) -> None:
        """Start ended children again: at once, or later if they died young."""
        for one in self._reap():
            self._note_ended(one)
        now = time.monotonic()
        for name, (at, child) in list(self._due.items()):
            if at <= now:
                del self._due[name]
                if not self._can_start(child):
                    self._due[name] = (now + _MIN_LIFE_SECONDS, child)

    def _note_ended(self, one: Process) -> None:
        if one.child.deadline_seconds is not None:
            return
        log.error("process ended, starting it again name=%s", one.name)
        self.replacements.count(one.kind, one.reason)
        self._due[one.name] = (one.started_at + _MIN_LIFE_SECONDS, self._wanted.pop(one.name, one.child))

    def _watch(self) -> None:
        """Find processes that must be replaced."""
        try:
            now = time.monotonic()
            self._watch_hearts(now)
            self._watch_memory(now)
            self._watch_deadlines(now)
        except Exception:  # a mistake of ours is no reason to end the service
            log.exception("processes could not be watched")

    def _watch_hearts(self, now: float) -> None:
        hung = self._hangs.look(self._all(), now)
        if self._asked:
            one, why, until = self._asked
            if one not in self._all() or not self._hangs.is_hung(one, now):
                self._asked = None  # it ended, or went on
            elif now >= until:
                self._asked = None
                self._kill(one, why)
                self._hangs.end(one, now)
        elif hung:
            one, why = hung
            self._stacks.ask(one.pid)
            self._asked = (one, why, now + _STACKS_SECONDS)

    def _kill(self, one: Process, why: str) -> None:
        told = self._stacks.read() or "None came: it is frozen."
        log.error("process is hung: %s; killing it name=%s pid=%d. Its stacks:\n%s", why, one.name, one.pid, told)
        one.reason = Reason.HUNG
        if one.pid in self._leaving:
            self.replacements.count(one.kind, one.reason)
        os.kill(one.pid, signal.SIGKILL)

    def _watch_memory(self, now: float) -> None:
        leaving = {one.name for one in self._leaving.values()}
        may = [one for one in self._processes.values() if one.child.leaves and one.name not in leaving]
        for one, size in self.growth.look(may, now):
            log.warning("process is over MEMORY_MAX, replacing it name=%s pid=%d bytes=%d", one.name, one.pid, size)
            self.replacements.count(one.kind, Reason.MEMORY)
            self.renew([one.child])

    def _watch_deadlines(self, now: float) -> None:
        for one in self._processes.values():
            if one.is_late(now):
                log.error("process takes too long, killing it name=%s pid=%d", one.name, one.pid)
                os.kill(one.pid, signal.SIGKILL)

    def _stop(self) -> None:
        log.info("[Shutdown] - finishing what is being answered")
        draining = [one for one in self._all() if one.child.drains_seconds]
        self._end(draining, max((one.child.drains_seconds for one in draining), default=0))
        self._end(self._all(), _LAST_STAGE_SECONDS)
        for one in self._all():
            os.kill(one.pid, signal.SIGKILL)
        for one in self._all():
            os.waitpid(one.pid, 0)
        log.info("[Shutdown] - done")

    def _end(self, processes: Sequence[Process], patience_seconds: float) -> None:
        for one in processes:
            os.kill(one.pid, signal.SIGTERM)  # a child that has ended is there until it is reaped, here
        deadline = time.monotonic() + patience_seconds
        pids = {one.pid for one in processes}
        while pids & {one.pid for one in self._all()} and time.monotonic() < deadline:
            self._signals.wait_for_child(deadline - time.monotonic())
            self._reap()

    def _reap(self) -> list[Process]:
        """Reap ended processes; those that were not told to leave."""
        ended = []
        while self._processes or self._leaving:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            self._leaving.pop(pid, None)
            if pid in self._processes:
                ended.append(self._processes.pop(pid))
        return ended

    def _fork(self, run: Callable[[], None], name: str) -> int:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)  # a child that is not ready must not handle them
        try:
            pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            raise
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
        self._stacks.register()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
        threading.Thread(target=_end_with_parent, args=(self._lifeline,), daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED - {signal.SIGHUP})  # leave_signal waits for it


def _call(on_round: Callable[[], None]) -> None:
    try:
        on_round()
    except Exception:  # a mistake of ours is no reason to end the service
        log.exception("what is due could not be done")


def _end_in_time(one: Process, now: float) -> None:
    """Tell a process to end, or kill it if its time to drain is over. Its ID stays its own until it is reaped."""
    if one.killed_at is None:
        one.killed_at = now + one.child.drains_seconds
        os.kill(one.pid, signal.SIGTERM)
    elif now >= one.killed_at:
        os.kill(one.pid, signal.SIGKILL)


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(9)
    os._exit(1)
