"""The upload page, and the form that it has for browsers without scripts. Runs in the web processes.

With scripts, the page sends files to the store resource of the service itself (`static/upload.js`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, g, request

from app.console.console import Console
from app.console.failure_words import REASONS, failure_words, with_detail
from app.console.form_files import FormFiles
from app.console.forms import FIELD
from app.console_parts import UPLOAD, UPLOAD_FORM
from dicomweb.errors import Forbidden, UnsupportedMediaType
from dicomweb.uids import resource_path
from store.outcome import Outcome
from store.receive.content_type import ContentType
from store.receive.multipart import parse_boundary
from store.receive.request import announced_length, check_length

PATH = "/upload"
_FORM = "multipart/form-data"
_SCRIPT_TEXTS = (
    "upload_file_label",
    "upload_state_label",
    "upload_sending",
    "upload_waiting",
    "upload_stored",
    "upload_stored_but",
    "upload_sums",
    "upload_sums_at_end",
    "upload_retry",
    "upload_not_dicom",
    "upload_unreadable",
    "upload_folder_too_deep",
    "upload_zip_damaged",
    "upload_zip_encrypted",
    "upload_zip_method",
    "upload_zip_too_large",
    "upload_signed_out",
    "upload_no_right",
    "upload_other_reason",
    "upload_not_reached",
    "upload_too_large",
    "upload_refused",
    "upload_not_now",
    "upload_stopped",
)
"""The keys of the texts that the script uses."""


@dataclass(frozen=True)
class FileResult:
    """The outcome of one file: its name, whether it is stored, and words about it."""

    name: str
    stored: bool
    text: str
    study_path: str = ""


def blueprint(console: Console) -> Blueprint:
    """The page, for callers who may store; the gate refuses others."""
    bp = Blueprint(UPLOAD, __name__)

    @bp.get(PATH)
    def show() -> Response:
        return console.page("upload.html", **_values(console))

    return bp


def form(console: Console) -> Blueprint:
    """The form. Its path ends like that of a store request, so that its body is read as it comes in."""
    bp, services = Blueprint(UPLOAD_FORM, __name__), console.services

    @bp.post("/studies")
    def store() -> Response:
        if services.store is None:
            raise Forbidden("nothing can be stored here: the service does not take store requests")
        content_type = ContentType.from_header(request.headers.get("Content-Type", ""))
        if content_type.media_type != _FORM:
            raise UnsupportedMediaType(f"the body is of another type than {_FORM}")
        headers = dict(request.headers)
        check_length(headers, services.store.max_bytes)
        files = FormFiles(parse_boundary(content_type), lambda fields: console.forms.check_token(fields.get(FIELD, "")))
        outcomes = services.store.receive(files, "", announced_length(headers), request.environ["wsgi.input"])
        results = [_result(console, *pair) for pair in zip(files.names, outcomes, strict=True)]
        values = {"results": results, "ae_title": g.root.ae_title, "pages": console.path(g.root.path)}
        return console.page("upload_results.html", **values, spooled=not services.store.waits)

    return bp


def _values(console: Console) -> Mapping[str, Any]:
    services = console.services
    storing = {root.ae_title for root in services.roots if root.store_datastore_id is not None}
    names = [name for name in g.ae_titles if name in storing]
    return {
        "enabled": services.store is not None and g.root.store_datastore_id is not None,
        "storing": services.store is not None,
        "ae_title": g.root.ae_title,
        "ae_titles": names,
        "action": console.path(f"{g.root.path}/studies"),
        "store_url": console.public_path(f"{g.root.path}/studies"),
        "texts": {_data_name(key): getattr(console.texts, key) for key in _SCRIPT_TEXTS},
        "reasons": json.dumps({int(code): getattr(console.texts, key) for code, key in REASONS.items()}),
    }


def _data_name(key: str) -> str:
    """The end of the `data-` attribute for a text: `zip-damaged`, which a script reads as `zipDamaged`."""
    return key.removeprefix("upload_").replace("_", "-")


def _result(console: Console, name: str, outcome: Outcome) -> FileResult:
    path = resource_path(outcome.study_instance_uid) if outcome.study_instance_uid else ""
    if outcome.is_stored:
        text = "upload_stored" if outcome.warning is None else "upload_changed"
        return FileResult(name, True, with_detail(getattr(console.texts, text), outcome.detail), path)
    if outcome.failure in REASONS and name.lower().endswith(".zip"):
        return FileResult(name, False, with_detail(console.texts.upload_zip_without_script, outcome.detail))
    return FileResult(name, False, failure_words(console.texts, outcome))
