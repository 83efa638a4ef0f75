"""Values, colours and names come out as the source has them, on every way that there is to them."""

import json
import struct
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import requests
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom import DataElement, Dataset, FileMetaDataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    generate_uid,
)

from datastore.embedded import Embedded
from tests.ahi.codecs.labelled_jpeg import ADOBE_RGB, COLUMNS, JFIF, ROWS, jpeg
from tests.service.process import Service

FRAMES = (jpeg((JFIF,)), jpeg((ADOBE_RGB,), rgb=True), jpeg((), b"RGB", rgb=True), jpeg())
"""The same picture in YCbCr by JFIF, in RGB by Adobe's marker, by its ids, and as its label says."""

LONG = "1.2.826.0.1.3680043.10.4711." + "7" * 228
UIDS = {
    "66 characters": ("1.2." + "3" * 62, "1.2." + "4" * 62, "1.2." + "5" * 62),
    "256 characters": (LONG, LONG[:-1] + "8", LONG[:-1] + "9"),
    "blanks": ("A study", "its series 1", "an  instance, <b>&?#%41"),
}
pytestmark = [pytest.mark.filterwarnings(f"ignore:{what}") for what in ("Invalid value for VR", "The value length")]


def image(uids: tuple[str, ...], **elements: Any) -> Dataset:
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.SOPClassUID, data_set.Modality, data_set.PatientName = CTImageStorage, "CT", "Values^And^Colours"
    data_set.PatientID = uids[0][:64]
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID = uids
    data_set.Rows, data_set.Columns, data_set.SamplesPerPixel = ROWS, COLUMNS, 1
    data_set.PhotometricInterpretation, data_set.PixelRepresentation = "MONOCHROME2", 0
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 12, 11
    data_set.RescaleIntercept, data_set.RescaleSlope = "-1024", "1"
    data_set.PixelData = ramp().astype("<u2").tobytes()
    for keyword, value in elements.items():
        setattr(data_set, keyword, value)
    return data_set


def ramp() -> npt.NDArray[np.int64]:
    """Stored values of which the modality values go from -128 on, 10 by 10."""
    return np.tile(np.arange(COLUMNS) * 10 + 1024 - 128, (ROWS, 1))


def colours(uids: tuple[str, ...], label: str, frames: tuple[bytes, ...]) -> Dataset:
    data_set = image(uids, SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation=label, BitsAllocated=8)
    data_set.BitsStored, data_set.HighBit, data_set.NumberOfFrames = 8, 7, len(frames)
    data_set.SOPClassUID = MultiFrameTrueColorSecondaryCaptureImageStorage
    data_set.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data_set.PixelData = encapsulate(list(frames))
    data_set["PixelData"].VR = "OB"
    return data_set


def odd(uids: tuple[str, ...]) -> Dataset:
    """An image with values of all the kinds that used to get lost."""
    data_set = image(uids, SpecificCharacterSet="ISO_IR 192")
    item = Dataset()
    item.add(DataElement(0x00283002, "SS", [256, -128, 8]))
    item.add(DataElement(0x00283006, "OW", np.arange(256, dtype="<u2").tobytes()))
    data_set.VOILUTSequence = [item]
    data_set.add(DataElement(0x00281201, "US", [0, 40000, 65535]))
    data_set.add(DataElement(0x00189087, "FD", float("nan")))
    data_set.add(DataElement(0x00180073, "DS", "1"))
    return data_set


