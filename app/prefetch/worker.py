"""The prefetch process: it loads studies in advance, for web processes and for the PREFETCH rules.

It uses the fetchers with the urgency of background jobs, so that client requests and look-ahead come first. A task is a
study or a series. Equal tasks that wait are one, and their number is bounded.
"""

import hashlib
import hmac
import logging
import secrets
import select
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import islice

from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.frames import Frames, references_of
from ahi.retrieval.located_image_sets import ImageSets, LocatedImageSet
from app.prefetch.schedule import PrefetchRule
from app.prefetch.tasks import (
    EXCHANGE_SECONDS,
    ChangeQuestion,
    ListedTask,
    PageQuestion,
    PrefetchPage,
    PrefetchStatus,
    PrefetchTask,
    TaskAction,
    send_tasks,
)
from db.engine import Database
from db.image_sets import find_image_sets
from dicomweb.errors import NotFound, ProxyError, UpstreamBusy
from dicomweb.transfer_syntax import FrameEncoding
from runtime.heartbeat import Heartbeat
from runtime.leave_signal import block_signal, is_to_leave
from runtime.messages import encode_message, receive
from runtime.recent_rate import RecentRate

log = logging.getLogger(__name__)

MOST_WAITING = 20_000
_MOST_FAILED = 200
"""The failed tasks that are remembered: the last ones."""

_ROUND_SECONDS = 1.0  # the longest from one beat to the next
_LOADING_SECONDS = 6 * 3600.0  # one task, while clients are served first
_AT_ONCE = 4  # image sets that are loaded at the same time


