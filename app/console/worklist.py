"""The work list: the first page of the console. Runs in the web processes."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from flask import Blueprint, Response, g, request

from app.auth.middleware import ROOT_PARAMETER
from app.auth.rights import Right
from app.console.console import Console
from app.console.readings import read_zone
from app.console.study_filter import PAGE_SIZES, Period, StudyFilter
from app.console.study_list import SORTED_AT_MOST, WORDS_IN_NEWEST, StudyPage, find_studies
from app.console_parts import WORKLIST
from app.middleware.warnings import request_warnings
from dicomweb.errors import BadRequest
from dicomweb.respond import varies

PATH = "/"
THUMBNAIL = "/thumbnail?viewport=112,112"
"""Twice the size in which the list shows it, for screens with small pixels."""

_HTMX = "HX-Request"
_PERIODS = {
    Period.ANY: "worklist_date_any",
    Period.TODAY: "worklist_date_today",
    Period.YESTERDAY: "worklist_date_yesterday",
    Period.WEEK: "worklist_date_week",
    Period.MONTH: "worklist_date_month",
    Period.RANGE: "worklist_date_range",
}
_HEADINGS = {
    "name": "worklist_name",
    "id": "worklist_id",
    "birth": "worklist_birth",
    "date": "worklist_date",
    "accession": "worklist_accession",
    "description": "worklist_description",
}
"""The texts of the columns by which the list can be sorted."""

_COMMANDS = {"index": "python main.py index", "check": "python main.py check"}
MODALITIES = ("CR", "CT", "DX", "ECG", "MG", "MR", "NM", "OT", "PT", "SC", "SM", "SR", "US", "XA")
"""Those that the form offers. Any other can be typed."""


def blueprint(console: Console) -> Blueprint:
    """The page, and its table alone for htmx."""
    bp, services = Blueprint(WORKLIST, __name__), console.services

    @bp.get("")
    def show() -> Response:
        wanted, now = StudyFilter.from_parameters(request.args), datetime.now().astimezone()
        problem, found = "", None
        try:
            found = find_studies(services.archive, services.search_scope(), wanted, now.date())
        except BadRequest as error:
            problem = str(error)
        values = {**_values(console, wanted, found, now), "problem": problem}
        status = HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK
        if _HTMX in request.headers:  # htmx shows no answer with an error
            response = console.page("worklist_results.html", **values, swapped=True)
            response.headers["HX-Push-Url"] = _url(console, wanted)
        else:
            response = console.page("worklist.html", http_status=status, **values, swapped=False)
        varies(response, _HTMX)
        return response

    return bp


def _values(console: Console, wanted: StudyFilter, found: StudyPage | None, now: datetime) -> Mapping[str, Any]:
    return {
        "wanted": wanted,
        "found": found,
        "ae_title": g.root.ae_title,
        "ae_titles": g.ae_titles,
        "root": console.public_path(g.root.path),
        "pages": console.path(g.root.path),
        "headings": _HEADINGS,
        "periods": _PERIODS,
        "commands": _COMMANDS,
        "modalities": MODALITIES,
        "page_sizes": PAGE_SIZES,
        "thumbnail": THUMBNAIL,
        "now": now,
        "zone": read_zone(now),
        "may_store": Right.STORE in g.grant.rights and g.root.store_datastore_id is not None,
        "may_operate": Right.OPERATE in g.grant.rights,
        "url_sorted_by": lambda column: _url(console, wanted.sorted_by(column)),
        "url_of_page": lambda page: _url(console, replace(wanted, page=page)),
        "url_without_filter": _url(console, StudyFilter(sort=wanted.sort, size=wanted.size, pictures=wanted.pictures)),
        "request_warnings": request_warnings,
        "sorted_at_most": SORTED_AT_MOST,
        "words_in_newest": WORDS_IN_NEWEST,
        "url_everywhere": _url(console, replace(wanted, page=1, everywhere=True)),
        "quoted": partial(quote, safe=""),
    }


def _url(console: Console, wanted: StudyFilter) -> str:
    """The URL of the list with this filter, below the AE title of the request."""
    chosen = {ROOT_PARAMETER: g.root.ae_title} if g.root.ae_title != g.ae_titles[0] else {}
    parameters = urlencode({**chosen, **wanted.parameters})
    return console.path(f"{PATH}?{parameters}" if parameters else PATH)
