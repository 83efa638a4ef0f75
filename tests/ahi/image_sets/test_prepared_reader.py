"""Instances of a prepared image set share what is equal, and come out as if each were alone."""

import json
import os
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from ahi.cache.file_view import FileView
from ahi.image_sets.image_set import ImageSet
from ahi.image_sets.prepared_reader import PreparedImageSet
from ahi.image_sets.prepared_writer import encode_prepared
from runtime.file_piece import FilePiece
from wado.rendering.values import parse_head

NATIVE = "1.2.840.10008.1.2.1"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
JPEG, JPEG_XL = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.112"
SHARED: dict[str, Any] = {
    "StudyInstanceUID": "1.2",
    "PatientName": "Müller^Jörg",
    "SpecificCharacterSet": ["ISO_IR 100"],
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "ReferencedStudySequence": [{"ReferencedSOPInstanceUID": "1.2.9"}],
    "00091001": "AAE=",
    "00090010": "ACME",
}


def _image_set(*instances: dict[str, Any]) -> ImageSet:
    """An image set of instances with these elements besides the shared ones."""
    nodes = {
        f"1.2.3.{number}": {"DICOM": {**SHARED, "SOPInstanceUID": f"1.2.3.{number}", **one}, "DICOMVRs": {}}
        for number, one in enumerate(instances)
    }
    document = {"Study": {"DICOM": {"StudyInstanceUID": "1.2"}, "Series": {"1.2.3": {"Instances": nodes}}}}
    return ImageSet.from_metadata(json.dumps(document).encode())


def _prepared(*instances: dict[str, Any]) -> PreparedImageSet:
    return PreparedImageSet.from_bytes(encode_prepared(_image_set(*instances), lambda *_: b""))


def _told(image_set: PreparedImageSet, index: int) -> tuple[bytes, bytes]:
    one = image_set.instances[index]
    return image_set.metadata(one, "http://host/aetitle"), image_set.block(one.native_head)


@pytest.mark.parametrize(
    "others",
    [
        pytest.param({"SpecificCharacterSet": ["ISO_IR 192"]}, id="another character set"),
        pytest.param({"SpecificCharacterSet": None}, id="none, so that the name needs UTF-8"),
        pytest.param({"00091001": 1}, id="a private value of another kind"),
        pytest.param({"PixelRepresentation": 1, "SmallestImagePixelValue": 5}, id="signed pixels"),
        pytest.param({"ImageType": "ORIGINAL"}, id="a scalar for an array"),
        pytest.param({"PatientName": None}, id="nothing"),
        pytest.param({"RescaleSlope": 1}, id="a number"),
        pytest.param({"RescaleSlope": 1.0}, id="a number, spelt otherwise"),
        pytest.param({"RescaleSlope": "1.0"}, id="a number as text"),
    ],
)
def test_an_instance_comes_out_as_if_it_were_alone(others: dict[str, Any]) -> None:
    plain = {"SmallestImagePixelValue": 5, "RescaleSlope": "1"}
    together = _prepared(plain, {**plain, **others}, plain)
    alone = [_prepared(one) for one in (plain, {**plain, **others})]
    assert _told(together, 0) == _told(alone[0], 0)
    ours, its = _told(together, 1), _told(alone[1], 0)
    assert tuple(text.replace(b"1.2.3.1", b"1.2.3.0") for text in ours) == its


def test_what_instances_share_is_one_object() -> None:
    first, second = (one.data_set for one in _image_set({}, {}).instances)
    shared = {attribute.tag for attribute in first if any(attribute is other for other in second)}
    assert shared == {"00080005", "00080008", "00100010", "0020000D"}


def test_a_large_file_is_read_where_it_is_needed(tmp_path: Path) -> None:
    blob = encode_prepared(_image_set({}, {}), lambda *_: b"")
    path = tmp_path / "prepared"
    path.write_bytes(blob)
    piece = FilePiece(path.open("rb"), 0, len(blob))
    view = FileView(piece)
    assert (len(view), view[3:9], view[-4:], view[5:2]) == (len(blob), blob[3:9], blob[-4:], b"")
    read, held = PreparedImageSet.from_bytes(view), PreparedImageSet.from_bytes(blob)
    assert [_told(read, index) for index in (0, 1)] == [_told(held, index) for index in (0, 1)]
    os.truncate(path, 100)
    piece.again = lambda: blob
    assert [_told(read, index) for index in (0, 1)] == [_told(held, index) for index in (0, 1)]


MAP: dict[str, Any] = {"Rows": 2, "Columns": 3, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}


@pytest.mark.parametrize(
    ("elements", "syntax", "element"),
    [
        pytest.param({"BitsAllocated": 32, "FloatPixelData": None}, NATIVE, ("7FE00008", "OF"), id="named"),
        pytest.param({"BitsAllocated": 64, "DoubleFloatPixelData": None}, NATIVE, ("7FE00009", "OD"), id="double"),
        pytest.param({"BitsAllocated": 32}, NATIVE, ("7FE00008", "OF"), id="no bits stored"),
        pytest.param({"BitsAllocated": 64}, NATIVE, ("7FE00009", "OD"), id="no bits stored of 64"),
        pytest.param(
            {"BitsAllocated": 32, "BitsStored": 32, "FloatPixelData": None}, NATIVE, ("7FE00008", "OF"), id="named best"
        ),
        pytest.param({"BitsAllocated": 32, "BitsStored": 32}, NATIVE, ("7FE00010", "OW"), id="whole numbers"),
        pytest.param({"BitsAllocated": 16}, NATIVE, ("7FE00010", "OW"), id="too few bits"),
        pytest.param({"BitsAllocated": 32}, None, ("7FE00010", "OW"), id="in an encoding"),
        pytest.param({"BitsAllocated": 16, "FloatPixelData": None}, NATIVE, None, id="described wrongly"),
        pytest.param({"BitsAllocated": 32, "FloatPixelData": None}, None, None, id="in an encoding that has no such"),
    ],
)
def test_floating_point_pixels_are_told_by_their_element_or_by_having_no_bits_stored(
    elements: dict[str, Any], syntax: str | None, element: tuple[str, str] | None
) -> None:
    node = {"DICOM": {**MAP, **elements}, "StoredTransferSyntaxUID": syntax, "ImageFrames": [{"ID": "0" * 32}]}
    document = {"Study": {"DICOM": {"StudyInstanceUID": "1"}, "Series": {"1.2": {"Instances": {"1.2.3": node}}}}}
    image_set = ImageSet.from_metadata(json.dumps(document).encode())
    pixels = PreparedImageSet.from_bytes(encode_prepared(image_set, lambda *_: b"")).instances[0].pixels
    assert (pixels.element if pixels else None) == element


