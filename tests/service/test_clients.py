"""Real clients over a real socket: what they ask for, they understand."""

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import requests
from dicomtrolley.core import InstanceReference, QueryLevels
from dicomtrolley.qido_rs import QidoRS, RelationalQuery
from dicomtrolley.wado_rs import WadoRS
from dicomweb_client import DICOMwebClient
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from datastore.embedded import Embedded
from tests.pydicom_files import pydicom_file, pydicom_path
from tests.service.process import Service

SLICES = 12


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    """A CT series whose files are named in another order than their instances, and a second series of the study."""
    path = pydicom_path("CT_small.dcm")
    study, (first, second) = generate_uid(), (generate_uid(), generate_uid())
    made: list[Dataset] = []
    for number in range(SLICES, 0, -1):
        data_set = dcmread(path)
        data_set.StudyInstanceUID = study
        data_set.SeriesInstanceUID = second if number > SLICES - 2 else first
        data_set.SeriesNumber = 2 if number > SLICES - 2 else 1
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data_set.InstanceNumber = number
        data_set.PixelData = (data_set.pixel_array + number).tobytes()
        made.append(data_set)
    return made[::-1]


@pytest.fixture(scope="module")
def service(series: list[Dataset], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("clients")
    for position, data_set in enumerate(reversed(series)):
        data_set.save_as(folder / f"{position:02}.dcm")
    _conflicting(series[0]).save_as(folder / "99.dcm")
    root = tmp_path_factory.mktemp("clients-store")
    Embedded(root).fill([folder])
    service = Service(tmp_path_factory.mktemp("clients-service"), {"DATASTORE_ROOT": str(root)})
    yield service
    service.stop()


def _conflicting(data_set: Dataset) -> Dataset:
    """The same instance under another patient's name: a second, non-primary image set of the series."""
    other = pydicom_file("CT_small.dcm")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SeriesNumber", "InstanceNumber"):
        setattr(other, keyword, data_set[keyword].value)
    other.PatientName = "Somebody^Else"
    return other


@pytest.fixture
def client(service: Service) -> DICOMwebClient:
    return DICOMwebClient(service.root)


def _numbers(data_sets: list[Dataset]) -> list[int]:
    return [int(data_set.InstanceNumber) for data_set in data_sets]


def test_a_study_comes_whole_and_in_display_order(client: DICOMwebClient, series: list[Dataset]) -> None:
    received = client.retrieve_study(series[0].StudyInstanceUID)
    assert {data_set.SOPInstanceUID for data_set in received} == {data_set.SOPInstanceUID for data_set in series}
    for number in (1, 2):
        shown = _numbers([data_set for data_set in received if data_set.SeriesNumber == number])
        assert shown == sorted(shown)


def test_a_series_is_streamed_pixel_for_pixel(client: DICOMwebClient, series: list[Dataset]) -> None:
    uids = series[0].StudyInstanceUID, series[0].SeriesInstanceUID
    received = list(client.iter_series(*uids))
    assert _numbers(received) == list(range(1, SLICES - 1))
    for ours, source in zip(received, series, strict=False):
        assert np.array_equal(ours.pixel_array, source.pixel_array)
        assert ours.PatientName == source.PatientName


def test_an_instance_of_two_image_sets_is_listed_once_and_taken_from_the_primary_one(
    client: DICOMwebClient, series: list[Dataset]
) -> None:
    uids = series[0].StudyInstanceUID, series[0].SeriesInstanceUID
    metadata = client.retrieve_series_metadata(*uids)
    assert [element["00200013"]["Value"] for element in metadata] == [[number] for number in range(1, SLICES - 1)]
    assert {element["00100010"]["Value"][0]["Alphabetic"] for element in metadata} == {"CompressedSamples^CT1"}


def test_searching_finds_what_retrieval_delivers(client: DICOMwebClient, series: list[Dataset]) -> None:
    study = series[0].StudyInstanceUID
    found = client.search_for_series(study)
    assert [one["00200011"]["Value"] for one in found] == [[1], [2]]
    for one in found:
        uid = one["0020000E"]["Value"][0]
        instances = client.search_for_instances(study, uid, get_remaining=True)
        delivered = client.retrieve_series(study, uid)
        assert one["00201209"]["Value"] == [len(delivered)]
        assert [each["00080018"]["Value"][0] for each in instances] == [each.SOPInstanceUID for each in delivered]


def test_every_retrieve_url_answers(client: DICOMwebClient, series: list[Dataset]) -> None:
    study = series[0].StudyInstanceUID
    for found in (client.search_for_studies(), client.search_for_series(study), client.search_for_instances(study)):
        for one in found:
            url = one["00081190"]["Value"][0]
            assert requests.get(f"{url}/metadata", timeout=60).status_code == 200


def test_pages_are_the_whole_without_repeats(client: DICOMwebClient, series: list[Dataset]) -> None:
    pages = [client.search_for_instances(series[0].StudyInstanceUID, limit=5, offset=at) for at in (0, 5, 10, 15)]
    uids = [one["00080018"]["Value"][0] for page in pages for one in page]
    assert len(uids) == len(set(uids)) == SLICES
    assert pages[-1] == []


def test_frames_come_in_the_order_asked_for_stored_or_native(client: DICOMwebClient, service: Service) -> None:
    study = client.search_for_studies(limit=1)[0]["0020000D"]["Value"][0]
    first = client.search_for_instances(study)[0]
    uids = study, first["0020000E"]["Value"][0], first["00080018"]["Value"][0]
    (native,) = client.retrieve_instance_frames(*uids, frame_numbers=[1])
    stored_types = (("application/octet-stream", "*"),)
    (stored,) = client.retrieve_instance_frames(*uids, frame_numbers=[1], media_types=stored_types)
    assert len(native) == 128 * 128 * 2
    assert stored.startswith(b"\xff\x4f\xff\x51")


def test_dicomtrolley_finds_and_downloads(service: Service, series: list[Dataset]) -> None:
    session = requests.Session()
    study, uid = series[0].StudyInstanceUID, series[0].SeriesInstanceUID
    found = QidoRS(session, service.root).find_studies(
        RelationalQuery(StudyInstanceUID=study, query_level=QueryLevels.INSTANCE)
    )
    assert sum(len(one.instances) for study_found in found for one in study_found.series) == SLICES
    reference = InstanceReference(study_uid=study, series_uid=uid, instance_uid=series[0].SOPInstanceUID)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (instance,) = WadoRS(session, service.root).datasets([reference])
    assert np.array_equal(instance.pixel_array, series[0].pixel_array)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies/1.2.3/metadata", 404),
        ("/studies/1.2.3/series", 404),
        ("/studies/{study}/series/1.2.3", 404),
        ("/studies/1.2.3/series/{series}/metadata", 404),
        ("/studies/{study}/series/{other}/instances/{instance}", 404),
        ("/studies/{study}/series/{series}/instances/{instance}/frames/2", 404),
        ("/studies/{study}/series/{series}/instances/{instance}/frames/0", 400),
        ("/studies/{study}/series/{series}/instances/{instance}/frames/-1", 400),
        ("/studies/{study}/series/{series}/instances/{instance}/frames/1,1", 400),
        ("/studies/{study}/series/{series}/instances/{instance}/frames/a", 400),
        ("/studies/one/metadata", 400),
        ("/studies/1..2", 400),
        ("/studies/{study}/series/x/metadata", 400),
        ("/studies/%FF/metadata", 400),
        ("/studies?limit=x", 400),
        ("/studies?limit=-1", 400),
        ("/studies?StudyDate=yesterday", 400),
        ("/studies?StudyInstanceUID=1.a", 400),
        ("/studies?PatientName=%27%20OR%201=1--", 200),
        ("/studies?%FF=%FE&accept=%FF", 200),
        ("/nothing", 404),
    ],
)
def test_bad_input_is_told_what_is_wrong_with_it(
    service: Service, series: list[Dataset], path: str, status: int
) -> None:
    first, last = series[0], series[-1]
    path = path.format(
        study=first.StudyInstanceUID,
        series=first.SeriesInstanceUID,
        other=last.SeriesInstanceUID,
        instance=first.SOPInstanceUID,
    )
    answer = requests.get(service.root + path, timeout=60)
    assert answer.status_code == status
    if status >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == status
        assert answer.json()["detail"]
    for leaked in ("Traceback", "SELECT", "sqlite", "/work"):
        assert leaked not in answer.text


