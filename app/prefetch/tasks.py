"""What is loaded in advance, what has become of it, and the questions about that. The values between the processes.

web process        send_tasks(path, tasks)     →  PrefetchStatus
                   ask_tasks(path, question)   →  PrefetchPage, or the number of tasks that were changed
prefetch process   `worker` answers
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from dicomweb.errors import ProxyError, UpstreamBusy
from dicomweb.transfer_syntax import FrameEncoding
from runtime.messages import encode_message, receive

EXCHANGE_SECONDS = 10.0


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


@dataclass(frozen=True)
class ListedTask:
    """A task with its name, which says nothing of the study. `at` is when it began or failed, in seconds since 1970."""

    name: str
    task: PrefetchTask
    at: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class PrefetchPage:
    """Tasks of each state: the one that runs, a page of those that wait, and a page of those that failed lately.

    The numbers of all that wait and failed are given, too. The rate is that of the last minute.
    """

    status: PrefetchStatus = PrefetchStatus()
    running: ListedTask | None = None
    waiting: tuple[ListedTask, ...] = ()
    waiting_total: int = 0
    failed: tuple[ListedTask, ...] = ()
    failed_total: int = 0
    frames_per_second: float = 0.0


@dataclass(frozen=True)
class PageQuestion:
    """A message: `most` tasks after the first ones of those that wait, and of those that failed."""

    first_waiting: int
    first_failed: int
    most: int


class TaskAction(Enum):
    """What an operator does with tasks."""

    CANCEL = "cancel"
    RETRY = "retry"


@dataclass(frozen=True)
class ChangeQuestion:
    """A message: do this with the tasks of these names, or with all; the answer is how many there were."""

    action: TaskAction
    names: frozenset[str] | None


def send_tasks(path: str, tasks: Sequence[PrefetchTask]) -> PrefetchStatus:
    """Send tasks, or none, to the prefetch process, and return its status; UpstreamBusy if it does not answer."""
    status: PrefetchStatus = _exchange(path, list(tasks))
    return status


def find_tasks(path: str, question: PageQuestion) -> PrefetchPage:
    """A page of tasks; UpstreamBusy if the prefetch process does not answer."""
    page: PrefetchPage = _exchange(path, question)
    return page


def change_tasks(path: str, action: TaskAction, names: frozenset[str] | None = None) -> int:
    """Cancel tasks that wait or run, or try failed ones again; the number of those that there were."""
    number: int = _exchange(path, ChangeQuestion(action, names))
    return number


def _exchange(path: str, message: object) -> Any:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(EXCHANGE_SECONDS)
            connection.connect(path)
            connection.sendall(encode_message(message))
            answer = receive(connection)
    except (EOFError, OSError) as error:
        raise UpstreamBusy("the service is starting or stopping") from error
    if isinstance(answer, ProxyError):
        raise answer
    return answer
