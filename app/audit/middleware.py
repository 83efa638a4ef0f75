"""After each view: what was asked for, by whom, and how it ended. A route that is not listed here is audited."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus

from flask import Flask, Response, g, request

from app.audit.event import UNIDENTIFIED, Event, EventKind
from app.auth.middleware import QUERY_TOKEN
from app.service_roots import blueprint_name
from app.services import Services
from dicomweb import respond
from dicomweb.errors import BadRequest, UpstreamBusy
from dicomweb.parameters import parse_parameters
from dicomweb.uids import is_well_formed

WITHOUT_PATIENT_DATA = frozenset({"health", "capabilities", "prefetch"})
"""Blueprints that tell nothing of patients; that somebody was refused there is audited all the same."""

_SEARCH, _OBJECTS, _URI = "qido", "wado", "wado-uri"
_OBJECT_PATHS = ("/<study>", "/<series>", "/<instance>")  # what these end with gives DICOM objects
_REFUSALS = {401: EventKind.LOGIN, 403: EventKind.ALERT}
_GIVEN = (200, 206)
_FOUND = (*_GIVEN, 304)


def install_audit(app: Flask, services: Services) -> None:
    """Put an event in the audit queue for each answer before it is sent; 503 in its place if the queue refuses it."""
    audit_queue = services.monitoring.audit_queue
    if audit_queue is None:
        return

    @app.after_request
    def audit(response: Response) -> Response:
        kind = _kind(response)
        if kind is None:
            return response
        event = _event(kind, response.status_code)
        if not audit_queue.admit(event):
            response.close()
            return respond.problem(UpstreamBusy("this access cannot be audited now"))
        if kind is EventKind.BEGIN:
            tell_end(
                response,
                lambda cut: audit_queue.note(replace(event, kind=EventKind.TRANSFER, cut=cut, at=Event(kind).at)),
            )
        return response


def _kind(response: Response) -> EventKind | None:
    """What an answer is to the audit trail; None where it is nothing."""
    if request.blueprint is None or request.method == "OPTIONS":
        return None
    name, status = blueprint_name(request.blueprint), response.status_code
    if status in _REFUSALS:
        return _REFUSALS[status]
    if name in WITHOUT_PATIENT_DATA:
        return None
    if name == _SEARCH:
        return EventKind.QUERY
    objects = name == _OBJECTS and str(request.url_rule).endswith(_OBJECT_PATHS)
    objects = objects or (name == _URI and response.mimetype == "application/dicom")
    return EventKind.BEGIN if objects and status in _GIVEN and request.method == "GET" else EventKind.ACCESS


def _event(kind: EventKind, status: int) -> Event:
    root = g.root_rule if "root_rule" in g else ""
    named = _named()
    return Event(
        kind,
        status,
        user=g.principal.user if "principal" in g else UNIDENTIFIED,
        client=request.remote_addr or "",
        ae_title=g.root.ae_title if "root" in g else "",
        resource=str(request.url_rule).removeprefix(root),
        query=_query(root) if kind is EventKind.QUERY else "",
        study_instance_uid=_uid(named.get("study"), status),
        series_instance_uid=_uid(named.get("series"), status),
        sop_instance_uid=_uid(named.get("instance"), status),
        sop_classes=tuple(sorted(g.get("sop_classes", {}).items())),
        frames=_frames(named.get("frame_list")),
        request_id=g.request_id,
    )


def _named() -> dict[str, Any]:
    """What the path names, and what the parameters of a URI service do, by the same names."""
    named = dict(request.view_args or {})
    if blueprint_name(request.blueprint or "") == _URI:
        names = {"studyUID": "study", "seriesUID": "series", "objectUID": "instance", "frameNumber": "frame_list"}
        with suppress(BadRequest):
            named |= {names[name]: value for name, value in parse_parameters(request.query_string) if name in names}
    return named


def _uid(value: Any, status: int) -> str:
    """The UID, "" for what is none and named nothing: somebody may have typed a name there."""
    uid = str(value or "")
    return uid if is_well_formed(uid) or status in _FOUND else ""


def _frames(value: Any) -> str:
    text = str(value or "")
    return text if set(text) <= set("0123456789,") else ""


def _query(root: str) -> str:
    """Path below the root and query, as the client wrote them but for a token, which would be a key."""
    parameters = request.query_string.decode("latin-1").split("&")
    kept = "&".join(one for one in parameters if unquote_plus(one.partition("=")[0]) != QUERY_TOKEN)
    path = request.path.removeprefix(g.root.path if "root" in g else root)
    return f"{path}?{kept}" if kept else path


def tell_end(response: Response, tell: Callable[[bool], None]) -> None:
    """Call `tell` when the answer is over, with whether it was cut off."""
    body = _Body(response.response)
    response.response = body
    response.call_on_close(lambda: tell(not body.ended))


class _Body:
    """The pieces of an answer, and whether all were taken."""

    def __init__(self, pieces: Iterable[Any]) -> None:
        self._pieces = pieces
        self.ended = False

    def __iter__(self) -> Iterator[Any]:
        yield from self._pieces
        self.ended = True

    def close(self) -> None:
        """Let go of what the pieces are made from."""
        if hasattr(self._pieces, "close"):
            self._pieces.close()
