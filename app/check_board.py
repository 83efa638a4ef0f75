"""The check of the service by itself, between the processes: a web process asks for it and shows what it found.

The supervisor runs it in a process of its own (`app/processes/self_check.py`). All is in memory that they share, of a
fixed size. Times are seconds of the monotonic clock. Nobody waits for anybody: a process that is killed leaves the
report before, and the supervisor notes the end of each run.
"""

import json
import mmap
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from app.check_result import WARNING, CheckResult
from runtime.shared_text import SharedText

_ASKED, _BEGUN, _ENDED = range(3)
_WORDS, _WORD_BYTES = 3, 8
_MOST_BYTES = 2**17
_MORE = CheckResult("check", WARNING, "there are more results than fit here", "run python main.py check")


@dataclass(frozen=True)
class CheckReport:
    """The results of one run, and when it began and ended."""

    begun_at: float
    ended_at: float
    results: tuple[CheckResult, ...]


@dataclass(frozen=True)
class CheckState:
    """The report of the last run that gave one, if there is one; what is under way; whether the last run gave none."""

    report: CheckReport | None = None
    is_under_way: bool = False
    has_failed: bool = False


class CheckBoard:
    """Made before the fork."""

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, _WORDS * _WORD_BYTES)).cast("d")
        self._text = SharedText(_MOST_BYTES)

    def ask(self) -> None:
        """Ask for a run. Without effect while one is under way."""
        if not self.state().is_under_way:
            self._words[_ASKED] = time.monotonic()

    def is_asked(self) -> bool:
        """Whether a run is asked for that has not begun; for the supervisor."""
        return self._words[_ASKED] > self._words[_BEGUN] and not self.is_running

    @property
    def is_running(self) -> bool:
        """Whether the process of a run has been started, and its end has not been noted."""
        return self._words[_BEGUN] > self._words[_ENDED]

    def note_begin(self) -> None:
        """Note that a run begins; the supervisor alone does so."""
        self._words[_BEGUN] = time.monotonic()

    def note_end(self) -> None:
        """Note that a run has ended in any way; the supervisor alone does so. What was asked meanwhile is answered."""
        self._words[_ASKED] = 0.0
        self._words[_ENDED] = time.monotonic()

    def publish(self, results: Sequence[CheckResult]) -> None:
        """Show the results of the run in this process. Those that do not fit are left out, and one says so."""
        shown = list(results)
        while len(text := self._encoded(shown)) > _MOST_BYTES:
            shown = [*shown[: (len(shown) - 1) // 2], _MORE]
        self._text.write(text)

    def state(self) -> CheckState:
        """The state now."""
        begun_at, report = self._words[_BEGUN], self._report()
        is_under_way = self.is_running or self.is_asked()
        has_failed = not is_under_way and begun_at > 0 and (report is None or report.begun_at < begun_at)
        return CheckState(report, is_under_way, has_failed)

    def _encoded(self, results: Sequence[CheckResult]) -> bytes:
        times = {"begun_at": self._words[_BEGUN], "ended_at": time.monotonic()}
        return json.dumps({**times, "results": [asdict(result) for result in results]}).encode()

    def _report(self) -> CheckReport | None:
        text = self._text.read()
        if not text:
            return None
        found = json.loads(text)
        return CheckReport(
            found["begun_at"], found["ended_at"], tuple(CheckResult(**result) for result in found["results"])
        )
