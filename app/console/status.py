"""The status of the service, for the people who run it. Runs in the web processes.

The page waits for nothing: it shows what the processes have noted. The check calls out and takes seconds, so it runs in
a process of its own when somebody asks for it, and the page shows what it found last.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from app.check_result import ERROR, OK, WARNING, CheckResult
from app.console.console import Console
from app.console.status_charts import HEIGHT, MOST_POINTS, WIDTH, Chart, draw
from app.console.status_facts import BAD, GOOD, WARN, Facts
from app.console.texts import Texts
from app.console_parts import STATUS
from app.service_status import ServiceStatus
from app.telemetry.history import INTERVAL_SECONDS, Sample
from dicomweb.errors import BadRequest
from dicomweb.respond import varies

PATH = "/status"
HOURS = (1, 6, 24)
"""The ranges of the charts, which the page offers."""

_HTMX = "HX-Request"
_USUAL_HOURS = 6
_HOUR_SECONDS = 3600.0
_REFRESH_SECONDS, _SOON_SECONDS = 30, 2  # the latter while a check runs
_NEWS_SECONDS = 10.0
_LEVELS = {OK: GOOD, WARNING: WARN, ERROR: BAD}
_LEVEL_TEXTS = {OK: "status_check_ok", WARNING: "status_check_warning", ERROR: "status_check_error"}
INDEX_CHECKS = frozenset(
    (
        "index kind",
        "tables",
        "follower",
        "indexed image sets",
        "comparison",
        "data store",
        "data stores",
        "image sets",
        "queue of events",
        "dead letters",
    )
)
"""The names of checks that compare the index with AHI; they have a table of their own."""


@dataclass(frozen=True)
class CheckView:
    """The check, as the page shows it: what is under way, what was found, and in a few words."""

    is_under_way: bool
    has_failed: bool
    summary: str
    level: str
    is_new: bool
    service: Sequence[CheckResult] = ()
    index: Sequence[CheckResult] = ()


def blueprint(console: Console) -> Blueprint:
    """The page, its changing part alone for htmx, and the form that asks for a check."""
    bp, services = Blueprint(STATUS, __name__), console.services
    find_status: Callable[[], ServiceStatus] = cache(lambda: services.monitoring.status or ServiceStatus.alone())

    @bp.get(PATH)
    def show() -> Response:
        hours, status, now = _hours(), find_status(), time.monotonic()
        facts = Facts(services, status, console.texts)
        check = _check(status, console.texts, facts.duration, now)
        swapped = _HTMX in request.headers
        response = console.page(
            "status_now.html" if swapped else "status.html",
            swapped=swapped,
            facts=facts.rows(now),
            check=check,
            charts=_charts(status, hours, now),
            **_frame_of_charts(hours, now),
            levels=_LEVELS,
            level_texts=_LEVEL_TEXTS,
            refresh_seconds=_SOON_SECONDS if check.is_under_way else _REFRESH_SECONDS,
        )
        varies(response, _HTMX)
        return response

    @bp.post(f"{PATH}/check")
    def ask() -> Response:
        find_status().check.ask()
        return Response(status=HTTPStatus.SEE_OTHER, headers={"Location": console.path(f"{PATH}?hours={_hours()}")})

    return bp


def _hours() -> int:
    given = request.args.get("hours", str(_USUAL_HOURS))
    if given not in map(str, HOURS):
        raise BadRequest(f"hours is none of {', '.join(map(str, HOURS))}")
    return int(given)


def _charts(status: ServiceStatus, hours: int, now: float) -> Sequence[Chart]:
    """The charts up to this moment. A sample of just now is left out: rates over a moment tell nothing."""
    seconds = hours * _HOUR_SECONDS
    samples = status.history.read(now - seconds, MOST_POINTS)
    if len(samples) > 1 and now - samples[-1].at < INTERVAL_SECONDS / 2:
        samples = samples[:-1]
    return draw([*samples, Sample.of(status.counters, status.requests, now)], now, seconds)


def _frame_of_charts(hours: int, now: float) -> Mapping[str, Any]:
    """What all charts have in common: their size, and times of the clock on the wall."""
    today = datetime.now().astimezone()

    def clock(ago_seconds: float) -> str:
        return (today - timedelta(seconds=ago_seconds)).strftime("%H:%M")

    ends = [clock(hours * _HOUR_SECONDS * share) for share in (1, 0.5, 0)]
    return {"hours": hours, "all_hours": HOURS, "clock": clock, "ends": ends, "width": WIDTH, "height": HEIGHT}


def _check(status: ServiceStatus, texts: Texts, duration: Callable[[float], str], now: float) -> CheckView:
    state = status.check.state()
    report = state.report
    if report is None:
        return CheckView(state.is_under_way, state.has_failed, texts.status_check_never, GOOD, is_new=False)
    counts = {level: sum(result.level == level for result in report.results) for level in _LEVELS}
    ago = duration(now - report.ended_at)
    level = next((level for level in (ERROR, WARNING) if counts[level]), OK)
    summary = texts("status_check_summary", ago=ago, errors=counts[ERROR], warnings=counts[WARNING])
    return CheckView(
        state.is_under_way,
        state.has_failed,
        summary if level != OK else texts("status_check_fine", ago=ago),
        _LEVELS[level],
        is_new=now - report.ended_at < _NEWS_SECONDS,
        service=[result for result in report.results if result.what not in INDEX_CHECKS],
        index=[result for result in report.results if result.what in INDEX_CHECKS],
    )
