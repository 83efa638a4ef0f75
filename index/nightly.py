"""The comparison of each night, with repair: a follower calls `run_compare_when_due` every few seconds.

The time is that of the clock on the wall, in the time zone of the machine. On the day on which clocks go forward, a
time that does not exist comes an hour later by the clock; on the day on which they go back, the earlier of both counts.
"""

import logging
import threading
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo

from dicomweb.errors import ProxyError

log = logging.getLogger(__name__)


class NightlyComparison:
    """Runs `compare` once a day at `at`, in a thread of its own; never twice at the same time."""

    def __init__(
        self,
        at: time,
        compare: Callable[[], None],
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        zone: tzinfo | None = None,
    ) -> None:
        """`now` is the present, with a time zone; `zone` is by default the time zone of the machine."""
        self._at = at
        self._compare = compare
        self._now = now
        self._zone = zone
        self._due = next_due(at, now(), zone)
        self._thread: threading.Thread | None = None
        log.info("the index is compared with AHI each day at %s, next at %s", at.strftime("%H:%M"), self._due)

    def run_compare_when_due(self) -> None:
        """Begin the comparison if its time has come. Returns at once."""
        if self._now() < self._due:
            return
        self._due = next_due(self._at, self._now(), self._zone)
        if self._thread and self._thread.is_alive():
            log.warning("the comparison of yesterday is not over: none begins today")
            return
        self._thread = threading.Thread(target=self._run, name="compare", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._compare()
        except ProxyError as error:
            log.error("the index was not compared: %s", error)  # noqa: TRY400 - the cause is not ours
        except Exception:  # the outermost frame of a thread; the follower goes on
            log.exception("the index was not compared")


def next_due(at: time, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The first moment after `now` at which the clock of a time zone shows `at`, in UTC.

    `now` has a time zone. `zone` is by default that of the machine.
    Each day has exactly one such moment, whatever the clocks do.
    """
    day = now.astimezone(zone).date() - timedelta(days=1)
    while (due := _moment(day, at, zone)) <= now:
        day += timedelta(days=1)
    return due


def _moment(day: date, at: time, zone: tzinfo | None) -> datetime:
    local = datetime.combine(day, at)
    return (local.replace(tzinfo=zone) if zone else local.astimezone()).astimezone(timezone.utc)
