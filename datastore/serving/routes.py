"""The Flask application of the data store: operations, errors, and faults on demand.

REST-JSON of the service model `medical-imaging`, version 2023-07-19: times are seconds since 1970, errors are
`{"message"}` with their type in `x-amzn-errortype`. Any host name is answered, with or without `runtime-` in front.
`/faults` and `/calls` are for tests; AHI does not have them.
"""

import logging
import re
import time
from collections.abc import Iterator, Sequence

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from datastore.pixels.layout import FRAME_BYTES
from datastore.serving.effects import (
    ConnectionCut,
    Cut,
    Effect,
    Refuse,
    Wait,
    announced_bytes,
    announced_type,
    damaged,
    sent,
)
from datastore.serving.errors import AhiError
from datastore.serving.faults import OPERATIONS, Faults, parse_faults
from datastore.serving.operations import Operations, json_body
from datastore.serving.stow import InstanceStore
from datastore.storage.records import UnknownFrame, UnknownImageSet
from datastore.storage.storage import Storage

log = logging.getLogger(__name__)

_LARGEST_REQUEST_BYTES = 64 * 1024
_SPOIL = "datastore.spoil"  # the key of the effects on the body, in the environment of a request
_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/[a-z0-9-]+/medical-imaging/aws4_request,.*Signature=")


def create_app(
    storage: Storage, faults: Faults, *, signature_needed: bool = False, frame_bytes: int = FRAME_BYTES
) -> Flask:
    """The Flask application of a data store, with `faults`. `frame_bytes` is that of `import_files`.

    `signature_needed` refuses calls without a SigV4 signature; the signature itself is not verified.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_REQUEST_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]  # typed as the abstract provider
    _register_operations(app, storage, InstanceStore(storage, frame_bytes))
    _register_controls(app, faults)
    _register_errors(app)

    @app.before_request
    def disturb() -> Response | None:
        if request.endpoint not in OPERATIONS:
            return None
        if signature_needed and not _SIGNED.match(request.headers.get("Authorization", "")):
            raise AhiError("AccessDeniedException", "the call is not signed")
        effects = faults.meet(request.endpoint, _targets())
        answer = _disturbed(effects)
        if answer is None:
            request.environ[_SPOIL] = [effect for effect in effects if not isinstance(effect, Wait)]
        return answer

    @app.after_request
    def spoil(response: Response) -> Response:
        effects = request.environ.get(_SPOIL)
        if not effects:
            return response
        response.direct_passthrough = False
        body = damaged(response.get_data(), effects)
        response.response = sent(body, effects)
        response.content_length = announced_bytes(body, effects)
        if other := announced_type(effects):
            response.content_type = other
        return response

    return app


def _register_operations(app: Flask, storage: Storage, instances: InstanceStore) -> None:
    """Add a route for each operation of AHI; its name is the endpoint."""
    for operation, method, path, view in Operations(storage, instances).routes():
        app.add_url_rule(path, operation, view, methods=[method])


def _register_controls(app: Flask, faults: Faults) -> None:
    """Add `/faults` (GET, PUT `{"faults": text, or a list of texts}`, DELETE) and `/calls` (GET, DELETE)."""

    @app.get("/faults")
    def get_faults() -> Response:
        return jsonify({"faults": faults.in_force()})

    @app.put("/faults")
    def put_faults() -> Response:
        texts = json_body().get("faults")
        if not isinstance(texts, str | list):
            raise AhiError("ValidationException", 'write {"faults": "GetImageFrame:429:x3,*:latency=40ms"}')
        try:
            faults.replace(parse_faults(texts if isinstance(texts, str) else ",".join(map(str, texts))))
        except ValueError as error:
            raise AhiError("ValidationException", str(error)) from None
        return get_faults()

    @app.delete("/faults")
    def delete_faults() -> Response:
        faults.replace(())
        return get_faults()

    @app.get("/calls")
    def get_calls() -> Response:
        return jsonify(faults.calls())

    @app.delete("/calls")
    def delete_calls() -> Response:
        return jsonify(faults.take_calls())


def _register_errors(app: Flask) -> None:
    @app.errorhandler(AhiError)
    def refuse(error: AhiError) -> Response:
        answer = jsonify({"message": str(error)})
        answer.status_code = error.status
        answer.headers["x-amzn-errortype"] = error.kind
        return answer

    @app.errorhandler(UnknownImageSet)
    def unknown_image_set(_error: UnknownImageSet) -> Response:
        return refuse(AhiError("ResourceNotFoundException", "unknown image set or version"))

    @app.errorhandler(UnknownFrame)
    def unknown_frame(_error: UnknownFrame) -> Response:
        return refuse(AhiError("ResourceNotFoundException", "unknown image frame"))

    @app.errorhandler(HTTPException)
    def not_understood(error: HTTPException) -> Response:
        if error.code in (404, 405):  # no such path, or not by this method
            return refuse(AhiError("UnknownOperationException", "unknown operation"))
        return refuse(AhiError("ValidationException", error.description or "the request is ill-formed"))

    @app.errorhandler(Exception)
    def failed(_error: Exception) -> Response:
        log.exception("data store failed operation=%s", request.endpoint)
        return refuse(AhiError("InternalServerException", "internal error"))


def _disturbed(effects: Sequence[Effect]) -> Response | None:
    """Apply the effects that come before an answer; a response if one replaces the answer."""
    for effect in effects:
        match effect:
            case Wait(seconds):
                time.sleep(seconds)
            case Refuse(status):
                raise AhiError.of_status(status, "a fault was asked for")
            case Cut(in_body=False):
                return Response(_cut())
    return None


def _cut() -> Iterator[bytes]:
    raise ConnectionCut
    yield b""


def _targets() -> set[str]:
    """The IDs of the image set and the frame of a call."""
    body = request.get_json(silent=True, force=True) if request.endpoint == "GetImageFrame" else None
    frame_id = body.get("imageFrameId") if isinstance(body, dict) else None
    return {str(target) for target in ((request.view_args or {}).get("image_set_id"), frame_id) if target}
