"""The schedule of prefetching: rules as the PREFETCH setting writes them.

priors:730d@02:00     at two in the morning: studies of the last 730 days of patients who have a study that day
priors:730d@15m       the same every 15 minutes, from the start on
recent:2d@22:00       at ten in the evening: all studies of that day and the two days before
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from db.engine import Database
from db.studies import find_priors, find_recent_studies

MOST_STUDIES = 5000
"""The most studies that one evaluation of a rule finds: the newest."""

_RULE = re.compile(r"(priors|recent):(\d{1,4})d@(?:(\d\d):(\d\d)|(\d{1,4})m)", re.ASCII)


@dataclass(frozen=True)
class PrefetchRule:
    """One rule: the studies to load, and when."""

    find: Callable[[Database, date, date], list[str]]
    """Finds the UIDs of studies in the index, newest first, from the dates of today and of the first day."""
    days: int
    """The days before today whose studies count: 0 to 9999."""
    daily_at: time | None
    """The local time of a daily rule, None for a rule with an interval."""
    every: timedelta | None
    """The interval, 1 to 9999 minutes; None for a daily rule."""

    @classmethod
    def from_text(cls, text: str) -> "PrefetchRule":
        """Parse a rule as the docstring of this module writes it; ValueError for any other text."""
        match = _RULE.fullmatch(text.strip())
        if match is None or (match[5] and int(match[5]) == 0):
            raise ValueError("is not like priors:730d@02:00, recent:2d@22:00 or priors:730d@15m")
        every = timedelta(minutes=int(match[5])) if match[5] else None
        daily_at = None if every else time(int(match[3]), int(match[4]))  # ValueError if there is no such time
        return cls(_FINDS[match[1]], int(match[2]), daily_at, every)

    def next_after(self, moment: datetime, *, start: datetime) -> datetime:
        """The next evaluation after `moment`, for a service that started at `start`; all in local time."""
        if self.every:
            return start + self.every * -(-(moment - start) // self.every) if moment > start else start
        today = datetime.combine(moment.date(), self.daily_at or time())
        return today if today > moment else today + timedelta(days=1)

    def studies(self, database: Database, today: date) -> list[str]:
        """The UIDs of the studies that the rule selects today, newest first."""
        return self.find(database, today, today - timedelta(days=self.days))


def parse_schedule(text: str) -> tuple[PrefetchRule, ...]:
    """Parse rules separated by commas; ValueError for any other text."""
    return tuple(PrefetchRule.from_text(part) for part in text.split(",") if part.strip())


def _priors(database: Database, today: date, since: date) -> list[str]:
    return find_priors(database, today, since, MOST_STUDIES)


def _recent(database: Database, _today: date, since: date) -> list[str]:
    return find_recent_studies(database, since, MOST_STUDIES)


_FINDS = {"priors": _priors, "recent": _recent}
