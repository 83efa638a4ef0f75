"""StoreDICOM, AHI's STOW-RS service, over a storage: instances are grouped into image sets as an import does it."""

import mmap
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Response, json, request
from pydicom import Dataset, dcmread

from datastore.importing.deflated import inflates_too_far
from datastore.importing.importer import ImportReport, import_files
from datastore.importing.scan import DicomFile, Scanned, quiet, scan_file
from datastore.pixels.layout import FRAME_BYTES
from datastore.serving.errors import AhiError
from datastore.storage.storage import Storage

MAX_BODY_BYTES = 10**9

_FOLDER = "stow"
_DICOM, _MULTIPART = "application/dicom", "multipart/related"
_CANNOT_UNDERSTAND, _OTHER_STUDY = 0xC000, 0xA900
_CLASS, _INSTANCE, _FAILURE, _URL = "00081150", "00081155", "00081197", "00081190"
_STORED, _FAILED = "00081199", "00081198"
_HEAD = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]


@dataclass(frozen=True)
class _Received:
    """One file of a request, and its UIDs; "" for what it lacks."""

    found: Scanned
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""


class InstanceStore:
    """Stores the instances of requests, one request after another. Safe to share between threads."""

    def __init__(self, storage: Storage, frame_bytes: int = FRAME_BYTES) -> None:
        """`frame_bytes` is that of `import_files`."""
        self._storage = storage
        self._frame_bytes = frame_bytes
        self._turn = threading.Lock()  # `import_files` runs once at a time in a process
        self._folder: Path | None = None

    def store(self, datastore_id: str, study_instance_uid: str | None = None) -> Response:
        """Store the instances in the body of the request; those of another study are refused."""
        if datastore_id != self._storage.datastore.datastore_id:
            raise AhiError("ResourceNotFoundException", "unknown data store")
        with tempfile.TemporaryDirectory(dir=self._made_folder()) as name:
            paths = list(_files(Path(name)))
            if not paths:
                raise AhiError("ValidationException", "the body has no instance")
            with self._turn, quiet():
                received = list(map(_received_file, paths))
                wanted = [one for one in received if study_instance_uid in (None, one.study_instance_uid)]
                self._check_states(wanted)
                found = [one.found for one in wanted]
                report = import_files(found, self._storage, None, frame_bytes=self._frame_bytes, encode_later=True)
        return _answer(datastore_id, received, wanted, report)

    def _made_folder(self) -> Path:
        """The folder for what is received. What a killed process left there is deleted at the first call."""
        with self._turn:
            if self._folder is None:
                folder = self._storage.root / _FOLDER
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(mode=0o700)
                self._folder = folder
        return self._folder

    def _check_states(self, received: Sequence[_Received]) -> None:
        """ConflictException if an image set of a series that grows is being written."""
        for study_uid, series_uid in {(one.study_instance_uid, one.series_instance_uid) for one in received}:
            if any(found.state == "LOCKED" for found in self._storage.image_sets_of(study_uid, series_uid)):
                raise AhiError("ConflictException", "an image set of the series is being written; try again")


def _files(folder: Path) -> Iterator[Path]:
    """The parts of the body of the request as files, in their order; ValidationException."""
    kind, parameters = request.mimetype, request.mimetype_params
    if kind not in (_DICOM, _MULTIPART) or parameters.get("type", _DICOM) != _DICOM:
        raise AhiError("ValidationException", "the body is neither application/dicom nor multipart/related of it")
    with _received() as body:
        size_bytes = len(body)
        if size_bytes > MAX_BODY_BYTES:
            raise AhiError("ValidationException", f"the body has more than {MAX_BODY_BYTES} bytes")
        if size_bytes != (request.content_length or size_bytes):
            raise AhiError("ValidationException", "the body breaks off")
        parts = [(0, size_bytes)] if kind == _DICOM else _parts(body, parameters.get("boundary", "").encode())
        for number, (start, end) in enumerate(parts if size_bytes else ()):
            path = folder / f"{number:06d}"
            with memoryview(body)[start:end] as part:
                path.write_bytes(part)
            if isinstance(body, mmap.mmap):
                body.madvise(mmap.MADV_DONTNEED)  # or all of it counts as memory of this process
            yield path


@contextmanager
def _received() -> Iterator[bytes | mmap.mmap]:
    """The body of the request. The server has received all of it, a large one into a file."""
    stream = request.environ["wsgi.input"]
    try:
        body = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # it is in memory, or empty
        yield stream.read()
        return
    with body:
        yield body


def _parts(body: bytes | mmap.mmap, boundary: bytes) -> Iterator[tuple[int, int]]:
    """The content of each part: from where, and to before where; ValidationException."""
    delimiter = b"\r\n--" + boundary
    at = 0 if body[: len(delimiter) - 2] == delimiter[2:] else body.find(delimiter) + 2
    if not boundary or at == 1:
        raise AhiError("ValidationException", "the body does not have its boundary")
    while body[at + len(delimiter) - 2 : at + len(delimiter)] != b"--":
        start, end = body.find(b"\r\n\r\n", at), body.find(delimiter, at)
        if start < 0 or end < start:
            raise AhiError("ValidationException", "the body breaks off")
        yield start + 4, end
        at = end + 2


def _received_file(path: Path) -> _Received:
    found = scan_file(path)
    if isinstance(found, DicomFile) and not found.lacks_uids:
        return _Received(
            found, found.sop_class_uid, found.sop_instance_uid, found.study_instance_uid, found.series_instance_uid
        )
    try:
        if inflates_too_far(path):
            return _Received(found)
        head: Dataset = dcmread(path, specific_tags=_HEAD, stop_before_pixels=True)
        return _Received(found, *(str(head.get(name, "")) for name in _HEAD))
    except Exception:  # noqa: BLE001 - pydicom raises of every kind on hostile bytes
        return _Received(found)


def _answer(
    datastore_id: str, received: Sequence[_Received], wanted: Sequence[_Received], report: ImportReport
) -> Response:
    refused = {one.path for one in report.refused}
    stored, failed = [], []
    for one in received:
        if one not in wanted:
            failed.append(_item(one) | _number(_FAILURE, "US", _OTHER_STUDY))
        elif one.found.path in refused or not one.sop_instance_uid:
            failed.append(_item(one) | _number(_FAILURE, "US", _CANNOT_UNDERSTAND))
        else:
            stored.append(_item(one) | _url(datastore_id, one))
    document = {_STORED: {"vr": "SQ", "Value": stored}} if stored else {}
    document |= {_FAILED: {"vr": "SQ", "Value": failed}} if failed else {}
    status = 409 if not stored else 202 if failed else 200
    return Response(json.dumps(document), status, content_type="application/dicom+json")


def _item(one: _Received) -> dict[str, Any]:
    return {
        _CLASS: {"vr": "UI", "Value": [one.sop_class_uid]},
        _INSTANCE: {"vr": "UI", "Value": [one.sop_instance_uid]},
    }


def _url(datastore_id: str, one: _Received) -> dict[str, Any]:
    path = f"/studies/{one.study_instance_uid}/series/{one.series_instance_uid}/instances/{one.sop_instance_uid}"
    return {_URL: {"vr": "UR", "Value": [f"{request.host_url}datastore/{datastore_id}{path}"]}}


def _number(tag: str, vr: str, value: int) -> dict[str, Any]:
    return {tag: {"vr": vr, "Value": [value]}}