class PrefetchWorker:
    """A queue of tasks, and the function of the thread that does them one after another."""

    def __init__(
        self, database: Database, image_sets: ImageSets, frames: Frames, heartbeat: Heartbeat | None = None
    ) -> None:
        self.heartbeat = heartbeat or Heartbeat()
        self._database = database
        self._image_sets = image_sets
        self._frames = frames
        self._changed = threading.Condition()
        self._tasks: OrderedDict[PrefetchTask, None] = OrderedDict()
        self._status = PrefetchStatus()
        self._running: tuple[PrefetchTask, float] | None = None
        self._failed: OrderedDict[PrefetchTask, tuple[float, str]] = OrderedDict()
        self._cached = RecentRate()
        self._key = secrets.token_bytes(16)

    @property
    def status(self) -> PrefetchStatus:
        """The numbers of tasks and frames."""
        with self._changed:
            return replace(self._status, waiting=len(self._tasks))

    def take(self, tasks: Sequence[PrefetchTask]) -> PrefetchStatus:
        """Queue tasks; UpstreamBusy, without queueing any, if there would be too many."""
        with self._changed:
            if len(self._tasks.keys() | set(tasks)) > MOST_WAITING:
                raise UpstreamBusy("too many studies wait to be loaded", retry_after_seconds=60)
            self._tasks.update(dict.fromkeys(tasks))
            self.heartbeat.set_waiting(len(self._tasks))
            self._changed.notify()
        return self.status

    def hand_over(self, path: str) -> None:
        """Send the remaining tasks to the process that listens at `path` now."""
        with self._changed:
            tasks = list(self._tasks)
        try:
            if tasks:
                send_tasks(path, tasks)
        except ProxyError as error:
            log.error("prefetch tasks are lost: %s number=%d", error, len(tasks))

    def page(self, question: PageQuestion) -> PrefetchPage:
        """A page of the tasks of each state."""
        with self._changed:
            running = self._running
            waiting = [task for task in self._tasks if running is None or task != running[0]]
            failed = [(task, *told) for task, told in reversed(self._failed.items())]
        first, most = question.first_waiting, question.most
        return PrefetchPage(
            self.status,
            ListedTask(self._name(running[0]), *running) if running else None,
            tuple(ListedTask(self._name(task), task) for task in waiting[first : first + most]),
            len(waiting),
            tuple(
                ListedTask(self._name(task), task, at, reason)
                for task, at, reason in islice(failed, question.first_failed, question.first_failed + most)
            ),
            len(failed),
            self._cached.per_second,
        )

    def change(self, question: ChangeQuestion) -> int:
        """Cancel tasks, or try failed ones again; the number of those that there were. UpstreamBusy as `take`.

        A task that runs ends before its next image sets.
        """
        with self._changed:
            found = list(self._tasks if question.action is TaskAction.CANCEL else self._failed)
        chosen = [task for task in found if question.names is None or self._name(task) in question.names]
        if question.action is TaskAction.RETRY:
            self.take(chosen)
        with self._changed:
            for task in chosen:
                (self._tasks if question.action is TaskAction.CANCEL else self._failed).pop(task, None)
            self.heartbeat.set_waiting(len(self._tasks))
        return len(chosen)

    def _name(self, task: PrefetchTask) -> str:
        """A name of a task that tells nothing of it, and that no other process has."""
        text = f"{task.study_instance_uid} {task.series_instance_uid} {task.form.value}"
        return hmac.digest(self._key, text.encode(), hashlib.sha256).hex()[:32]

    def work(self) -> None:
        """Do the tasks as they come; does not return."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks)
                task = next(iter(self._tasks))
                self._running = task, time.time()
                self.heartbeat.set_waiting(len(self._tasks) - 1)
            with self.heartbeat.expecting(_LOADING_SECONDS):
                frames, reason = self._do(task)
            with self._changed:
                self._running = None
                is_cancelled = task not in self._tasks
                self._tasks.pop(task, None)
                self._failed.pop(task, None)
                if reason and not is_cancelled:
                    self._failed[task] = time.time(), reason
                    if len(self._failed) > _MOST_FAILED:
                        self._failed.popitem(last=False)
                if not is_cancelled:
                    self._status = self._status.after(frames, 1 if reason else 0)

    def _do(self, task: PrefetchTask) -> tuple[int, str]:
        """Load a task; the number of frames that are cached now, and why it failed, "" if it did not."""
        try:
            return self._load(task), ""
        except ProxyError as error:
            log.warning("prefetch task not done study=%s reason=%s", task.study_instance_uid, error)
            return 0, str(error)
        except Exception:  # the outermost frame of a thread
            log.exception("prefetch task failed study=%s", task.study_instance_uid)
            return 0, "a mistake of the service; its log says more"

    def _load(self, task: PrefetchTask) -> int:
        rows = find_image_sets(self._database, task.study_instance_uid, task.series_instance_uid).image_sets
        if not rows:
            raise NotFound("the index does not have it")
        keys = [ImageSetKey(row.datastore_id, row.image_set_id) for row in rows]
        frames = 0
        for start in range(0, len(keys), _AT_ONCE):
            if self._is_cancelled(task):
                break
            found, _ = self._image_sets.locate_readable(keys[start : start + _AT_ONCE])
            frames += sum(self._load_frames(one, task.form) for one in found)
        return frames

    def _is_cancelled(self, task: PrefetchTask) -> bool:
        with self._changed:
            return task not in self._tasks

    def _load_frames(self, one: LocatedImageSet, form: FrameEncoding) -> int:
        number = self._frames.fetch_all(references_of(one, form), form)
        self._cached.add(number)
        return number


def follow(
    rules: Sequence[PrefetchRule], database: Database, prefetch_worker: PrefetchWorker, now: Callable[[], datetime]
) -> None:
    """Evaluate each rule when it is due; does not return. There must be at least one rule."""
    start = now()
    due = {index: rule.next_after(start, start=start) for index, rule in enumerate(rules)}
    while True:
        index = min(due, key=due.__getitem__)
        time.sleep(max(0.0, (due[index] - now()).total_seconds()))
        evaluate(rules[index], database, prefetch_worker, now())
        due[index] = rules[index].next_after(max(now(), due[index]), start=start)


def evaluate(rule: PrefetchRule, database: Database, prefetch_worker: PrefetchWorker, now: datetime) -> None:
    """Queue the studies that a rule selects today."""
    try:
        studies = rule.studies(database, now.date())
        prefetch_worker.take([PrefetchTask(study, None, FrameEncoding.STORED) for study in studies])
    except ProxyError as error:
        log.warning("prefetch rule not evaluated reason=%s", error)
    else:
        log.info("prefetch rule evaluated studies=%d", len(studies))


def serve(
    listening: socket.socket,
    path: str,
    prefetch_worker: PrefetchWorker,
    rules: Sequence[PrefetchRule],
    database: Database,
) -> None:
    """Run until SIGHUP; then send the remaining tasks to the new process that listens at `path`."""
    block_signal()
    threading.Thread(target=prefetch_worker.work, daemon=True).start()
    if rules:
        threading.Thread(target=follow, args=(rules, database, prefetch_worker, datetime.now), daemon=True).start()
    listening.setblocking(False)
    while not is_to_leave():
        prefetch_worker.heartbeat.listened()
        if any(select.select([listening], [], [], _ROUND_SECONDS)):
            _exchange(listening, prefetch_worker)
    prefetch_worker.hand_over(path)


def _exchange(listening: socket.socket, prefetch_worker: PrefetchWorker) -> None:
    """Take the tasks of one connection."""
    with suppress(EOFError, OSError):  # the client is gone, or another process has accepted it
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(EXCHANGE_SECONDS)
            connection.sendall(encode_message(_answer(receive(connection), prefetch_worker)))


def _answer(
    message: list[PrefetchTask] | PageQuestion | ChangeQuestion, prefetch_worker: PrefetchWorker
) -> PrefetchStatus | PrefetchPage | int | ProxyError:
    try:
        match message:
            case PageQuestion():
                return prefetch_worker.page(message)
            case ChangeQuestion():
                return prefetch_worker.change(message)
            case _:
                return prefetch_worker.take(message)
    except ProxyError as error:
        return error
