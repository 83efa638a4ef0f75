"""A service whose index has no instances (POPULATE_INSTANCE_LEVEL=false), as its clients see it."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from dicomweb_client import DICOMwebClient

from tests.datastore.made import written
from tests.qido.stored import data_sets
from tests.service.process import ROOT, Service


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DICOMwebClient]:
    folder = tmp_path_factory.mktemp("without")
    for number, data_set in enumerate(data_sets()):
        written(data_set, folder / "files" / f"{number}.dcm")
    environment = {"DATASTORE_ROOT": str(folder / "store"), "DATASTORE_POPULATE_INSTANCES": "false"}
    command = [sys.executable, "main.py", "import", str(folder / "files")]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=True)
    service = Service(folder / "service", environment)
    yield DICOMwebClient(service.root)
    assert service.stop() == 0


def test_studies_series_and_instances_are_found_and_counted(client: DICOMwebClient) -> None:
    studies = client.search_for_studies(search_filters={"PatientID": "P1"}, fields=["PatientAge"])
    assert [study["00201208"]["Value"] for study in studies] == [[2], [5]]
    assert [study["00101010"]["Value"] for study in studies] == [["051Y"], ["050Y"]]
    (series,) = client.search_for_series("1.2.1", search_filters={"00400275.00400009": "SPS2"})
    assert (series["0020000E"]["Value"], series["00201209"]["Value"]) == (["1.2.1.1"], [4])
    instances = client.search_for_instances("1.2.1", "1.2.1.1", fields=["SliceThickness"])
    assert [instance["00180050"]["Value"] for instance in instances] == [[1.25], [2.5], [1.25], [2.5]]
    assert len(client.search_for_instances()) == 9


def test_what_was_found_is_retrieved(client: DICOMwebClient) -> None:
    for found in client.search_for_instances("1.2.3"):
        uids = (found[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
        assert client.retrieve_instance(*uids).SOPInstanceUID == found["00080018"]["Value"][0]
