"""Orthanc's DICOMweb plugin sends a study: one request, in chunks, with a boundary of 73 characters."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.servers import free_port
from tests.service.storing import Storing, storing
from tests.store.dicom_files import file
from tests.waiting import wait_for

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
pytestmark = pytest.mark.skipif(not (shutil.which("Orthanc") and PLUGIN.exists()), reason="Orthanc is not installed")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storing]:
    with storing(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(params=[True, False], ids=["in chunks", "with a length"])
def orthanc(request: pytest.FixtureRequest, running: Storing, tmp_path: Path) -> Iterator[str]:
    """The URL of an Orthanc that knows the service as a DICOMweb server."""
    port = free_port()
    server = {"Url": f"{running.service.root}/", "ChunkedTransfers": request.param}
    configuration = {
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "StorageDirectory": str(tmp_path / "storage"),
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Servers": {"service": server}},
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(configuration))
    process = subprocess.Popen(["Orthanc", str(tmp_path / "orthanc.json")], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        with suppress(requests.ConnectionError):
            return requests.get(f"{url}/system", timeout=30).ok
        return False

    try:
        wait_for(answers)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def test_orthanc_sends_a_study(orthanc: str, running: Storing, request: pytest.FixtureRequest) -> None:
    study = f"1.2.55.{len(request.node.name)}"
    uids = [f"{study}.1.{number}" for number in range(5)]
    parent = ""
    for uid in uids:
        uploaded = requests.post(
            f"{orthanc}/instances", file(uid, study=study, series=f"{study}.1", size=200), timeout=60
        )
        parent = uploaded.json()["ParentStudy"]
    order: dict[str, Any] = {"Resources": [parent], "Synchronous": True}
    sent = requests.post(f"{orthanc}/dicom-web/servers/service/stow", json=order, timeout=120)
    assert sent.status_code == 200, sent.text
    assert running.found(StudyInstanceUID=study) == uids
