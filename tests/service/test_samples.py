"""Every sample that goes in comes out the same: pixel for pixel, element for element, read by real clients."""

import json
import warnings
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom import Dataset
from pydicom.pixels import pixel_array

from datastore.samples import sample_files
from tests.service.archive import Sample

NAMES = sorted({path.name for path in sample_files()})

# Labels of how the delivered pixels are laid out: AHI's frames are interleaved, colours may have been transformed.
PIXEL_LABELS = frozenset({"00280004", "00280006", "00282110"})
OURS = frozenset({"00080005", "00081190", "00083002"})
PIXELS = frozenset({"7FE00008", "7FE00009", "7FE00010"})


@pytest.fixture
def sample(request: pytest.FixtureRequest, samples: dict[str, Sample]) -> Sample:
    return samples[request.param]


def _pixels(data_set: Dataset) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pixel_array(data_set)


@pytest.mark.parametrize("sample", NAMES, indirect=True)
def test_native_frames_are_what_pydicom_decodes(sample: Sample, client: DICOMwebClient) -> None:
    """PS3.18 Section 10.4.1.1.6: little endian, interleaved, one part for each frame."""
    expected = _expected_frames(sample)
    if expected is None:
        return
    numbers = list(range(1, len(expected) + 1))
    frames = client.retrieve_instance_frames(*sample.uids, frame_numbers=numbers)
    assert len(frames) == len(expected)
    for frame, array in zip(frames, expected, strict=True):
        _assert_same(np.frombuffer(frame, array.dtype).reshape(array.shape), array, sample)


def _expected_frames(sample: Sample) -> list[np.ndarray] | None:
    """The frames of the source, decoded by pydicom, colour as RGB; None where it has or decodes none."""
    source = sample.read()
    if "PixelData" not in source:
        return None
    array = _pixels(source)
    count = int(source.get("NumberOfFrames", 1) or 1)
    return [frame.astype(frame.dtype.newbyteorder("<")) for frame in (array if count > 1 else array[np.newaxis])]


def _assert_same(ours: np.ndarray, expected: np.ndarray, sample: Sample) -> None:
    assert ours.shape == expected.shape
    difference = np.abs(ours.astype(np.int64) - expected.astype(np.int64)).max()
    assert difference <= LOSSY.get(sample.name, 0), f"differs by {difference}"


LOSSY: dict[str, int] = {}
"""Samples kept in a lossy encoding, and by how many grey levels two decoders of it may differ."""


@pytest.mark.parametrize("sample", NAMES, indirect=True)
def test_the_part_10_object_has_the_elements_and_the_pixels_of_the_source(
    sample: Sample, client: DICOMwebClient
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = client.retrieve_instance(*sample.uids)
        ours.decode()
    source = sample.read()
    assert ours.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert _elements(ours) == _elements(source)
    if "PixelData" in source:
        _assert_same(_pixels(ours), _pixels(source), sample)


def _elements(data_set: Dataset) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _comparable(data_set.to_json_dict(), OURS | PIXEL_LABELS | PIXELS)


@pytest.mark.parametrize("sample", NAMES, indirect=True)
def test_the_metadata_has_the_elements_of_the_source(sample: Sample, client: DICOMwebClient) -> None:
    """PS3.18 Section 10.4.1.1.2 and Annex F."""
    ours = client.retrieve_instance_metadata(*sample.uids)
    assert ours["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert ours["00081190"]["Value"][0].endswith("/instances/" + sample.sop_instance_uid)
    assert list(ours) == sorted(ours)
    assert _comparable(ours, OURS | PIXEL_LABELS | PIXELS) == _elements(sample.read())


def _comparable(elements: dict[str, Any], without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The values by tag, in one spelling; VRs may differ where the source had UN or a choice."""
    return {
        tag: [_value(value) for value in _values(element)]
        for tag, element in elements.items()
        if tag not in without and tag[4:] != "0000"
    }


def _values(element: dict[str, Any]) -> list[Any]:
    if "InlineBinary" in element:
        return [element["InlineBinary"]]
    return list(element.get("Value") or [])


def _value(value: Any) -> Any:
    match value:
        case {"vr": _} | {"Value": _}:
            return value
        case dict() if any(len(key) == 8 for key in value) or not value:
            return _comparable(value, OURS)
        case dict():
            return {group: text for group, text in value.items() if text}
        case int() | float():
            return float(value)
        case str():
            try:
                return float(value)
            except ValueError:
                return value.strip(" \0")
    return value


@pytest.mark.parametrize("sample", NAMES, indirect=True)
def test_what_has_pixels_is_drawn(sample: Sample, client: DICOMwebClient) -> None:
    expected = _expected_frames(sample)
    if expected is None:
        return
    picture = Image.open(BytesIO(client.retrieve_instance_rendered(*sample.uids, media_types=("image/jpeg",))))
    assert picture.size == expected[0].shape[1::-1]
    drawn = np.asarray(picture)
    assert drawn.dtype == np.uint8
    if np.ptp(expected[0]) > 0 and expected[0].size > 100:
        assert np.ptp(drawn) > 10, "the picture is blank"


def test_all_metadata_is_json_without_surprises(
    service: Any, samples: dict[str, Sample], client: DICOMwebClient
) -> None:
    """Java clients give up on a null among numbers, on NaN, on an empty Value and on keys of our own."""
    for sample in samples.values():
        response = client._http_get(f"{service.root}/studies/{sample.study_instance_uid}/metadata")
        for data_set in json.loads(response.content, parse_constant=_refuse):
            _check(data_set)


def _refuse(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


def _check(data_set: dict[str, Any]) -> None:
    for tag, element in data_set.items():
        assert len(tag) == 8
        assert tag == tag.upper()
        assert set(element) <= {"vr", "Value", "InlineBinary", "BulkDataURI"}
        assert len(element) <= 2
        assert element.get("Value") != []
        assert len(element["vr"]) == 2
        for value in element.get("Value", []):
            if element["vr"] == "SQ":
                _check(value)
            if element["vr"] in ("DS", "IS", "US", "SS", "UL", "SL", "FL", "FD"):
                assert value is not None
