"""Data sets with odd values are stored, searched, retrieved and rendered: no process has any value in its log."""

import json
import os
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import requests
from pydicom import dcmread

from tests.service.process import PROGRAM
from tests.service.storing import Storing, storing
from tests.store.dicom_files import data_set, encoded, file

STUDY, SERIES = "1.2.55", "1.2.55.1"
MARK = "GEHEIM"
ODD = {  # what the file has: a value of the same length that its VR does not allow
    b"20260101": b"GEHEIM-1",
    b"120000": b"GEHEIM",
    b"ISO_IR 100": b"GEHEIM_100",
    b"045Y": b"GEH\xff",
    b"77.123": b"GEHEIM",
    b"66.123\\": b"GEHEIM\\",
    b"MONOCHROME2 ": b"GEHEIM-SCALE",
}


def odd(number: int, *changes: bytes) -> bytes:
    """An image whose values are all marked, and some are malformed."""
    content = file(
        f"{SERIES}.{number}",
        study=STUDY,
        series=SERIES,
        size=16,
        PatientName=f"{MARK}^Name",
        PatientID=f"{MARK}-{number}",
        PatientAge="045Y",
        AccessionNumber=f"{MARK} 1",
        StudyDescription=MARK,
        WindowCenter="77.123",
        WindowWidth="66.123\\20",
        RescaleSlope="1",
        RescaleIntercept="0",
        SpecificCharacterSet="ISO_IR 100",
        LossyImageCompression="00",
        ImageComments=MARK * 200,
    )
    for value in changes:
        assert value in content
        content = content.replace(value, ODD[value])
    return content


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storing]:
    with storing(tmp_path_factory.mktemp("values"), LOG_LEVEL="DEBUG", AUDIT="none") as running:
        yield running


def check_silent(text: str) -> None:
    at = text.upper().find(MARK)
    assert at < 0, text[max(0, at - 1000) : at + 200]


def test_no_process_logs_values(running: Storing) -> None:
    files = [odd(1), *(odd(number, value) for number, value in enumerate(ODD, 2)), odd(9, *ODD)]
    statuses = {running.post(content).status_code for content in files} | {running.post(*files).status_code}
    assert statuses <= {200, 202, 409}
    model = dcmread(BytesIO(encoded(data_set(f"{SERIES}.20", study=STUDY, series=SERIES)))).to_json_dict()
    for tag, wrong in (("00280010", [MARK]), ("00100010", [{"Alphabetic": [MARK]}]), ("00080020", {MARK: 1})):
        metadata = json.dumps([{**model, tag: {"vr": "US", "Value": wrong}}])
        body = f"--b\r\nContent-Type: application/dicom+json\r\n\r\n{metadata}"
        kind = 'multipart/related; type="application/dicom+json"; boundary=b'
        requests.post(f"{running.service.root}/studies", f"{body}\r\n--b--", headers={"Content-Type": kind}, timeout=60)
    assert running.found(PatientName=f"{MARK}*")
    for query in (
        f"StudyDate={MARK}",
        f"{MARK}=1",
        f"PatientName={MARK}\\{MARK}",
        f"includefield={MARK}",
        f"limit={MARK}",
    ):
        requests.get(f"{running.service.root}/instances?{query}", timeout=60)
    for number in (1, 2, 5, 7, 9):
        base = f"{running.service.root}/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.{number}"
        for path in ("", "/metadata", "/frames/1", "/rendered", f"/rendered?window={MARK},1,linear", "/thumbnail"):
            for accept in ("*/*", "application/dicom+xml", f"image/{MARK}"):
                assert requests.get(base + path, headers={"Accept": accept}, timeout=60).status_code < 500
    running.service.logs("/thumbnail")
    check_silent(running.service.log)
    check_silent(running.datastore.log)


def test_the_import_logs_no_values(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for number, changes in enumerate([(), *((value,) for value in ODD), tuple(ODD)]):
        (tmp_path / "files" / f"{number}.dcm").write_bytes(odd(number, *changes))
    done = subprocess.run(
        [*PROGRAM, "import", str(tmp_path / "files")],
        env={**os.environ, "DATASTORE_ROOT": str(tmp_path / "data"), "LOG_LEVEL": "DEBUG"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    check_silent(done.stdout + done.stderr)