def write(data_set: Dataset, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set.save_as(path, enforce_file_format=True)


def written_odd(uids: tuple[str, ...], path: Path) -> None:
    """What pydicom would not write: letters in codes, a DS that is no number, an item between the elements."""
    write(odd(uids), path)
    whole = path.read_bytes()
    aet, part, stray = (
        struct.pack("<HH2sH", 0x0008, 0x0054, b"AE", 8) + "SCHÄDEL ".encode("latin-1"),
        struct.pack("<HH2sH", 0x0018, 0x0015, b"CS", 8) + "SCHÄDEL".encode(),
        struct.pack("<HHI", 0xFFFE, 0xE000, 0),
    )
    modality, time = (
        whole.index(struct.pack("<HH2s", 0x0008, 0x0060, b"CS")),
        struct.pack("<HH2s", 0x0018, 0x0073, b"DS"),
    )
    at = whole.index(time)
    changed = (
        whole[:modality] + aet + whole[modality:at] + part + whole[at:].replace(b"DS\2\0" + b"1 ", b"DS\2\0" + b"x ", 1)
    )
    samples = changed.index(struct.pack("<HH2s", 0x0028, 0x0002, b"US"))
    path.write_bytes(changed[:samples] + stray + changed[samples:])


COLOURED = {label: tuple(str(generate_uid()) for _ in range(3)) for label in ("RGB", "YBR_FULL_422")}
ODD = tuple(str(generate_uid()) for _ in range(3))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder, root = tmp_path_factory.mktemp("values"), tmp_path_factory.mktemp("values-store")
    for number, uids in enumerate(UIDS.values()):
        data_set = image(uids)
        data_set.add(DataElement(0x00091001, "OB", bytes(40_000)))
        data_set.add(DataElement(0x00090010, "LO", "ACME"))
        write(data_set, folder / f"uids{number}.dcm")
    for label, coloured in COLOURED.items():
        write(colours(coloured, label, FRAMES), folder / f"{label}.dcm")
    written_odd(ODD, folder / "odd.dcm")
    Embedded(root).fill([folder])
    service = Service(tmp_path_factory.mktemp("values-service"), {"DATASTORE_ROOT": str(root)})
    yield service
    assert service.stop() == 0


def at(service: Service, uids: tuple[str, ...]) -> str:
    return "{}/studies/{}/series/{}/instances/{}".format(service.root, *uids)


def get(url: str, accept: str, **parameters: Any) -> requests.Response:
    answer = requests.get(url, parameters, headers={"Accept": accept}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer


def picture(content: bytes) -> npt.NDArray[np.int64]:
    return np.asarray(Image.open(BytesIO(content)).convert("RGB")).astype(int)


@pytest.mark.parametrize("label", COLOURED)
def test_each_frame_has_its_own_colours_on_every_way(service: Service, label: str) -> None:
    url = at(service, COLOURED[label])
    frames = [Image.open(BytesIO(frame)) for frame in FRAMES]
    if label == "RGB":
        frames[3].draft("YCbCr", frames[3].size)
    expected = np.stack([np.asarray(frame) for frame in frames]).astype(int)

    def near(found: Any, wanted: Any, most: int = 1) -> bool:
        return bool(np.abs(found.astype(int) - wanted).max() <= most)

    octets = [get(f"{url}/frames/{number}", "application/octet-stream").content for number in (1, 2, 3, 4)]
    assert near(np.frombuffer(b"".join(octets), np.uint8).reshape(expected.shape), expected)
    whole = dcmread(BytesIO(get(url, f'application/dicom; transfer-syntax="{ExplicitVRLittleEndian}"').content))
    assert whole.PhotometricInterpretation == "RGB"
    assert near(whole.pixel_array, expected)
    for number, frame in enumerate(expected, 1):
        assert near(picture(get(f"{url}/frames/{number}/rendered", "image/png").content), frame)
        small = picture(get(f"{url}/frames/{number}/thumbnail", "image/png", viewport=f"{COLUMNS},{ROWS}").content)
        assert near(small, frame)
    stored = dcmread(BytesIO(get(url, "application/dicom; transfer-syntax=*").content))
    assert (stored.PhotometricInterpretation, stored.file_meta.TransferSyntaxUID) == (label, JPEGBaseline8Bit)


@pytest.mark.parametrize("label", COLOURED)
def test_metadata_and_search_have_the_label_of_what_is_delivered_by_default(service: Service, label: str) -> None:
    study, series, instance = COLOURED[label]
    (metadata,) = get(f"{at(service, COLOURED[label])}/metadata", "application/dicom+json").json()
    assert metadata["00280004"]["Value"] == ["RGB"]
    search = f"{service.root}/studies/{study}/instances"
    (found,) = get(search, "application/dicom+json", includefield="PhotometricInterpretation").json()
    assert found["00280004"]["Value"] == ["RGB"]
    (matched,) = get(search, "application/dicom+json", PhotometricInterpretation="RGB").json()
    assert matched["00080018"]["Value"] == [instance]
    assert get(search, "application/dicom+json", PhotometricInterpretation="YBR_FULL_422").json() == []


@pytest.mark.parametrize("name", ["TransferSyntaxUID", "00020010"])
def test_the_transfer_syntax_is_told_where_it_is_asked_for_by_name(service: Service, name: str) -> None:
    search = f"{service.root}/studies/{COLOURED['RGB'][0]}/instances"
    (found,) = get(search, "application/dicom+json", includefield=name).json()
    assert found["00020010"] == {"vr": "UI", "Value": [JPEGBaseline8Bit]}
    for fields in ("all", "Rows"):
        assert "00020010" not in get(search, "application/dicom+json", includefield=fields).json()[0]
    assert len(get(search, "application/dicom+json", **{name: str(JPEGBaseline8Bit)}).json()) == 1
    assert get(search, "application/dicom+json", **{name: str(ExplicitVRLittleEndian)}).json() == []


def test_odd_values_are_kept_or_left_out_as_readers_can_bear_it(service: Service) -> None:
    url = at(service, ODD)
    text = get(f"{url}/metadata", "application/dicom+json").text
    (metadata,) = json.loads(text, parse_constant=pytest.fail)
    assert metadata["00283010"]["Value"][0]["00283002"] == {"vr": "SS", "Value": [256, -128, 8]}
    assert np.frombuffer(_words(metadata["00281201"]), "<u2").tolist() == [0, 40000, 65535]
    assert metadata["00189087"] == {"vr": "FD", "Value": ["NaN"]}
    assert metadata["00180073"] == {"vr": "DS"}
    assert not [tag for tag in metadata if tag.startswith("FFFE")]
    assert all(element["vr"] != "NONE" for element in metadata.values())
    read = Dataset.from_json(metadata, lambda *_: b"")
    assert np.isnan(read.DiffusionBValue)
    assert "FFFE" not in get(f"{url}/metadata", 'multipart/related; type="application/dicom+xml"').text
    whole = get(url, f'application/dicom; transfer-syntax="{ExplicitVRLittleEndian}"').content
    assert "SCHÄDEL ".encode("latin-1") in whole and "SCHÄDEL".encode() in whole
    assert struct.pack("<HHI", 0xFFFE, 0xE000, 0) not in whole
    levels = picture(get(f"{url}/rendered", "image/png").content)[0, :, 0]
    assert np.abs(levels - np.arange(COLUMNS) * 10).max() <= 1


def _words(element: dict[str, Any]) -> bytes:
    if "Value" in element:
        return np.array(element["Value"], "<u2").tobytes()
    return bytes(Dataset.from_json({"00281201": element})[0x00281201].value)


@pytest.mark.parametrize("kind", UIDS)
def test_what_a_search_lists_opens_whatever_its_uids_are(service: Service, kind: str) -> None:
    study, series, instance = UIDS[kind]
    (found,) = get(f"{service.root}/studies", "application/dicom+json", PatientID=study[:64]).json()
    assert found["0020000D"]["Value"] == [study]
    url = found["00081190"]["Value"][0]
    assert url.isascii() and " " not in url
    (of_series,) = get(f"{url}/series", "application/dicom+json").json()
    (listed,) = get(f"{of_series['00081190']['Value'][0]}/instances", "application/dicom+json").json()
    assert (listed["0020000E"]["Value"], listed["00080018"]["Value"]) == ([series], [instance])
    url = listed["00081190"]["Value"][0]
    (metadata,) = get(f"{url}/metadata", "application/dicom+json").json()
    assert metadata["00081190"]["Value"] == [url]
    for tag in ("7FE00010", "00091001"):
        bulk = metadata[tag]["BulkDataURI"]
        assert bulk.startswith(f"{url}/bulkdata/")
        assert get(bulk, "application/octet-stream").content
    whole = get(url, 'multipart/related; type="application/dicom"')
    assert f"Content-Location: {url}".encode() in whole.content
    assert dcmread(BytesIO(get(url, "application/dicom").content)).SOPInstanceUID == instance
    assert get(f"{url}/frames/1", "application/octet-stream").content == ramp().astype("<u2").tobytes()
    assert picture(get(f"{url}/rendered", "image/png").content).shape == (ROWS, COLUMNS, 3)
    assert get(found["00081190"]["Value"][0], "application/zip").content[:2] == b"PK"
    parameters = {"requestType": "WADO", "studyUID": study, "seriesUID": series, "objectUID": instance}
    assert get(f"{service.root}/wado", "image/jpeg", **parameters, rows="8").headers["Content-Type"] == "image/jpeg"
    if "," not in study:
        assert len(get(f"{service.root}/series", "application/dicom+json", StudyInstanceUID=study).json()) == 1


def test_one_side_of_a_picture_may_be_bounded_alone(service: Service) -> None:
    names = dict(zip(("studyUID", "seriesUID", "objectUID"), ODD, strict=True))
    for side, size in (({"rows": "8"}, (8, COLUMNS // 2)), ({"columns": "6"}, (ROWS // 4, 6))):
        answer = get(f"{service.root}/wado", "image/png", requestType="WADO", contentType="image/png", **names, **side)
        assert picture(answer.content).shape[:2] == size


def test_a_root_that_ends_in_a_slash_is_a_root(service: Service) -> None:
    study, series, instance = ODD
    client = DICOMwebClient(f"{service.root}/")
    (found,) = client.search_for_studies(fuzzymatching=True, search_filters={"StudyInstanceUID": study})
    assert found["00081190"]["Value"] == [f"{service.root}/studies/{study}"]
    (metadata,) = client.retrieve_study_metadata(study)
    assert metadata["00081190"]["Value"] == [at(service, ODD)]
    assert client.retrieve_instance(study, series, instance).SOPInstanceUID == instance
    assert client.retrieve_instance_frames(study, series, instance, [1]) == [ramp().astype("<u2").tobytes()]
    parameters = {"requestType": "WADO", "studyUID": study, "seriesUID": series, "objectUID": instance}
    for path in (f"///studies//{study}//metadata", "/studies/", f"/studies/{study}/series//", "/wado/", "/"):
        answer = requests.get(f"{service.root}{path}", parameters, allow_redirects=False, timeout=60)
        assert answer.status_code == 200
