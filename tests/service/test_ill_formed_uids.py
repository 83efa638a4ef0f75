"""Objects whose UIDs are no UIDs, as anonymising software leaves them and AHI imports them: what is listed opens."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from dicomweb_client import DICOMwebClient
from PIL import Image

from datastore.embedded import Embedded
from tests.pydicom_files import pydicom_file
from tests.service.process import Service

UIDS = {
    "hash": tuple(f"{digit}5fa52f0e599f17b8186ff18fcdf2b5570a52206a75c4d03afebf5c475dc8758" for digit in "abc"),
    "uuid": tuple(f"2b6a5c4e-9f1d-4c3a-8f57-0d7c5a1b2e{number}" for number in (31, 32, 33)),
    "word": ("ID_1", "ID_1.series", "ID_1.series.7"),
    "absent": ("None", "None", "None"),
    "list": ("['1.2']", "['1.2'", "[]"),
}
"""Study, series, instance."""

AS_IT_IS = "bad_sequence.dcm"
"""A sample with hash values."""

CT = "CT_small.dcm"
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")


def sample(name: str) -> Any:
    return pydicom_file(name)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, root = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("store")
    for name, uids in UIDS.items():
        data_set = sample(CT)
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID = uids
        data_set.file_meta.MediaStorageSOPInstanceUID = uids[2]
        data_set.PatientID = name
        data_set.save_as(folder / f"{name}.dcm")
    sample(AS_IT_IS).save_as(folder / AS_IT_IS)
    Embedded(root).fill([folder])
    return root


@pytest.fixture(scope="module")
def service(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    audit = {"AUDIT": "file", "AUDIT_FILE": str(folder / "audit.log")}
    service = Service(folder, {"DATASTORE_ROOT": str(store), "LINK_SECRET": "s" * 40, **audit})
    yield service
    assert service.stop() == 0


@pytest.fixture(scope="module")
def client(service: Service) -> DICOMwebClient:
    return DICOMwebClient(service.root, permissive_uid=True)


@pytest.mark.parametrize("name", UIDS)
def test_what_is_listed_opens(client: DICOMwebClient, name: str) -> None:
    study, series, instance = UIDS[name]
    (found,) = client.search_for_studies(search_filters={"PatientID": name})
    assert found["0020000D"]["Value"] == [study]
    assert client.search_for_studies(search_filters={"StudyInstanceUID": f"1.2,{study}"}) == [found]
    assert [one["0020000E"]["Value"] for one in client.search_for_series(study)] == [[series]]
    (listed,) = client.search_for_instances(study, series)
    assert listed["00080018"]["Value"] == [instance]
    expected = sample(CT).pixel_array
    assert client.retrieve_instance_frames(study, series, instance, [1]) == [expected.tobytes()]
    (metadata,) = client.retrieve_study_metadata(study)
    assert metadata["00080018"]["Value"] == [instance]
    whole = client.retrieve_instance(study, series, instance)
    assert whole.SOPInstanceUID == whole.file_meta.MediaStorageSOPInstanceUID == instance
    assert np.array_equal(whole.pixel_array, expected)
    picture = client.retrieve_instance_rendered(study, series, instance, media_types=("image/png",))
    assert Image.open(BytesIO(picture)).size == expected.shape[::-1]


@pytest.mark.parametrize("name", UIDS)
def test_urls_in_answers_lead_to_it(service: Service, name: str) -> None:
    study, series, instance = UIDS[name]
    for path in ("/studies", f"/studies/{study}/series", f"/studies/{study}/series/{series}/instances"):
        (found,) = requests.get(f"{service.root}{path}", {"PatientID": name}, timeout=60).json()
        answer = requests.get(found["00081190"]["Value"][0], headers={"Accept": "*/*"}, timeout=60)
        assert (answer.status_code, answer.content.count(b"DICM")) == (200, 1)
    parameters = dict(zip(("studyUID", "seriesUID", "objectUID"), UIDS[name], strict=True))
    answer = requests.get(f"{service.root}/wado", {"requestType": "WADO", **parameters}, timeout=60)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")


def test_a_sample_that_is_so_opens(client: DICOMwebClient) -> None:
    source = sample(AS_IT_IS)
    (ours,) = client.retrieve_series(source.StudyInstanceUID, source.SeriesInstanceUID)
    assert ours.SOPInstanceUID == source.SOPInstanceUID


def test_a_link_and_an_order_take_it(service: Service) -> None:
    study = UIDS["uuid"][0]
    made = service.command("link", study, "--hours", "1")
    root = re.search(r"DICOMweb  http://[^/]+(/link/\S+)", made.stdout)
    assert root, made.stderr
    through = f"http://127.0.0.1:{service.port}{root[1]}/studies"
    answers = [requests.get(f"{through}/{one}/metadata", timeout=60) for one in (study, UIDS["word"][0])]
    assert [answer.status_code for answer in answers] == [200, 400]
    accepted, refused = (
        requests.post(f"{service.root}/prefetch", json={"studies": [uid]}, timeout=60) for uid in (study, "ID_2")
    )
    assert (accepted.status_code, refused.status_code) == (202, 400)


@pytest.mark.parametrize(
    "path",
    [
        "/studies/ID_2",
        "/studies/ID_2/metadata",
        "/studies/ID_2/thumbnail",
        "/studies/ID_2/series",
        "/studies/ID_2/series/count",
        "/studies/ID_1/series/ID_1",
        "/studies/ID_1/series/ID_2/instances",
        "/studies/ID_1/series/ID_1.series/instances/ID_1/frames/1",
        "/studies?StudyInstanceUID=ID_2",
        "/studies/count?StudyInstanceUID=ID_2",
        "/instances?SOPInstanceUID=ID_1,ID_2",
        "/wado?requestType=WADO&studyUID=ID_2&seriesUID=1&objectUID=1",
    ],
)
def test_what_is_not_there_was_ill_formed(service: Service, path: str) -> None:
    """PS3.18 leaves it open; a client that mistook something for a UID is to hear that, rather than that it is gone."""
    answer = requests.get(service.root + path, timeout=60)
    assert answer.status_code == 400
    assert "is not a UID" in answer.json()["detail"]


def test_well_formed_below_it_is_not_there(service: Service) -> None:
    study, series, _ = UIDS["word"]
    assert service.status(f"/studies/{study}/series/{series}/instances/1.2/metadata") == 404


def test_the_audit_names_it_where_it_was_found_and_the_log_does_not(service: Service) -> None:
    audit, study = service.log_path.parent / "audit.log", UIDS["hash"][0]
    for path in (f"{study}/metadata", "DOE_JOHN/metadata", "1.2.3.99/metadata"):
        service.status(f"/studies/{path}")
    service.wait(lambda: "1.2.3.99" in audit.read_text())
    service.logs("1.2.3.99")
    assert study in audit.read_text()
    assert study not in service.log
    assert "DOE" not in audit.read_text() + service.log
