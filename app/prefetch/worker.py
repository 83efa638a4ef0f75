"""The process that loads what will be read tomorrow: it takes orders from web processes and from the PREFETCH rules.

It asks the fetchers as everybody does, but with the urgency of the background: whatever a client waits for or is likely
to ask for next comes first. An order is a study or a series; equal ones that wait are one, and their number is bounded.
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
_LOADING_SECONDS = 6 * 3600.0  # an order, while clients are served first
_AT_ONCE = 4  # image sets that are prepared at the same time


@dataclass(frozen=True)
class PrefetchTask:
    """A study, or one series of it, whose frames are to be in the cache in one of their forms."""

    study_instance_uid: str
    series_instance_uid: str | None
    form: FrameEncoding


@dataclass(frozen=True)
class PrefetchStatus:
    """What became of the orders since the process started: how many wait, are done, have failed; frames had."""

    waiting: int = 0
    done: int = 0
    failed: int = 0
    frames: int = 0


class PrefetchWorker:
    """Orders, and the thread that works on them one after another."""

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
        """What became of the orders."""
        with self._changed:
            return replace(self._status, waiting=len(self._tasks))

    def take(self, tasks: Sequence[PrefetchTask]) -> PrefetchStatus:
        """Queue orders; UpstreamBusy, and none is queued, where there would be too many."""
        with self._changed:
            if len(self._tasks.keys() | set(tasks)) > MOST_WAITING:
                raise UpstreamBusy("too much is waiting to be loaded", retry_after_seconds=60)
            self._tasks.update(dict.fromkeys(tasks))
            self.heartbeat.set_waiting(len(self._tasks))
            self._changed.notify()
        return self.status

    def hand_over(self, path: str) -> None:
        """Give the orders that are not done to the process that listens there now."""
        with self._changed:
            tasks = list(self._tasks)
        try:
            if tasks:
                send_tasks(path, tasks)
        except ProxyError as error:
            log.error("orders are lost: %s number=%d", error, len(tasks))

    def work(self) -> None:
        """Work on orders as they come; does not return."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks)
                task = next(iter(self._tasks))
                self.heartbeat.set_waiting(len(self._tasks) - 1)
            with self.heartbeat.expecting(_LOADING_SECONDS):
                frames, failed = self._outcome(task)
            with self._changed:
                del self._tasks[task]
                done = self._status
                self._status = replace(
                    done, done=done.done + 1 - failed, failed=done.failed + failed, frames=done.frames + frames
                )

    def _outcome(self, task: PrefetchTask) -> tuple[int, int]:
        """How many frames are in the cache now, and 1 if it failed, else 0."""
        try:
            return self._load(task), 0
        except ProxyError as error:
            log.warning("not loaded study=%s reason=%s", task.study_instance_uid, error)
        except Exception:  # the outermost frame of a thread
            log.exception("loading failed study=%s", task.study_instance_uid)
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
    """Evaluate each rule when its time has come, and order what it names; does not return. There is a rule at least."""
    start = now()
    due = {index: rule.next_after(start, start=start) for index, rule in enumerate(rules)}
    while True:
        index = min(due, key=lambda one: due[one])
        time.sleep(max(0.0, (due[index] - now()).total_seconds()))
        evaluate(rules[index], database, prefetch_worker, now())
        due[index] = rules[index].next_after(max(now(), due[index]), start=start)


def evaluate(rule: PrefetchRule, database: Database, prefetch_worker: PrefetchWorker, now: datetime) -> None:
    """Order what a rule names today."""
    try:
        studies = rule.studies(database, now.date())
        prefetch_worker.take([PrefetchTask(study, None, FrameEncoding.STORED) for study in studies])
    except ProxyError as error:
        log.warning("rule not followed reason=%s", error)
    else:
        log.info("rule followed studies=%d", len(studies))


def serve(
    listening: socket.socket,
    path: str,
    prefetch_worker: PrefetchWorker,
    rules: Sequence[PrefetchRule],
    database: Database,
) -> None:
    """The life of the process, until SIGHUP: then another one listens at `path`, and is handed what is to be done."""
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
    """Take the orders of one connection."""
    with suppress(EOFError, OSError):  # who asked is gone, or another process has accepted it
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
    """Give orders, which may be none, to the process that listens there; UpstreamBusy where it does not answer."""
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
