"""The prefetch process: it loads studies in advance, for web processes and for the PREFETCH rules.

It uses the fetchers with the urgency of background jobs, so that client requests and look-ahead come first. A task is a
study or a series. Equal tasks that wait are one, and their number is bounded.
"""

import logging
import select
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.frames import Frames, references_of
from ahi.retrieval.located_image_sets import ImageSets, LocatedImageSet
from app.prefetch.schedule import PrefetchRule
from db.engine import Database
from db.image_sets import find_image_sets
from dicomweb.errors import NotFound, ProxyError, UpstreamBusy
from dicomweb.transfer_syntax import FrameEncoding
from runtime.heartbeat import Heartbeat
from runtime.leave_signal import block_signal, is_to_leave
from runtime.messages import encode_message, receive

log = logging.getLogger(__name__)

MOST_WAITING = 20_000
_EXCHANGE_SECONDS = 10.0
_ROUND_SECONDS = 1.0  # the longest from one beat to the next
_LOADING_SECONDS = 6 * 3600.0  # one task, while clients are served first
_AT_ONCE = 4  # image sets that are loaded at the same time


@dataclass(frozen=True)
class PrefetchTask:
    """A study, or one series of it, whose frames are to be cached in one encoding."""

    study_instance_uid: str
    series_instance_uid: str | None
    form: FrameEncoding


@dataclass(frozen=True)
class PrefetchStatus:
    """The numbers of tasks since the process started, by outcome, and of cached frames."""

    waiting: int = 0
    done: int = 0
    failed: int = 0
    frames: int = 0

    def after(self, frames: int, failed: int) -> "PrefetchStatus":
        """The status after one more task; `failed` is 1 or 0."""
        return replace(self, done=self.done + 1 - failed, failed=self.failed + failed, frames=self.frames + frames)


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

    def work(self) -> None:
        """Do the tasks as they come; does not return."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks)
                task = next(iter(self._tasks))
                self.heartbeat.set_waiting(len(self._tasks) - 1)
            with self.heartbeat.expecting(_LOADING_SECONDS):
                frames, failed = self._do(task)
            with self._changed:
                del self._tasks[task]
                self._status = self._status.after(frames, failed)

    def _do(self, task: PrefetchTask) -> tuple[int, int]:
        """Load a task; the number of frames that are cached now, and 1 if it failed, else 0."""
        try:
            return self._load(task), 0
        except ProxyError as error:
            log.warning("prefetch task not done study=%s reason=%s", task.study_instance_uid, error)
        except Exception:  # the outermost frame of a thread
            log.exception("prefetch task failed study=%s", task.study_instance_uid)
        return 0, 1

    def _load(self, task: PrefetchTask) -> int:
        rows = find_image_sets(self._database, task.study_instance_uid, task.series_instance_uid).image_sets
        if not rows:
            raise NotFound("the index does not have it")
        keys = [ImageSetKey(row.datastore_id, row.image_set_id) for row in rows]
        chunks = (keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE))
        return sum(
            self._load_frames(one, task.form) for chunk in chunks for one in self._image_sets.locate_readable(chunk)[0]
        )

    def _load_frames(self, one: LocatedImageSet, form: FrameEncoding) -> int:
        return self._frames.fetch_all(references_of(one, form), form)


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
            connection.settimeout(_EXCHANGE_SECONDS)
            connection.sendall(encode_message(_answer(receive(connection), prefetch_worker)))


def _answer(tasks: Sequence[PrefetchTask], prefetch_worker: PrefetchWorker) -> PrefetchStatus | ProxyError:
    try:
        return prefetch_worker.take(tasks)
    except ProxyError as error:
        return error


def send_tasks(path: str, tasks: Sequence[PrefetchTask]) -> PrefetchStatus:
    """Send tasks, or none, to the prefetch process, and return its status; UpstreamBusy if it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_EXCHANGE_SECONDS)
            connection.connect(path)
            connection.sendall(encode_message(list(tasks)))
            answer = receive(connection)
    except (EOFError, OSError) as error:
        raise UpstreamBusy("the service is starting or stopping") from error
    if isinstance(answer, ProxyError):
        raise answer
    status: PrefetchStatus = answer
    return status
