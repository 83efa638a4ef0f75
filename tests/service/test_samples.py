"""Every sample that goes in comes out the same: pixel for pixel, element for element, read by real clients."""

import base64
import json
import warnings
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
import requests
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGExtended12Bit, SegmentationStorage

from datastore.importing.samples import sample_files
from tests.service.archive import NOT_WRITTEN, Sample
from tests.service.process import Service

NAMES = sorted({path.name for path in sample_files()} - NOT_WRITTEN.keys())

# Labels of how the delivered pixels are laid out: AHI's frames are interleaved, colours may have been transformed.
PIXEL_LABELS = frozenset({"00280004", "00280006", "00282110"})
OURS = frozenset({"00080005", "00081190", "00083002"})
PER_FRAME = "PerFrameFunctionalGroupsSequence"
PIXELS = frozenset({"7FE00008", "7FE00009", "7FE00010"})


@pytest.fixture
def sample(request: pytest.FixtureRequest, samples: dict[str, Sample]) -> Sample:
    return samples[request.param]


def _pixels(data_set: Dataset, *, as_words: bool = False) -> np.ndarray:
    """All frames as pydicom decodes them, colour as RGB; lossy JPEG by the same library as everyone's browser.

    `as_words`: native words with all their bits, also those that are no part of the sample.
    """
    syntax = data_set.file_meta.TransferSyntaxUID
    plugin = "pillow" if syntax == JPEGBaseline8Bit else ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        of_bits = syntax.is_encapsulated or not as_words
        if syntax == JPEGExtended12Bit:  # pillow has no decoder of 12 bits
            (frame,) = generate_frames(data_set.PixelData, number_of_frames=1)
            array = np.asarray(imagecodecs.jpeg8_decode(frame))
        else:
            array = pixel_array(data_set, decoding_plugin=plugin, correct_unused_bits=of_bits)
    frames = array if int(data_set.get("NumberOfFrames", 1) or 1) > 1 else array[np.newaxis]
    return frames.astype(frames.dtype.newbyteorder("<"))


def _expected(sample: Sample, *, as_words: bool = False) -> np.ndarray | None:
    """The frames of the source; None where it has no pixel data, or none that pydicom can decode."""
    source = sample.read()
    if "PixelData" not in source or sample.name in UNDECODABLE:
        return None
    return _pixels(source, as_words=as_words)


LIVER = (217, 130, 101)
"""sRGB of the CIELab value (D50) that the segmentations among the samples recommend."""

OVERLAID = {"MR-SIEMENS-DICOM-WithOverlays.dcm": 0x6000, "examples_overlay.dcm": 0x6000}
"""Samples with overlays, which are burnt in, and their groups."""

OBLONG = {"6293": 0.545455 / 0.596847, "6924": 0.545455 / 0.596847, "color-pl.dcm": 4 / 3, "color-px.dcm": 4 / 3}
"""How high a pixel is in units of its width, where it is not square."""

UNDECODABLE = {
    "JPEG-lossy.dcm": "12-bit JPEG that no decoder of pydicom takes",
    "JPEG2000-embedded-sequence-delimiter.dcm": "its frame has no codestream",
    "badVR.dcm": "NumberOfFrames is no number",
}


STORED_ONLY = {"JPEG2000-embedded-sequence-delimiter.dcm": JPEG2000}
"""What AHI keeps as it is and nobody can decode."""


@pytest.mark.parametrize("sample", NAMES, indirect=True)
def test_native_frames_are_what_pydicom_decodes(sample: Sample, client: DICOMwebClient) -> None:
    """PS3.18 Section 10.4.1.1.6: little endian, interleaved, one part for each frame."""
    expected = _expected(sample, as_words=True)
    if expected is None:
        return
    frames = client.retrieve_instance_frames(*sample.uids, frame_numbers=list(range(1, len(expected) + 1)))
    assert len(frames) == len(expected)
    packed = sample.read().BitsAllocated == 1
    for frame, array in zip(frames, expected, strict=True):
        assert frame == (np.packbits(array, bitorder="little") if packed else array).tobytes()


@pytest.mark.parametrize("sample", NAMES, indirect=True)
def test_the_part_10_object_has_the_elements_and_the_pixels_of_the_source(
    sample: Sample, client: DICOMwebClient
) -> None:
    syntax = STORED_ONLY.get(sample.name, ExplicitVRLittleEndian)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = client.retrieve_instance(*sample.uids, media_types=(("application/dicom", syntax),))
        ours.decode()
    assert ours.file_meta.TransferSyntaxUID == syntax
    assert _elements(ours, sample) == _elements(sample.described(), sample)
    expected = _expected(sample)
    if expected is not None:
        assert np.array_equal(_pixels(ours), expected)


