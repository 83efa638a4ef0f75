"""The page of jobs: what waits to be stored, what was refused, runs of the index, loads. Runs in the web processes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from flask import Blueprint, Response, request

from app.console.console import Console
from app.console.job_actions import ALL, JobActions, Result
from app.console.job_lists import LISTS, SHOWN_STUDIES, Jobs, find_jobs, is_lost, seconds_since
from app.console.operator_reach import OperatorReach
from app.console.readings import read_age, read_size, read_zone
from app.console_parts import JOBS
from app.request_state import note_operation
from dicomweb.errors import ProxyError
from dicomweb.respond import status_of, varies
from index.follow.holds import FAILURES
from index.run import RunKind
from store.forward.waiting import WaitingState

PATH = "/jobs"
_HTMX = "HX-Request"
_LAST_PAGE = 100_000
_STATES: Mapping[WaitingState, str] = {
    WaitingState.GATHERING: "jobs_state_gathering",
    WaitingState.SENDING: "jobs_state_sending",
    WaitingState.AGAIN: "jobs_state_again",
}
_KINDS: Mapping[str, str] = {
    RunKind.FILL.value: "jobs_run_fill",
    RunKind.COMPARE.value: "jobs_run_compare",
    RunKind.REPAIR.value: "jobs_run_repair",
    RunKind.NIGHTLY.value: "jobs_run_nightly",
}
_SECTIONS: Mapping[str, str] = {
    "waiting": "jobs_waiting_title",
    "refused": "jobs_refused_title",
    "index": "jobs_index_title",
    "loads": "jobs_loads_title",
}
_COMMANDS = {
    "index": "python main.py index",
    "follow": "python main.py index --follow",
    "spool": "python main.py spool",
}


def blueprint(console: Console) -> Blueprint:
    """The page, its lists alone for htmx, and the actions of its forms; for callers who may operate."""
    bp, services = Blueprint(JOBS, __name__), console.services

    @bp.get(PATH)
    def show() -> Response:
        return answer([])

    @bp.post(PATH)
    def act() -> Response:
        action, names = request.form.get("action", ""), request.form.getlist("name")
        results = JobActions(services, OperatorReach(services)).run(action, names)
        note_operation(action, names, _status(results))
        return answer(results)

    def answer(results: Sequence[Result]) -> Response:
        pages = {name: _page_number(name) for name in LISTS}
        jobs = find_jobs(services, console.texts, OperatorReach(services), pages)
        of_script = _HTMX in request.headers
        status = HTTPStatus.OK if of_script else _status(results)  # htmx shows no page that has another one
        template = "jobs_lists.html" if of_script else "jobs.html"
        response = console.page(template, http_status=status, **_values(console, jobs, pages, results))
        varies(response, _HTMX)
        return response

    return bp


def _values(console: Console, jobs: Jobs, pages: Mapping[str, int], results: Sequence[Result]) -> dict[str, Any]:
    def url_of(name: str = "", number: int = 1) -> str:
        chosen = {**pages, name: number} if name else pages
        parameters = urlencode({key: value for key, value in chosen.items() if value > 1})
        return console.path(f"{PATH}?{parameters}" if parameters else PATH)

    def study_path(root: str, uid: str) -> str:
        return f"{console.path(root)}/studies/{quote(uid, safe='')}" if root else ""

    now = datetime.now().astimezone()
    return {
        "jobs": jobs,
        "results": results,
        "url_of": url_of,
        "study_path": study_path,
        "shown_studies": SHOWN_STUDIES,
        "may_write_index": console.services.index_writer is not None,
        "put_aside_after": FAILURES,
        "states": _STATES,
        "kinds": _KINDS,
        "sections": _SECTIONS,
        "commands": _COMMANDS,
        "all": ALL,
        "age": lambda at: read_age(seconds_since(at)),
        "span": read_age,
        "size": read_size,
        "is_lost": is_lost,
        "now": now,
        "zone": read_zone(now),
    }


def _status(results: Sequence[Result]) -> int:
    """The status of the first error; 200 if there is none."""
    errors: list[ProxyError] = [result.error for result in results if result.error]
    return status_of(errors[0]) if errors else HTTPStatus.OK


def _page_number(name: str) -> int:
    text = request.args.get(name, "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1
    return min(max(1, number), _LAST_PAGE)