@pytest.mark.parametrize(
    ("label", "told"),
    [("YBR_FULL", ["RGB", "YBR_FULL"]), ("YBR_FULL_422", ["RGB", "YBR_FULL"]), ("RGB", ["RGB"] * 2)],
)
def test_colours_of_jpeg_2000_as_imported_are_those_of_each_instance(label: str, told: list[str]) -> None:
    """One has the component transform on, and is decoded as RGB; the other has not."""
    element: dict[str, Any] = {**MAP, "SamplesPerPixel": 3, "BitsAllocated": 8, "PhotometricInterpretation": label}
    nodes = {
        f"1.2.3.{number}": {
            "DICOM": element | {"InstanceNumber": number},
            "StoredTransferSyntaxUID": JPEG_2000,
            "ImageFrames": [{"ID": f"{number:032}"}],
        }
        for number in (0, 1)
    }
    document = {"Study": {"DICOM": {"StudyInstanceUID": "1"}, "Series": {"1.2": {"Instances": nodes}}}}
    colours = np.zeros((2, 3, 3), np.uint8)
    frames = [bytes(imagecodecs.jpeg2k_encode(colours, level=30, codecformat="J2K", mct=on)) for on in (True, False)]
    blob = encode_prepared(
        ImageSet.from_metadata(json.dumps(document).encode()),
        lambda instance, _: frames[int(instance.frames[0].frame_id)],
    )
    image_set = PreparedImageSet.from_bytes(blob)
    found = [json.loads(image_set.metadata(one, ""))["00280004"]["Value"][0] for one in image_set.instances]
    assert found == told


@pytest.mark.parametrize("number", ["NaN", "inf", "1e999", "x"])
def test_instances_without_a_number_come_first(number: str) -> None:
    image_set = _prepared({"InstanceNumber": "2"}, {"InstanceNumber": number}, {"InstanceNumber": "1"})
    assert [one.sop_instance_uid for one in image_set.instances] == ["1.2.3.1", "1.2.3.2", "1.2.3.0"]


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "MONOCHROME2"])
@pytest.mark.parametrize("syntax", [JPEG, JPEG_XL])
def test_the_label_in_metadata_is_that_of_what_is_delivered_by_default(label: str, syntax: str) -> None:
    """Decoded colours of JPEG are RGB, frame by frame; as stored they keep the label that they came with."""
    element: dict[str, Any] = {**MAP, "SamplesPerPixel": 3, "BitsAllocated": 8, "PhotometricInterpretation": label}
    node = {"DICOM": element, "StoredTransferSyntaxUID": syntax, "ImageFrames": [{"ID": "0" * 32}]}
    document = {"Study": {"DICOM": {"StudyInstanceUID": "1"}, "Series": {"1.2": {"Instances": {"1.2.3": node}}}}}

    def probe(*_: object) -> bytes:
        raise AssertionError("one frame does not speak for the others")

    image_set = PreparedImageSet.from_bytes(
        encode_prepared(ImageSet.from_metadata(json.dumps(document).encode()), probe)
    )
    (one,) = image_set.instances
    assert json.loads(image_set.metadata(one, ""))["00280004"]["Value"] == ["RGB"]
    heads = [parse_head(image_set.block(head)) for head in (one.native_head, one.stored_head)]
    assert [head.PhotometricInterpretation for head in heads] == ["RGB", label]
    assert [head.LossyImageCompression for head in heads] == ["01", "01"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb"\ud83d\ude00", "\N{GRINNING FACE}"),
        (b"\xed\xa0\xbd\xed\xb8\x80", "\N{GRINNING FACE}"),
        (rb"\ud83d", "\N{REPLACEMENT CHARACTER}"),
        (rb"\uDE00\uD83D", "\N{REPLACEMENT CHARACTER}" * 2),
        (b"\xed\xa0\xbd", "\N{REPLACEMENT CHARACTER}"),
        ("퀀힣".encode(), "퀀힣"),
    ],
    ids=["escaped pair", "pair", "half", "the wrong order", "half as UTF-8", "Korean"],
)
def test_half_of_a_surrogate_pair_spoils_no_image_set(written: bytes, read: str) -> None:
    dicom = {"StudyInstanceUID": "1.2", "ImageComments": "A|B"}
    document = {"Study": {"DICOM": dicom, "Series": {"1.2.3": {"Instances": {"1.2.3.0": {"DICOM": {}}}}}}}
    image_set = ImageSet.from_metadata(json.dumps(document).encode().replace(b"|", written))
    prepared = PreparedImageSet.from_bytes(encode_prepared(image_set, lambda *_: b""))
    described = json.loads(prepared.metadata(prepared.instances[0], "http://host/aetitle"))
    assert described["00204000"] == {"vr": "LT", "Value": [f"A{read}B"]}