def _elements(data_set: Dataset, sample: Sample) -> dict[str, Any]:
    for tag in ILL_FORMED.get(sample.name, ()):
        data_set.pop(tag, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _comparable(data_set.to_json_dict(), OURS | PIXEL_LABELS | PIXELS)


ILL_FORMED = {"badVR.dcm": ["00280008"]}
"""Values that pydicom cannot turn into JSON: a NumberOfFrames of `1A`."""


@pytest.mark.parametrize("sample", NAMES, indirect=True)
def test_the_metadata_has_the_elements_of_the_source(sample: Sample, client: DICOMwebClient) -> None:
    """PS3.18 Section 10.4.1.1.2 and Annex F."""
    ours = client.retrieve_instance_metadata(*sample.uids)
    assert ours["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert ours["00081190"]["Value"][0].endswith("/instances/" + sample.sop_instance_uid)
    assert list(ours) == sorted(ours)
    without = OURS | PIXEL_LABELS | PIXELS | frozenset(ILL_FORMED.get(sample.name, ()))
    assert _comparable(ours, without) == _elements(sample.described(), sample)


def _comparable(elements: dict[str, Any], without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The values by tag, in one spelling; VRs may differ where the source had UN or a choice."""
    return {
        tag: [_value(element["vr"], value) for value in _values(element)]
        for tag, element in elements.items()
        if tag not in without and tag[4:] != "0000"
    }


def _values(element: dict[str, Any]) -> list[Any]:
    if "InlineBinary" in element:
        return [element["InlineBinary"]]
    if "BulkDataURI" in element:
        answer = requests.get(element["BulkDataURI"], headers={"Accept": "application/octet-stream"}, timeout=60)
        assert answer.status_code == 200
        return [base64.b64encode(answer.content).decode()]
    return list(element.get("Value") or [])


def _value(vr: str, value: Any) -> Any:
    if vr == "SQ":
        return _comparable(value, OURS | PIXELS)  # the pixels of an icon are not kept by AHI
    if vr == "PN" and value:
        return {group: text for group, text in value.items() if text}
    if value is None or isinstance(value, int | float):
        return "" if value is None else float(value)
    try:
        return float(value)
    except ValueError:
        return value.strip(" \0")


@pytest.mark.parametrize("sample", NAMES, indirect=True)
def test_a_picture_shows_the_first_frame_in_the_images_own_window(sample: Sample, client: DICOMwebClient) -> None:
    """PS3.3 Section C.11: within one grey level of the formulas, before any compression."""
    expected = _expected(sample)
    if expected is None:
        return
    described = sample.described()
    stretch = OBLONG.get(sample.name, 1)
    png = client.retrieve_instance_rendered(*sample.uids, media_types=("image/png",))
    drawn = np.asarray(Image.open(BytesIO(png))).astype(int)
    reference = _picture(expected[0], described)
    if sample.name in OVERLAID:
        reference[described.overlay_array(OVERLAID[sample.name])[: len(reference)] > 0] = 255
    rows, columns = reference.shape[:2]
    size = (round(columns / min(stretch, 1)), round(rows * max(stretch, 1)))
    assert drawn.shape[1::-1] == size
    if stretch == 1:
        assert np.abs(drawn - reference).max() <= 1
    else:
        assert drawn.mean(axis=(0, 1)) == pytest.approx(reference.mean(axis=(0, 1)), abs=1)
    jpeg = Image.open(BytesIO(client.retrieve_instance_rendered(*sample.uids, media_types=("image/jpeg",))))
    assert jpeg.format == "JPEG"
    assert jpeg.size == size


def _picture(array: np.ndarray, source: Dataset) -> np.ndarray:
    """What pydicom makes of a frame, as 0 to 255."""
    if source.SOPClassUID == SegmentationStorage:
        return array[..., np.newaxis].astype(int) * LIVER
    if source.PhotometricInterpretation == "PALETTE COLOR":
        coloured = apply_color_lut(array, source)
        return coloured.astype(int) >> (coloured.dtype.itemsize * 8 - 8)
    if array.ndim == 3:
        return np.asarray(array.astype(int) >> max(0, source.BitsStored - 8))
    for group in (*source.get("SharedFunctionalGroupsSequence", [])[:1], *source.get(PER_FRAME, [])[:1]):
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in group.get(name, []):
                source.update(item)
    values = apply_modality_lut(array, source)
    if "VOILUTSequence" in source:
        bits = source.VOILUTSequence[0].LUTDescriptor[2]
        greys = apply_voi(values.astype(int), source) / (2**bits - 1)
    elif source.get("WindowWidth") not in (None, ""):
        slope, intercept = float(source.get("RescaleSlope", 1)), float(source.get("RescaleIntercept", 0))
        lowest = -(2 ** (source.BitsStored - 1)) if source.PixelRepresentation else 0
        black, white = lowest * slope + intercept, (lowest + 2**source.BitsStored - 1) * slope + intercept
        greys = (apply_windowing(values, source) - black) / (white - black)
    else:
        greys = (values - values.min()) / max(np.ptp(values), 1e-9)
    inverted = source.PhotometricInterpretation == "MONOCHROME1"
    return np.asarray(np.rint((1 - greys if inverted else greys) * 255).astype(int))


def test_all_metadata_is_json_without_surprises(service: Service, samples: dict[str, Sample]) -> None:
    """Java clients give up on a null among numbers, on NaN, on an empty Value and on keys of our own."""
    for sample in samples.values():
        answer = requests.get(f"{service.root}/studies/{sample.study_instance_uid}/metadata", timeout=60)
        for data_set in json.loads(answer.content, parse_constant=_refuse):
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