@pytest.mark.parametrize("accept", ["text/html", "multipart/related; type=image/jpeg", "application/dicom+xml"])
def test_406_says_what_is_offered(service: Service, series: list[Dataset], accept: str) -> None:
    one = series[0]
    path = f"/studies/{one.StudyInstanceUID}/series/{one.SeriesInstanceUID}/instances/{one.SOPInstanceUID}/frames/1"
    answer = requests.get(service.root + path, headers={"Accept": accept}, timeout=60)
    assert answer.status_code == 406
    assert "image/jphc; transfer-syntax=1.2.840.10008.1.2.4.202" in answer.json()["detail"]


def test_a_page_of_this_machine_may_read_answers_and_others_may_not(service: Service) -> None:
    for origin, allowed in (("http://localhost:3000", "http://localhost:3000"), ("https://evil.example", None)):
        preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        answers = (
            requests.options(service.root + "/studies", headers=preflight, timeout=60),
            requests.get(service.root + "/studies?limit=x", headers={"Origin": origin}, timeout=60),
        )
        assert [answer.headers.get("Access-Control-Allow-Origin") for answer in answers] == [allowed, allowed]


def test_urls_are_those_of_the_client_even_when_it_forgets_the_port(service: Service) -> None:
    answer = requests.get(service.root + "/studies?limit=1", headers={"Host": "127.0.0.1"}, timeout=60)
    assert answer.json()[0]["00081190"]["Value"][0].startswith(service.root + "/studies/")
