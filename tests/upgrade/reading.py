"""What a viewer reads of a whole archive: studies, series, instances, and the frames of each."""

import hashlib
from typing import Any

import requests

_KEYS = {
    "StudyInstanceUID": "0020000D",
    "PatientName": "00100010",
    "PatientID": "00100020",
    "StudyDate": "00080020",
    "ModalitiesInStudy": "00080061",
    "NumberOfStudyRelatedSeries": "00201206",
    "NumberOfStudyRelatedInstances": "00201208",
}
_FRAMES = {
    "native": 'multipart/related; type="application/octet-stream"',
    "stored": 'multipart/related; type="image/jphc"; transfer-syntax=*',
}


def read_archive(root: str) -> dict[str, Any]:
    """The work list and the objects of a service; a JSON value that does not depend on its address."""
    studies = _get(f"{root}/studies").json()
    objects: dict[str, Any] = {}
    for instance in _get(f"{root}/instances?includefield=NumberOfFrames").json():
        study, series, uid = (instance[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
        path = f"/studies/{study}/series/{series}/instances/{uid}"
        objects[path] = _read_frames(root + path, instance)
    return {"studies": sorted(map(_row, studies), key=lambda row: str(row["StudyInstanceUID"])), "objects": objects}


def _row(study: dict[str, Any]) -> dict[str, Any]:
    return {name: study.get(tag, {}).get("Value", []) for name, tag in _KEYS.items()}


def _read_frames(url: str, instance: dict[str, Any]) -> dict[str, str]:
    """The digest of all frames in each encoding; nothing for an object without pixels."""
    if "00280010" not in instance or "Value" not in instance["00280010"]:
        return {}
    numbers = ",".join(map(str, range(1, 1 + int(instance.get("00280008", {}).get("Value", [1])[0]))))
    return {name: _digest(_get(f"{url}/frames/{numbers}", accept)) for name, accept in _FRAMES.items()}


def _digest(answer: requests.Response) -> str:
    """The SHA-256 of all bodies of a multipart answer, one after the other."""
    boundary = answer.headers["Content-Type"].partition("boundary=")[2].partition(";")[0].strip('"')
    parts = answer.content.split(f"--{boundary}".encode())[1:-1]
    return hashlib.sha256(b"".join(part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts)).hexdigest()


def _get(url: str, accept: str = "application/dicom+json") -> requests.Response:
    answer = requests.get(url, headers={"Accept": accept}, timeout=60)
    assert answer.status_code == 200, (url, answer.text)
    return answer
