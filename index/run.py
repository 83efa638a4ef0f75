"""A run of the index command: others see how far it is, and can end it. Runs in `python main.py index`.

with RecordedRun(session, kind, datastore_ids, stop) as run:
    Reconciliation(..., stop, run.new_progress)     each phase is noted in the index every few seconds
"""

import logging
import secrets
import socket
import threading
from collections.abc import Sequence
from enum import Enum
from types import TracebackType

from dicomweb.errors import ProxyError
from index.progress import Progress
from index.writing.runs import note_begin, note_end, note_progress
from index.writing.session import WriteSession

log = logging.getLogger(__name__)

NOTE_SECONDS = 2.0
"""The time between two notes, and the longest time until a run hears that it is cancelled."""


class RunKind(Enum):
    """What a run does."""

    FILL = "fill"
    COMPARE = "compare"
    REPAIR = "repair"
    NIGHTLY = "nightly"


class RecordedRun:
    """Notes a run in the index while its `with` block runs. It goes on while the index is away, or refuses the note.

    When an operator cancels it, `stop` is set, and `is_cancelled` tells why.
    """

    def __init__(
        self,
        session: WriteSession,
        kind: RunKind,
        datastore_ids: Sequence[str],
        stop: threading.Event,
        *,
        note_seconds: float = NOTE_SECONDS,
    ) -> None:
        self.is_cancelled = False
        self.result = ""
        """The outcome in words, for operators; set by the run."""
        self._name = secrets.token_hex(16)
        self._session = session
        self._kind = kind
        self._datastore_ids = tuple(datastore_ids)
        self._stop = stop
        self._note_seconds = note_seconds
        self._progress: Progress | None = None
        self._noted: Progress | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="run", daemon=True)

    def __enter__(self) -> "RecordedRun":
        try:
            note_begin(self._session, self._name, self._kind.value, socket.gethostname(), self._datastore_ids)
        except ProxyError as error:  # an index that another release has made, or one that is away for a moment
            log.warning("this run is not shown in the console reason=%s", error)
        else:
            self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if not self._thread.is_alive():
            return
        self._over.set()
        self._thread.join()
        stopped = "stopped by a signal" if self._stop.is_set() and not self.is_cancelled else ""
        done = self._progress.done if self._progress else 0
        try:
            note_end(self._session, self._name, done, self.result, _in_words(error) or stopped)
        except ProxyError as refusal:
            log.debug("end of the run not noted reason=%s", refusal)

    def new_progress(self, what: str, total: int | None = None) -> Progress:
        """The progress of a phase, which is noted from now on."""
        self._progress = Progress(what, total)
        return self._progress

    def _work(self) -> None:
        while not self._over.wait(self._note_seconds):
            try:
                self._note()
            except ProxyError as error:  # noqa: PERF203 - calls over the network
                log.debug("run not noted reason=%s", error)

    def _note(self) -> None:
        progress = self._progress
        if progress is None:
            what, done, total = "", 0, None
        else:
            what, done, total = progress.what, progress.done, progress.total
        is_cancelled = note_progress(self._session, self._name, what, done, total, begins=progress is not self._noted)
        self._noted = progress
        if is_cancelled and not self.is_cancelled:
            log.warning("an operator has cancelled this run at the console")
            self.is_cancelled = True
            self._stop.set()


def _in_words(error: BaseException | None) -> str:
    """An error as the console tells it; "" for none, and for the end of a run that was stopped."""
    if error is None or isinstance(error, ProxyError):
        return str(error or "")
    return type(error).__name__
