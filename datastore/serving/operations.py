"""The operations of the AHI protocol as views over a storage."""

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flask import Response, jsonify, request, send_file

from datastore.pixels import kept
from datastore.pixels.codecs import LOSSLESS
from datastore.serving.answers import datastore_json, properties_json, summary_json
from datastore.serving.errors import AhiError
from datastore.serving.search import Criteria
from datastore.serving.stow import InstanceStore
from datastore.storage.records import ImageSetVersion, UnknownFrame, UnknownImageSet
from datastore.storage.storage import Storage

LARGEST_PAGE = 50
_ID = re.compile(r"[0-9a-z]{32}")
_VERSION = re.compile(r"[0-9]{1,9}")
_IMAGE_SET = "/datastore/<datastore_id>/imageSet/<image_set_id>"


class Operations:
    """The views; each raises AhiError, UnknownImageSet or UnknownFrame."""

    def __init__(self, storage: Storage, instances: InstanceStore) -> None:
        self._storage = storage
        self._instances = instances
        self._encoder = kept.LateEncoder(LOSSLESS[storage.datastore.lossless_storage_format])

    def routes(self) -> Iterator[tuple[str, str, str, Callable[..., Response]]]:
        """The name of each operation, its method, its path and its view."""
        yield "GetImageSetMetadata", "POST", f"{_IMAGE_SET}/getImageSetMetadata", self.get_image_set_metadata
        yield "GetImageFrame", "POST", f"{_IMAGE_SET}/getImageFrame", self.get_image_frame
        yield "GetImageSet", "POST", f"{_IMAGE_SET}/getImageSet", self.get_image_set
        yield "ListImageSetVersions", "POST", f"{_IMAGE_SET}/listImageSetVersions", self.list_image_set_versions
        yield "SearchImageSets", "POST", "/datastore/<datastore_id>/searchImageSets", self.search_image_sets
        yield "GetDatastore", "GET", "/datastore/<datastore_id>", self.get_datastore
        yield "ListDatastores", "GET", "/datastore", self.list_datastores
        yield "StoreDICOM", "POST", "/datastore/<datastore_id>/studies", self._instances.store
        yield "StoreDICOMStudy", "POST", "/datastore/<datastore_id>/studies/<study_instance_uid>", self._instances.store

    def get_image_set_metadata(self, datastore_id: str, image_set_id: str) -> Response:
        """The metadata blob, compressed."""
        image_set = self._readable(datastore_id, image_set_id)
        blob = self._storage.metadata(image_set_id, image_set.version)
        return Response(blob, content_type="application/json", headers={"Content-Encoding": "gzip"})

    def get_image_frame(self, datastore_id: str, image_set_id: str) -> Response:
        """The bytes of a frame, as they are stored; one that was kept as pixels is encoded now."""
        self._readable(datastore_id, image_set_id)
        frame_id = _checked("imageFrameId", json_body().get("imageFrameId"))
        frame = self._storage.frame(image_set_id, frame_id)
        content_type = frame.content_type
        try:
            if content_type == kept.CONTENT_TYPE:
                self._encoder.encode(frame.path)
                content_type = self._encoder.content_type
            return send_file(frame.path, mimetype=content_type, conditional=False, etag=False)
        except FileNotFoundError:  # deleted since the query
            raise UnknownFrame(frame_id) from None

    def get_image_set(self, datastore_id: str, image_set_id: str) -> Response:
        """The properties of one version, by default the latest."""
        image_set = self._image_set(datastore_id, image_set_id)
        arn = f"{self._storage.datastore.arn}/imageset/{image_set_id}"
        status = {"imageSetWorkflowStatus": image_set.workflow_status}
        return jsonify({"datastoreId": datastore_id, "imageSetArn": arn} | status | properties_json(image_set))

    def list_image_set_versions(self, datastore_id: str, image_set_id: str) -> Response:
        """A page of the versions, newest first."""
        self._image_set(datastore_id, image_set_id)
        versions = [
            properties_json(version) | {"ImageSetWorkflowStatus": version.workflow_status}  # spelled so in the model
            for version in sorted(self._storage.versions(image_set_id), key=lambda version: -version.version)
        ]
        return jsonify(_page("imageSetPropertiesList", versions))

    def search_image_sets(self, datastore_id: str) -> Response:
        """A page of the image sets that meet the criteria in the body."""
        self._check_datastore(datastore_id)
        criteria = Criteria.from_json(json_body())
        found, token = criteria.page(self._storage, _page_size(), request.args.get("nextToken"))
        next_page = {"nextToken": token} if token else {}
        summaries = list(map(summary_json, found))
        return jsonify({"imageSetsMetadataSummaries": summaries, "sort": criteria.sort_json()} | next_page)

    def get_datastore(self, datastore_id: str) -> Response:
        """The properties of the data store."""
        self._check_datastore(datastore_id)
        return jsonify({"datastoreProperties": datastore_json(self._storage.datastore)})

    def list_datastores(self) -> Response:
        """The one data store, if it has the requested status."""
        summary = datastore_json(self._storage.datastore)
        summary.pop("losslessStorageFormat")  # a member of the properties only
        status = request.args.get("datastoreStatus", summary["datastoreStatus"])
        return jsonify(_page("datastoreSummaries", [summary] if status == summary["datastoreStatus"] else []))

    def _check_datastore(self, datastore_id: str) -> None:
        _checked("datastoreId", datastore_id)
        if datastore_id != self._storage.datastore.datastore_id:
            raise AhiError("ResourceNotFoundException", "unknown data store")

    def _image_set(self, datastore_id: str, image_set_id: str) -> ImageSetVersion:
        self._check_datastore(datastore_id)
        image_set = self._storage.image_set(_checked("imageSetId", image_set_id), _version())
        if image_set.state == "DELETED":
            raise UnknownImageSet(image_set_id)
        return image_set

    def _readable(self, datastore_id: str, image_set_id: str) -> ImageSetVersion:
        image_set = self._image_set(datastore_id, image_set_id)
        if image_set.state == "LOCKED":
            raise AhiError("ConflictException", "the image set is being written; try again")
        return image_set


def json_body() -> dict[str, Any]:
    """The JSON object in the body of the request, empty without a body; ValidationException."""
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


def _page_size() -> int:
    most = request.args.get("maxResults", str(LARGEST_PAGE))
    if not re.fullmatch(r"[0-9]{1,2}", most, re.ASCII) or not 1 <= int(most) <= LARGEST_PAGE:
        raise AhiError("ValidationException", f"maxResults is not between 1 and {LARGEST_PAGE}")
    return int(most)


def _page(name: str, items: Sequence[Any]) -> dict[str, Any]:
    """The requested page of `items`, and the token of the next page, which encodes its start."""
    start = _start(request.args.get("nextToken"))
    end = start + _page_size()
    page: dict[str, Any] = {name: list(items[start:end])}
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
