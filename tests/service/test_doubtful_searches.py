"""A search among rows that may be wrong, while the image sets that would tell cannot be read."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from datastore.embedded import Embedded
from tests.datastore.made import with_pixels
from tests.service.ahi import Ahi
from tests.service.process import Service

PATIENTS = {"1.2.7.1": ("", "THETA^ONE"), "1.2.7.2": ("", "THETA^TWO"), "1.2.7.3": ("C", "GAMMA^CARL")}
"""Studies, and the ID and name of each patient; those without an ID share a row of the index."""


@pytest.fixture(scope="module")
def ahi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ahi, Path]]:
    folder = tmp_path_factory.mktemp("doubtful")
    pixels = np.arange(64, dtype="<u2").reshape(1, 8, 8)
    for study, (patient_id, name) in PATIENTS.items():
        uids = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": f"{study}.1.1"}
        file = with_pixels(pixels, PatientID=patient_id, PatientName=name, **uids)
        file.save_as(folder / study, enforce_file_format=True)
    Embedded(folder / "store", clean_index=False).fill([folder])
    server = Ahi(folder / "store")
    yield server, folder
    server.stop()


def names(service: Service) -> tuple[dict[str, str], str]:
    """The name that a search lists for each study, and its warning."""
    answer = requests.get(f"{service.root}/studies", timeout=60)
    assert answer.status_code == 200, answer.text
    listed = {row["0020000D"]["Value"][0]: row["00100010"].get("Value", [{}])[0] for row in answer.json()}
    return {uid: name.get("Alphabetic", "") for uid, name in listed.items()}, answer.headers.get("Warning", "")


@pytest.mark.parametrize("fault", ["GetImageSet:503", "GetImageSet:403", "GetImageSetMetadata:body=html"])
def test_what_cannot_be_checked_has_no_name(ahi: tuple[Ahi, Path], tmp_path: Path, fault: str) -> None:
    server, folder = ahi
    environment = {
        "DATABASE_URL": f"sqlite:///{folder / 'store' / 'index.sqlite'}",
        "AWS_ENDPOINT_URL_MEDICAL_IMAGING": server.url,
        **{"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"},
        **{"AHI_DEADLINE_SECONDS": "3", "WEB_PROCESSES": "1", "FRAME_FETCHERS": "1"},
    }
    server.faults(fault)
    service = Service(tmp_path, environment, healthy=False)
    try:
        found, warning = names(service)
        assert found.pop("1.2.7.3") == "GAMMA^CARL"
        assert set(found.values()) <= {""}
        assert "could not be checked" in warning
        server.faults("")
        service.wait(lambda: names(service) == ({uid: name for uid, (_, name) in PATIENTS.items()}, ""), 60)
        assert "Traceback" not in service.log
    finally:
        server.faults("")
        assert service.stop() == 0
