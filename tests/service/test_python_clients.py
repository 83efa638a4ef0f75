"""What Python clients do beyond searching and fetching a study, on a small archive."""

import warnings
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import requests
from dicomtrolley.core import InstanceReference, SeriesReference
from dicomtrolley.qido_rs import HierarchicalQuery, QidoRS
from dicomtrolley.wado_rs import WadoRS
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from tests.service.clinic import PDF, SLICES, Clinic
from tests.service.process import Service


@pytest.fixture
def client(clinic_service: Service) -> DICOMwebClient:
    return DICOMwebClient(clinic_service.root)


def _uids(path: str) -> Any:
    """One UID for a study, two for a series, three for an instance."""
    return path.split("/")[2::2]


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.1", RLELossless, "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"]
)
def test_a_series_comes_in_the_transfer_syntax_asked_for(client: DICOMwebClient, clinic: Clinic, syntax: str) -> None:
    study, series = _uids(clinic.paths["ct_series"])
    received = client.retrieve_series(study, series, media_types=(("application/dicom", syntax),))
    assert [data_set.file_meta.TransferSyntaxUID for data_set in received] == [syntax] * SLICES
    for data_set, source in zip(received, clinic.slices, strict=True):
        assert np.array_equal(data_set.pixel_array, source.pixel_array)


def test_a_study_is_read_instance_by_instance(client: DICOMwebClient, clinic: Clinic) -> None:
    received = [data_set.SOPInstanceUID for data_set in client.iter_study(*_uids(clinic.paths["ct_study"]))]
    assert sorted(received) == sorted(one.SOPInstanceUID for one in clinic.instances if one is not clinic.slide)


def test_frames_are_read_one_by_one(client: DICOMwebClient, clinic: Clinic) -> None:
    study, series, instance = _uids(clinic.paths["slide"])
    frames = clinic.frames(clinic.slide.SOPInstanceUID)
    received = client.iter_instance_frames(study, series, instance, frame_numbers=list(range(1, 31)))
    assert list(received) == list(frames)
    stored = client.retrieve_instance_frames(
        study, series, instance, [3], media_types=(("image/jpeg", JPEGBaseline8Bit),)
    )
    assert np.asarray(Image.open(BytesIO(stored[0]))).tobytes() == frames[2]


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png"])
def test_a_frame_is_drawn(client: DICOMwebClient, clinic: Clinic, media_type: str) -> None:
    study, series, instance = _uids(clinic.paths["slide"])
    picture = client.retrieve_instance_frames_rendered(study, series, instance, [7], media_types=(media_type,))
    drawn = Image.open(BytesIO(picture))
    assert (drawn.get_format_mimetype(), drawn.size) == (media_type, (320, 240))


def test_bulk_data_is_found_by_its_uri(client: DICOMwebClient, clinic: Clinic) -> None:
    metadata = client.retrieve_instance_metadata(*_uids(clinic.paths["document"]))
    uri = metadata["00420011"]["BulkDataURI"]
    (whole,) = client.retrieve_bulkdata(uri)
    assert whole[: len(PDF)] == PDF
    assert client.retrieve_bulkdata(uri, byte_range=(0, 99)) == [whole[:100]]
    assert list(client.iter_bulkdata(uri, media_types=("application/octet-stream",))) == [whole]


def test_metadata_describes_the_instances_that_a_search_finds(client: DICOMwebClient, clinic: Clinic) -> None:
    study, series = _uids(clinic.paths["ct_series"])
    found = client.search_for_instances(study, series, fields=["Rows", "00280011"], get_remaining=True)
    described = client.retrieve_series_metadata(study, series)
    for tag in ("00080018", "00280010", "00280011", "00081190"):
        assert [one[tag]["Value"] for one in found] == [one[tag]["Value"] for one in described]


def test_dicomtrolley_downloads_series_and_instances(clinic_service: Service, clinic: Clinic) -> None:
    study, series, instance = _uids(clinic.paths["ct"])
    wado = WadoRS(requests.Session(), clinic_service.root)
    for reference, count in (
        (SeriesReference(study_uid=study, series_uid=series), SLICES),
        (InstanceReference(study_uid=study, series_uid=series, instance_uid=instance), 1),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert len(list(wado.datasets([reference]))) == count


def test_dicomtrolley_searches_by_patient_and_date(clinic_service: Service, clinic: Clinic) -> None:
    qido = QidoRS(requests.Session(), clinic_service.root)
    query = HierarchicalQuery(
        PatientID="PID1", min_study_date="2024-01-01", max_study_date="2024-01-31", include_fields=["StudyDescription"]
    )
    assert [found.uid for found in qido.find_studies(query)] == [clinic.slices[0].StudyInstanceUID]
