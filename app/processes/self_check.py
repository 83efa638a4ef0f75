"""The check of the service by itself: a process that runs once, when a page asks for it. Runs in the supervisor."""

import logging
from collections.abc import Callable, Sequence

from app.check_board import CheckBoard
from app.check_result import CheckResult
from app.processes.supervisor import Child, Supervisor

log = logging.getLogger(__name__)

NAME = "check"
DEADLINE_SECONDS = 120.0
"""The longest time of a run. Its calls have deadlines of their own, which are shorter."""


class SelfCheck:
    """Starts a run that is asked for, never two at a time, and notes its end."""

    def __init__(self, supervisor: Supervisor, board: CheckBoard, check: Callable[[], Sequence[CheckResult]]) -> None:
        self._supervisor, self._board, self._check = supervisor, board, check

    def look(self) -> None:
        """Do what is due. Call it every second or so."""
        if self._supervisor.runs(NAME):
            return
        if self._board.is_running:
            self._board.note_end()
        elif self._board.is_asked():
            self._board.note_begin()
            self._supervisor.run_once(Child(NAME, lambda _: self._run(), deadline_seconds=DEADLINE_SECONDS))

    def _run(self) -> None:
        """The process of a run."""
        self._board.publish(self._check())
