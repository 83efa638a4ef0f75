"""The search of the audit trail, a page beside Access. Runs in the web processes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, g, request

from app.audit.event import EventKind
from app.audit.record import Record
from app.audit.search import Position, Step, Wanted, search_trail
from app.auth.middleware import ROOT_PARAMETER
from app.console.console import Console
from app.console.study_list import seen_studies
from app.console_parts import AUDIT
from app.settings import Settings
from db.scope import EVERYTHING, Scope
from dicomweb.errors import BadRequest, UpstreamFailed
from dicomweb.respond import status_of
from qido.execute.search import search
from qido.image_sets.archive import Archive
from qido.parse.attributes import Level
from qido.parse.query import parse_query

PATH = "/access/audit"
_LONGEST = 256

KINDS: Mapping[EventKind, str] = {
    EventKind.QUERY: "access_kind_query",
    EventKind.ACCESS: "access_kind_access",
    EventKind.BEGIN: "access_kind_begin",
    EventKind.TRANSFER: "access_kind_transfer",
    EventKind.STORE: "access_kind_store",
    EventKind.LOGIN: "access_kind_login",
    EventKind.LOGOUT: "access_kind_logout",
    EventKind.ALERT: "access_kind_alert",
    EventKind.CHANGE: "access_kind_change",
    EventKind.OPERATION: "access_kind_operation",
    EventKind.TRAIL: "access_kind_trail",
    EventKind.START: "access_kind_start",
    EventKind.STOP: "access_kind_stop",
}
"""The texts of the actions, in the order of the form."""

OUTCOMES: Mapping[int, str] = {0: "access_outcome_0", 4: "access_outcome_4", 8: "access_outcome_8"}
"""The texts of the outcomes (EventOutcomeIndicator)."""

_ELSEWHERE = {
    "none": "access_audit_none",
    "syslog": "access_audit_syslog",
    "stdout": "access_audit_stdout",
    "cloudwatch": "access_audit_cloudwatch",
}


@dataclass(frozen=True)
class AuditFilter:
    """What the form asks for, as it was typed."""

    first: str = ""
    last: str = ""
    user: str = ""
    action: str = ""
    outcome: str = ""
    study: str = ""
    patient: str = ""

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> "AuditFilter":
        """From the parameters of a URL."""
        return cls(*(parameters.get(name, "").strip()[:_LONGEST] for name in _FIELDS))

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of a URL that has this filter."""
        texts = (self.first, self.last, self.user, self.action, self.outcome, self.study, self.patient)
        return {name: text for name, text in zip(_FIELDS, texts, strict=True) if text}

    def wanted(self) -> Wanted:
        """What is searched for; BadRequest for a word that the form cannot send."""
        kinds = {kind.name.lower(): kind for kind in KINDS}
        outcomes = {str(outcome): outcome for outcome in OUTCOMES}
        if (self.action and self.action not in kinds) or (self.outcome and self.outcome not in outcomes):
            raise BadRequest("there is no such action or outcome")
        return Wanted(
            _moment(self.first, time.min),
            _moment(self.last, time.max),
            self.user,
            kinds.get(self.action),
            outcomes.get(self.outcome),
            self.study,
            self.patient,
        )


_FIELDS = ("from", "to", "user", "action", "outcome", "study", "patient")


def blueprint(console: Console) -> Blueprint:
    """The page, for callers who may operate; the gate refuses others."""
    bp, services = Blueprint(AUDIT, __name__), console.services

    @bp.get(PATH)
    def show() -> Response:
        asked = AuditFilter.from_parameters(request.args)
        g.audit_subject = urlencode(asked.parameters)
        problem, status, step = "", HTTPStatus.OK, None
        try:
            wanted, begin = asked.wanted(), Position.from_text(request.args.get("before", ""))
            if services.settings.audit == "file" and services.settings.audit_file:
                step = _search(console, services.settings.audit_file, wanted, begin)
        except (BadRequest, UpstreamFailed) as error:
            problem, status = str(error), HTTPStatus(status_of(error))
        return console.page("audit.html", http_status=status, **_values(console, asked, step, problem))

    return bp


def _values(console: Console, asked: AuditFilter, step: Step | None, problem: str) -> dict[str, Any]:
    settings, now = console.services.settings, datetime.now().astimezone()
    further = {**asked.parameters, "before": str(step.further)} if step and step.further else {}
    return {
        "asked": asked,
        "step": step,
        "problem": problem,
        "kinds": KINDS,
        "outcomes": OUTCOMES,
        "elsewhere": _elsewhere(console, settings),
        "file": settings.audit_file if settings.audit == "file" else None,
        "further": _url(console, further) if further else "",
        "without_filter": _url(console, {}),
        "local": _local,
        "ae_title": g.root.ae_title if request.args.get(ROOT_PARAMETER) else "",
        "zone": now.strftime("UTC%z"),
        "is_limited": g.scope != EVERYTHING,
    }


def _url(console: Console, parameters: Mapping[str, str]) -> str:
    chosen = {ROOT_PARAMETER: g.root.ae_title} if request.args.get(ROOT_PARAMETER) else {}
    query = urlencode({**chosen, **parameters})
    return console.path(f"{PATH}?{query}" if query else PATH)


def _elsewhere(console: Console, settings: Settings) -> str:
    """The words that say where the trail is, if this page cannot search it."""
    key = _ELSEWHERE.get(settings.audit, "")
    where = settings.audit_syslog or settings.audit_log_group or ""
    return console.texts(key, where=where) if key else ""


def _search(console: Console, path: Path, wanted: Wanted, begin: Position | None) -> Step:
    """One step of the search, with no more of patients than the caller may see."""
    archive = console.services.archive
    if g.scope == EVERYTHING:
        return search_trail(path, wanted, begin)
    scope = console.services.search_scope()
    if not all(_may_ask(archive, scope, wanted)):
        return Step((), None, None)
    step = search_trail(path, wanted, begin)
    seen = seen_studies(archive, scope, {one.study_instance_uid for one in step.records})
    return replace(step, records=tuple(_shown(one, seen) for one in step.records))


def _may_ask(archive: Archive, scope: Scope, wanted: Wanted) -> Iterable[bool]:
    """Whether the caller may know of the study and of the patient that are searched for."""
    if wanted.study_instance_uid:
        yield bool(seen_studies(archive, scope, {wanted.study_instance_uid}))
    if wanted.patient_id:
        keys = [("PatientID", wanted.patient_id), ("limit", "1")]
        yield bool(search(archive, parse_query(keys, Level.STUDY, max_results=1, scope=scope)).results)


def _shown(record: Record, seen: frozenset[str]) -> Record:
    if not record.names_patient or record.study_instance_uid in seen:
        return record
    return record.without_patient()


def _moment(text: str, at: time) -> datetime | None:
    """A day, at this time of it, or a day and a time, in the zone of this service; BadRequest for anything else."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (datetime.combine(found, at) if len(text) == len("2026-11-30") else found).astimezone()
    except (ValueError, OverflowError, OSError):
        raise BadRequest("the time is not like 2026-11-30 or 2026-11-30T08:15") from None


def _local(moment: datetime) -> str:
    """A moment in the zone of this service, to the second."""
    return moment.astimezone().isoformat(" ", "seconds")[:19]
