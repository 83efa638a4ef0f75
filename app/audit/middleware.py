"""The audit of each answer. A route is audited unless its blueprint is listed here."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus

from flask import Flask, Response, g, request

from app import console_parts, viewer_parts
from app.audit.event import UNIDENTIFIED, Event, EventKind
from app.audit.store_events import store_events
from app.auth.middleware import QUERY_TOKEN
from app.service_roots import blueprint_name
from app.services import Services
from dicomweb import respond
from dicomweb.errors import BadRequest, UpstreamBusy
from dicomweb.parameters import parse_parameters
from dicomweb.uids import is_well_formed

WITHOUT_PATIENT_DATA = (
    frozenset({"health", "capabilities", "prefetch"})
    | console_parts.WITHOUT_PATIENT_DATA
    | viewer_parts.WITHOUT_PATIENT_DATA
)
"""Blueprints without patient data. Refused logins and refused access are audited for them as well."""

_SEARCH, _OBJECTS, _URI, _STORE = "qido", "wado", "wado-uri", "store"
_OBJECT_PATHS = ("/<study>", "/<series>", "/<instance>")  # routes that end so return DICOM objects
_KINDS = {
    _SEARCH: EventKind.QUERY,
    console_parts.WORKLIST: EventKind.QUERY,
    _STORE: EventKind.STORE,
    console_parts.UPLOAD_FORM: EventKind.STORE,
    console_parts.ACCESS_CHANGE: EventKind.CHANGE,
    console_parts.AUDIT: EventKind.TRAIL,
}
_REFUSALS = {401: EventKind.LOGIN, 403: EventKind.ALERT}
_WITH_CONTENT = (200, 206)
_FOUND = (*_WITH_CONTENT, 304)


def install_audit(app: Flask, services: Services) -> None:
    """Put an event in the audit queue for each answer before it is sent; 503 in its place if the queue refuses it."""
    audit_queue = services.monitoring.audit_queue
    if audit_queue is None:
        return

    @app.after_request
    def audit(response: Response) -> Response:
        status: int = g.get("operation_status", response.status_code)
        kind = _kind(response, status)
        if kind is None:
            return response
        event = _event(kind, status)
        events = store_events(event, g.get("store_outcomes", ())) if kind is EventKind.STORE else [event]
        if not all([audit_queue.admit(one) for one in events]):
            response.close()
            return respond.problem(UpstreamBusy("this access cannot be audited now"))
        if kind is EventKind.BEGIN:
            call_at_end(
                response,
                lambda cut: audit_queue.note(replace(event, kind=EventKind.TRANSFER, cut=cut, at=Event(kind).at)),
            )
        return response


def _kind(response: Response, status: int) -> EventKind | None:
    """The kind of event that an answer is; None for an answer that is not audited."""
    if request.blueprint is None or request.method == "OPTIONS":
        return None
    name = blueprint_name(request.blueprint)
    if status in _REFUSALS:
        return _REFUSALS[status]
    if "signed_in" in g or "signed_out" in g:
        return EventKind.LOGIN if "signed_in" in g else EventKind.LOGOUT
    if "operation_status" in g:
        return EventKind.OPERATION
    if name in WITHOUT_PATIENT_DATA:
        return None
    if name in _KINDS:
        return _KINDS[name]
    objects = name == _OBJECTS and str(request.url_rule).endswith(_OBJECT_PATHS)
    objects = objects or (name == _URI and response.mimetype == "application/dicom")
    return EventKind.BEGIN if objects and status in _WITH_CONTENT and request.method == "GET" else EventKind.ACCESS


def _event(kind: EventKind, status: int) -> Event:
    root = g.root_rule if "root_rule" in g else ""
    identifiers = _identifiers()
    return Event(
        kind,
        status,
        user=_user(kind),
        client=request.remote_addr or "",
        ae_title=g.root.ae_title if "root" in g else "",
        resource=str(request.url_rule).removeprefix(root),
        query=_query(root) if kind is EventKind.QUERY else "",
        study_instance_uid=_uid(identifiers.get("study"), status),
        series_instance_uid=_uid(identifiers.get("series"), status),
        sop_instance_uid=_uid(identifiers.get("instance"), status),
        sop_classes=tuple(sorted(g.get("sop_classes", {}).items())),
        frames=_frames(identifiers.get("frame_list")),
        request_id=g.request_id,
        subject=g.get("audit_subject", ""),
    )


def _user(kind: EventKind) -> str:
    """The caller; for a logout, the one who has left."""
    if kind is EventKind.LOGOUT:
        return str(g.signed_out.user)
    return str(g.principal.user) if "principal" in g else UNIDENTIFIED


def _identifiers() -> dict[str, Any]:
    """UIDs and frames of the path, or of the parameters of WADO-URI, by the names that paths have for them."""
    identifiers = dict(request.view_args or {})
    if blueprint_name(request.blueprint or "") == _URI:
        names = {"studyUID": "study", "seriesUID": "series", "objectUID": "instance", "frameNumber": "frame_list"}
        with suppress(BadRequest):
            identifiers |= {
                names[name]: value for name, value in parse_parameters(request.query_string) if name in names
            }
    return identifiers


def _uid(value: Any, status: int) -> str:
    """The UID; "" for a malformed one that found nothing, which may be the name of a patient."""
    uid = str(value or "")
    return uid if is_well_formed(uid) or status in _FOUND else ""


def _frames(value: Any) -> str:
    text = str(value or "")
    return text if set(text) <= set("0123456789,") else ""


def _query(root: str) -> str:
    """Path below the root and query as the client wrote them, without its token."""
    parameters = request.query_string.decode("latin-1").split("&")
    query = "&".join(one for one in parameters if unquote_plus(one.partition("=")[0]) != QUERY_TOKEN)
    path = request.path.removeprefix(g.root.path if "root" in g else root)
    return f"{path}?{query}" if query else path


def call_at_end(response: Response, callback: Callable[[bool], None]) -> None:
    """Call back when the answer has ended, with whether it was cut off."""
    body = _Body(response.response)
    response.response = body
    response.call_on_close(lambda: callback(not body.ended))


class _Body:
    """The pieces of an answer; `ended` tells whether the last one was taken."""

    def __init__(self, pieces: Iterable[Any]) -> None:
        self._pieces = pieces
        self.ended = False

    def __iter__(self) -> Iterator[Any]:
        yield from self._pieces
        self.ended = True

    def close(self) -> None:
        """Close the source of the pieces."""
        if hasattr(self._pieces, "close"):
            self._pieces.close()
