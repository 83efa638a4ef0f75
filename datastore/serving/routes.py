"""The read operations of the AHI protocol over the image sets of a folder.

REST-JSON of the service model `medical-imaging`, version 2023-07-19: times are seconds since 1970, errors are
`{"message"}` with their type in `x-amzn-errortype`. Any host name is answered, with or without `runtime-` in front.
`/faults` and `/calls` are for tests; AHI does not have them.
"""

import base64
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from flask import Flask, Response, jsonify, request, send_file
from werkzeug.exceptions import HTTPException

from datastore.serving.answers import datastore_json, properties_json, summary_json
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
from datastore.serving.search import Criteria
from datastore.storage.records import ImageSetVersion, UnknownFrame, UnknownImageSet
from datastore.storage.storage import Storage

log = logging.getLogger(__name__)
T = TypeVar("T")

LARGEST_PAGE = 50
_ID = re.compile(r"[0-9a-z]{32}")
_VERSION = re.compile(r"[0-9]{1,9}")
_LARGEST_REQUEST_BYTES = 64 * 1024
_SPOIL = "datastore.spoil"  # the key of the effects on the body, in the environment of a request
_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/[a-z0-9-]+/medical-imaging/aws4_request,.*Signature=")


def create_app(storage: Storage, faults: Faults, *, signature_needed: bool = False) -> Flask:
    """The Flask application of a data store, with `faults`.

    `signature_needed` refuses calls without a SigV4 signature; the signature itself is not verified.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_REQUEST_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]  # typed as the abstract provider
    _register_operations(app, storage)
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


def _register_operations(app: Flask, storage: Storage) -> None:
    """Add a route for each operation of AHI; its name is the endpoint."""

    def datastore(datastore_id: str) -> None:
        _checked("datastoreId", datastore_id)
        if datastore_id != storage.datastore.datastore_id:
            raise AhiError("ResourceNotFoundException", "unknown data store")

    def image_set(datastore_id: str, image_set_id: str) -> ImageSetVersion:
        datastore(datastore_id)
        found = storage.image_set(_checked("imageSetId", image_set_id), _version())
        if found.state == "DELETED":
            raise UnknownImageSet(image_set_id)
        return found

    def readable(datastore_id: str, image_set_id: str) -> ImageSetVersion:
        found = image_set(datastore_id, image_set_id)
        if found.state == "LOCKED":
            raise AhiError("ConflictException", "the image set is being written; try again")
        return found

    def get_image_set_metadata(datastore_id: str, image_set_id: str) -> Response:
        found = readable(datastore_id, image_set_id)
        blob = storage.metadata(image_set_id, found.version)
        return Response(blob, content_type="application/json", headers={"Content-Encoding": "gzip"})

    def get_image_frame(datastore_id: str, image_set_id: str) -> Response:
        readable(datastore_id, image_set_id)
        frame_id = _checked("imageFrameId", _body().get("imageFrameId"))
        frame = storage.frame(image_set_id, frame_id)
        try:
            return send_file(frame.path, mimetype=frame.content_type, conditional=False, etag=False)
        except FileNotFoundError:  # deleted since the query
            raise UnknownFrame(frame_id) from None

    def get_image_set(datastore_id: str, image_set_id: str) -> Response:
        found = image_set(datastore_id, image_set_id)
        arn = f"{storage.datastore.arn}/imageset/{image_set_id}"
        status = {"imageSetWorkflowStatus": found.workflow_status}
        return jsonify({"datastoreId": datastore_id, "imageSetArn": arn} | status | properties_json(found))

    def list_image_set_versions(datastore_id: str, image_set_id: str) -> Response:
        image_set(datastore_id, image_set_id)
        versions = [
            properties_json(version) | {"ImageSetWorkflowStatus": version.workflow_status}  # spelled so in the model
            for version in sorted(storage.versions(image_set_id), key=lambda version: -version.version)
        ]
        return jsonify(_page("imageSetPropertiesList", versions))

    def search_image_sets(datastore_id: str) -> Response:
        datastore(datastore_id)
        criteria = Criteria.from_json(_body())
        found = criteria.select(each for each in storage.image_sets() if each.state != "DELETED")
        return jsonify(_page("imageSetsMetadataSummaries", found, summary_json) | {"sort": criteria.sort_json()})

    def get_datastore(datastore_id: str) -> Response:
        datastore(datastore_id)
        return jsonify({"datastoreProperties": datastore_json(storage.datastore)})

    def list_datastores() -> Response:
        ours = datastore_json(storage.datastore)
        ours.pop("losslessStorageFormat")  # a member of the properties only
        status = request.args.get("datastoreStatus", ours["datastoreStatus"])
        return jsonify(_page("datastoreSummaries", [ours] if status == ours["datastoreStatus"] else []))

    one = "/datastore/<datastore_id>/imageSet/<image_set_id>"
    for operation, method, path, view in (
        ("GetImageSetMetadata", "POST", f"{one}/getImageSetMetadata", get_image_set_metadata),
        ("GetImageFrame", "POST", f"{one}/getImageFrame", get_image_frame),
        ("GetImageSet", "POST", f"{one}/getImageSet", get_image_set),
        ("ListImageSetVersions", "POST", f"{one}/listImageSetVersions", list_image_set_versions),
        ("SearchImageSets", "POST", "/datastore/<datastore_id>/searchImageSets", search_image_sets),
        ("GetDatastore", "GET", "/datastore/<datastore_id>", get_datastore),
        ("ListDatastores", "GET", "/datastore", list_datastores),
    ):
        app.add_url_rule(path, operation, view, methods=[method])


def _register_controls(app: Flask, faults: Faults) -> None:
    """Add `/faults` (GET, PUT `{"faults": text, or a list of texts}`, DELETE) and `/calls` (GET, DELETE)."""

    @app.get("/faults")
    def get_faults() -> Response:
        return jsonify({"faults": faults.in_force()})

    @app.put("/faults")
    def put_faults() -> Response:
        texts = _body().get("faults")
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
        faults.forget_calls()
        return get_calls()


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


def _body() -> dict[str, Any]:
    body = request.get_json(silent=True, force=True) if request.content_length else {}
    if not isinstance(body, dict):
        raise AhiError("ValidationException", "the body is not a JSON object")
    return body


def _checked(name: str, value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise AhiError("ValidationException", f"{name} is not 32 characters of 0-9 and a-z")
    return value


def _version() -> int | None:
    text = request.args.get("version")
    if text is None:
        return None
    if not _VERSION.fullmatch(text):
        raise AhiError("ValidationException", "version is not a number")
    return int(text)


def _page(name: str, items: Sequence[T], to_json: Callable[[T], Any] = lambda item: item) -> dict[str, Any]:
    """The requested page of `items`, and the token of the next page, which encodes its start."""
    most = request.args.get("maxResults", str(LARGEST_PAGE))
    if not re.fullmatch(r"[0-9]{1,2}", most, re.ASCII) or not 1 <= int(most) <= LARGEST_PAGE:
        raise AhiError("ValidationException", f"maxResults is not between 1 and {LARGEST_PAGE}")
    start = _start(request.args.get("nextToken"))
    end = start + int(most)
    page: dict[str, Any] = {name: [to_json(item) for item in items[start:end]]}
    if end < len(items):
        page["nextToken"] = base64.urlsafe_b64encode(str(end).encode()).decode()
    return page


def _start(token: str | None) -> int:
    if token is None:
        return 0
    try:
        text = base64.urlsafe_b64decode(token).decode("ascii")
    except ValueError:
        text = ""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise AhiError("ValidationException", "nextToken is not one of ours")
    return int(text)
