import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, Sequence, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import PersonName

from datastore.importing.element_names import keyword
from datastore.importing.metadata import DIALECTS, InstanceAttributes, Levels, document, encode, search_tags
from datastore.importing.samples import sample_files
from datastore.importing.scan import Unreadable, quiet, read
from dicomweb.levels import LEVELS, PATIENT, SERIES, STUDY
from tests.datastore.made import made, with_pixels

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def reread(data_set: Dataset, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    """As it comes from a file."""
    data_set.file_meta.TransferSyntaxUID = UID(syntax)
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    file.seek(0)
    return dcmread(file)


def attributes(data_set: Dataset, dialect: str = "2025", **options: Any) -> InstanceAttributes:
    with quiet():
        return InstanceAttributes.from_data_set(data_set, DIALECTS[dialect], **options)


def all_elements(found: InstanceAttributes) -> dict[str, Any]:
    return found.levels.patient | found.levels.study | found.levels.series | found.dicom


def one_value(vr: str, value: Any, tag: int, syntax: str = ExplicitVRLittleEndian, **elements: Any) -> Any:
    """What becomes of one element."""
    data_set = made(**elements)
    data_set.add_new(tag, vr, value)
    return all_elements(attributes(reread(data_set, syntax)))[keyword(tag) or f"{tag:08X}"]


@pytest.mark.parametrize(
    ("level", "group", "count"),
    [(PATIENT, 0x0010, 33), (STUDY, 0x0010, 15), (SERIES, 0x0018, 12), (STUDY, 0x0038, 6), (PATIENT, 0x0012, 12)],
)
def test_the_table_of_levels_is_whole(level: str, group: int, count: int) -> None:
    assert sum(1 for tag, found in LEVELS.items() if found == level and tag >> 16 == group) == count


def test_every_lifted_element_has_a_keyword() -> None:
    assert [f"{tag:08X}" for tag in LEVELS if keyword(tag) is None] == []


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("PatientName", "patient"),
        ("PatientComments", "patient"),
        ("StudyDate", "study"),
        ("PatientAge", "study"),
        ("ProcedureCodeSequence", "study"),
        ("Modality", "series"),
        ("Manufacturer", "series"),
        ("FrameOfReferenceUID", "series"),
        ("RequestAttributesSequence", "series"),
        ("SpecificCharacterSet", "instance"),
        ("TimezoneOffsetFromUTC", "instance"),
        ("OtherPatientIDs", "instance"),
        ("PerformedProcedureStepStartDate", "instance"),
        ("SOPInstanceUID", "instance"),
    ],
)
def test_elements_stand_at_their_level(name: str, level: str) -> None:
    values = {"SpecificCharacterSet": "ISO_IR 100", "PatientAge": "040Y", "FrameOfReferenceUID": "1.2"}
    usual = Sequence() if name.endswith("Sequence") else "20240102" if name.endswith("Date") else "1"
    value = values.get(name, usual)
    elements: dict[str, Any] = {name: value}
    found = attributes(reread(made(**elements)))
    by_level = {
        "patient": found.levels.patient,
        "study": found.levels.study,
        "series": found.levels.series,
        "instance": found.dicom,
    }
    assert [each for each, names in by_level.items() if name in names] == [level]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("vr", "value", "tag", "expected"),
    [
        pytest.param("CS", "ORIGINAL\\PRIMARY\\\\X", 0x00080008, ["ORIGINAL", "PRIMARY", "", "X"], id="an empty one"),
        pytest.param("CS", "AXIAL", 0x00080008, ["AXIAL"], id="VM 2-n with one value"),
        pytest.param("LO", "1.0", 0x00181020, ["1.0"], id="VM 1-n with one value"),
        pytest.param("LO", "A thing ", 0x00081090, "A thing", id="trimmed"),
        pytest.param("LO", None, 0x00081090, None, id="empty"),
        pytest.param("LT", " A\\B ", 0x00204000, " A\\B", id="a backslash in a text"),
        pytest.param("SH", "A\\B", 0x00081010, ["A", "B"], id="VM 1 with two values"),
        pytest.param("PN", "Doe^Jane", 0x00081070, ["Doe^Jane"], id="names with VM 1-n"),
        pytest.param("DS", "40", 0x00281050, ["40"], id="DS"),
        pytest.param("DS", "1.50\\-2e3", 0x00281050, ["1.50", "-2e3 "], id="DS keeps its text"),
        pytest.param("DS", "2.5", 0x00180050, "2.5 ", id="DS keeps its padding"),
        pytest.param("IS", "7", 0x00200013, "7 ", id="IS keeps its padding"),
        pytest.param("US", 512, 0x00280010, 512, id="US"),
        pytest.param("US", [1, 2], 0x00080040, [1, 2], id="several of VM 1"),
        pytest.param("SS", -5, 0x00189219, -5, id="SS"),
        pytest.param("SL", [-70000, 3], 0x00186020, [-70000, 3], id="SL"),
        pytest.param("UL", 4294967295, 0x00186022 - 4, 4294967295, id="UL"),
        pytest.param("FL", 0.5, 0x00089459, 0.5, id="FL"),
        pytest.param("FD", [1e-300, 2.0], 0x00189089, [1e-300, 2.0], id="FD"),
        pytest.param("FD", float("nan"), 0x00189073, "NaN", id="what JSON has no number for"),
        pytest.param("UV", 2**64 - 1, 0x0008040C, 2**64 - 1, id="UV"),
        pytest.param("AT", 0x00181063, 0x00280009, ["00181063"], id="AT"),
        pytest.param("OW", b"\x01\x02\x03\x04", 0x00281201, "AQIDBA==", id="OW"),
        pytest.param("OB", b"\x01\x02", 0x00420011, "AQI=", id="OB"),
        pytest.param("SQ", [], 0x00081111, None, id="an empty sequence"),
    ],
)
def test_values(vr: str, value: Any, tag: int, expected: Any, syntax: str) -> None:
    """AHI, image-set metadata: the same in every encoding; binary values as little endian."""
    if vr == "OW" and syntax == ExplicitVRBigEndian:
        value = b"\x02\x01\x04\x03"
    assert one_value(vr, value, tag, syntax) == expected


def test_the_older_dialect_has_no_padding() -> None:
    data_set = reread(made(SliceThickness="2.5", InstanceNumber="7", PixelSpacing=["1", "2.5"]))
    found = attributes(data_set, "2023").dicom
    assert (found["SliceThickness"], found["InstanceNumber"], found["PixelSpacing"]) == ("2.5", "7", ["1", "2.5"])


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 144", "Люкceмбypг"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    ],
)
def test_text_is_decoded_and_the_character_set_still_named(character_set: Any, name: str) -> None:
    data_set = made(SpecificCharacterSet=character_set, PatientName=name, PhysiciansOfRecord=[name, "B^C"])
    found = attributes(reread(data_set))
    assert found.levels.patient["PatientName"] == name
    assert found.levels.study["PhysiciansOfRecord"] == [name, "B^C"]
    assert found.dicom["SpecificCharacterSet"] == ([character_set] if isinstance(character_set, str) else character_set)


def test_chinese_text_loses_its_escape_sequences() -> None:
    """The example of PS3.5 Section K.2, which pydicom can neither read nor write."""
    data_set = made(SpecificCharacterSet=["", "ISO 2022 IR 58"])
    name, text = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=", b"1. \x1b$)A\xb5\xda\xd2\xbb"
    for tag, vr, value in ((0x00100010, "PN", name), (0x00104000, "LT", text)):
        data_set[tag] = RawDataElement(Tag(tag), vr, len(value), value, 0, is_implicit_VR=False, is_little_endian=True)
    patient = attributes(data_set).levels.patient
    assert (patient["PatientName"], patient["PatientComments"]) == ("Zhang^XiaoDong=张^小东=", "1. 第一")


def test_an_item_may_have_a_character_set_of_its_own() -> None:
    inner, outer = Dataset(), made(SpecificCharacterSet="ISO_IR 100", PatientName="Jörg")
    inner.SpecificCharacterSet, inner.CodeMeaning = "ISO_IR 144", "Люкceмбypг"
    inherited = Dataset()
    inherited.CodeMeaning = "Jörg"
    outer.ProcedureCodeSequence = Sequence([inner, inherited])
    items = attributes(reread(outer)).levels.study["ProcedureCodeSequence"]
    assert [item["CodeMeaning"] for item in items] == ["Люкceмбypг", "Jörg"]


def with_private() -> Dataset:
    data_set, item = made(), Dataset()
    block = data_set.private_block(0x0009, "ACME 1.0", create=True)
    block.add_new(0x01, "DS", ["1.50", "2"])
    block.add_new(0x02, "OB", b"\x01\x02")
    block.add_new(0x03, "US", 7)
    item.private_block(0x0011, "ACME 2.0", create=True).add_new(0x01, "LO", "inner")
    item.CodeValue = "X"
    block.add_new(0x04, "SQ", Sequence([item]))
    return data_set


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_private_elements_are_hex_digits_with_a_vr(syntax: str) -> None:
    found = attributes(reread(with_private(), syntax))
    assert found.vrs == {"00090010": "LO", "00091001": "DS", "00091002": "OB", "00091003": "US", "00091004": "SQ"}
    values = {name: value for name, value in found.dicom.items() if name.startswith("0009")}
    assert values == {
        "00090010": "ACME 1.0",
        "00091001": ["1.50", "2"],
        "00091002": "AQI=",
        "00091003": 7,
        "00091004": [
            {
                "CodeValue": "X",
                "00110010": "ACME 2.0",
                "00111001": "inner",
                "DICOMVRs": {"00110010": "LO", "00111001": "LO"},
            }
        ],
    }


def test_unknown_private_elements_of_implicit_vr_are_bytes() -> None:
    found = attributes(reread(with_private(), ImplicitVRLittleEndian))
    assert (found.dicom["00091003"], found.vrs["00091003"]) == ("BwA=", "UN")


def test_elements_newer_than_the_dictionary_of_ahi_are_hex_digits() -> None:
    data_set = made()
    data_set.add_new(0x00200027, "LO", "a pyramid")
    found = attributes(reread(data_set))
    assert found.dicom["00200027"] == "a pyramid"
    assert found.vrs == {"00200027": "LO"}


def test_overlay_groups_are_told_apart() -> None:
    data_set = made()
    for group in (0x6000, 0x6002):
        data_set.add_new((group, 0x0010), "US", group)
    found = attributes(reread(data_set))
    assert (found.dicom["OverlayRows"], found.dicom["60020010"]) == (0x6000, 0x6002)
    assert found.vrs == {"60020010": "US"}


@pytest.mark.parametrize(("representation", "expected"), [(0, 0xFFFE), (1, -2)])
def test_implicit_us_or_ss_follows_pixel_representation(representation: int, expected: int) -> None:
    elements: dict[str, Any] = {"PixelRepresentation": representation}
    vr = "SS" if representation else "US"
    assert one_value(vr, expected, 0x00280106, ImplicitVRLittleEndian, **elements) == expected
    item = Dataset()
    item.add_new(0x00280106, vr, expected)
    data_set = made(SourceImageSequence=Sequence([item]), **elements)
    (inner,) = attributes(reread(data_set, ImplicitVRLittleEndian)).dicom["SourceImageSequence"]
    assert inner["SmallestImagePixelValue"] == expected


@pytest.mark.parametrize(("dialect", "expected"), [("2025", False), ("2023", True)])
def test_group_0002_is_there_and_pixel_data_is_not(dialect: str, expected: bool) -> None:
    data_set = with_pixels(np.zeros((1, 2, 2), np.uint8))
    found = attributes(reread(data_set), dialect).dicom
    assert found["TransferSyntaxUID"] == ExplicitVRLittleEndian
    assert found["FileMetaInformationVersion"] == "AAE="
    assert ("FileMetaInformationGroupLength" in found) is not expected
    assert ("PixelData" in found) is expected
    assert found.get("PixelData") is None


def test_icons_have_no_pixels() -> None:
    icon = Dataset()
    icon.Rows, icon.Columns, icon.BitsAllocated = 1, 2, 8
    icon.add_new(0x7FE00010, "OB", b"\1\2")
    found = attributes(reread(made(IconImageSequence=Sequence([icon]))))
    assert found.dicom["IconImageSequence"] == [{"Rows": 1, "Columns": 2, "BitsAllocated": 8, "PixelData": None}]


def test_large_binary_values_are_inline_unless_there_is_a_limit() -> None:
    content = b"%PDF" * 500_000
    data_set = reread(made(EncapsulatedDocument=content))
    assert base64.b64decode(attributes(data_set).dicom["EncapsulatedDocument"]) == content
    assert attributes(data_set, max_inline_bytes=2**20).dicom["EncapsulatedDocument"] is None


@pytest.mark.parametrize(
    ("vr", "content", "tag", "expected"),
    [
        ("DS", b"no number ", 0x00180050, "no number "),
        ("IS", b"1A", 0x00280008, "1A"),
        ("US", b"\x01", 0x00280010, None),
        ("US", b"\x01\x00\x02", 0x00280010, 1),
        ("FD", b"1234", 0x00189073, None),
        ("UI", b"1.2\0\0", 0x00080018 + 0x1000, "1.2"),
        ("DA", b"yesterday ", 0x00080022, "yesterday"),
        ("LO", b"\xff\xfe", 0x00081090, "ÿþ"),
        ("PN", b"^^^^", 0x00081050, ["^^^^"]),
    ],
)
def test_ill_formed_values_do_no_harm(vr: str, content: bytes, tag: int, expected: Any) -> None:
    data_set = reread(made())
    data_set._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(content), content, 0, False, True)
    assert all_elements(attributes(data_set))[keyword(tag) or f"{tag:08X}"] == expected


LEVELS_OF_ONE = Levels(
    {"PatientID": "P1", "PatientName": "Doe^Jane"},
    {"StudyInstanceUID": "1.2", "StudyDate": None},
    {"SeriesInstanceUID": "1.2.3", "SeriesNumber": "2 ", "Modality": "CT"},
)


def test_the_document_has_the_shape_of_image_set_metadata() -> None:
    instances: dict[str, dict[str, Any]] = {"1.2.3.5": {"DICOM": {}}, "1.2.3.4": {"DICOM": {"Rows": 2}}}
    whole = document("d" * 32, "i" * 32, LEVELS_OF_ONE, instances, DIALECTS["2025"])
    assert json.loads(encode(whole)) == whole
    assert list(whole) == ["SchemaVersion", "DatastoreID", "ImageSetID", "Patient", "Study"]
    assert whole["SchemaVersion"] == "1.1"
    assert Levels.from_document(whole) == LEVELS_OF_ONE
    assert list(whole["Study"]["Series"]["1.2.3"]["Instances"]) == ["1.2.3.4", "1.2.3.5"]


def test_the_older_dialect_has_keys_in_no_order() -> None:
    instances: dict[str, dict[str, Any]] = {f"1.2.3.{number}": {"DICOM": {}} for number in range(9)}
    ordered, unordered = (document("d", "i", LEVELS_OF_ONE, instances, DIALECTS[name]) for name in ("2025", "2023"))
    assert unordered == ordered
    assert encode(unordered) != encode(ordered)
    turned = document("d", "i", LEVELS_OF_ONE, dict(reversed(instances.items())), DIALECTS["2023"])
    assert encode(unordered) == encode(turned)


def test_tags_to_search_by() -> None:
    tags = search_tags(LEVELS_OF_ONE, 7)
    assert tags == {
        "DICOMPatientId": "P1",
        "DICOMPatientName": "Doe^Jane",
        "DICOMPatientBirthDate": None,
        "DICOMPatientSex": None,
        "DICOMStudyInstanceUID": "1.2",
        "DICOMStudyId": None,
        "DICOMStudyDescription": None,
        "DICOMStudyDate": None,
        "DICOMStudyTime": None,
        "DICOMAccessionNumber": None,
        "DICOMSeriesInstanceUID": "1.2.3",
        "DICOMSeriesModality": "CT",
        "DICOMSeriesBodyPart": None,
        "DICOMSeriesNumber": 2,
        "DICOMNumberOfStudyRelatedSeries": 1,
        "DICOMNumberOfStudyRelatedInstances": 7,
    }


def readable_samples() -> list[Path]:
    found = []
    with quiet():
        for path in sample_files():
            try:
                read(path, pixels=False)
            except Exception:  # noqa: BLE001, S112 - test_samples names what cannot be read
                continue
            found.append(path)
    return found


@pytest.mark.parametrize("path", readable_samples(), ids=lambda path: path.name)
def test_elements_of_the_samples_are_those_of_pydicom(path: Path) -> None:
    with quiet():
        try:
            found = all_elements(attributes(read(path)))
            expected = read(path)
        except Unreadable:
            return
        expected.decode()
        vrs = attributes(read(path)).vrs
        _assert_same(found, expected, vrs, big_endian=expected.original_encoding[1] is False)


def _assert_same(found: dict[str, Any], expected: Dataset, vrs: dict[str, str], big_endian: bool) -> None:
    """Each element of pydicom's is there, with its value; numbers in text are compared as text."""
    names = set()
    for element in expected:
        tag = int(element.tag)
        if tag & 0xFFFF == 0 or tag >> 16 == 0x7FE0:
            continue
        name = keyword(tag) or f"{tag:08X}"
        names.add(name)
        value = found[name]
        if not keyword(tag):
            assert vrs[name] == element.VR
        if element.VR == "SQ":
            for item, other in zip(value or [], element.value, strict=True):
                _assert_same(item, other, item.get("DICOMVRs", {}), big_endian)
        elif not isinstance(element.value, bytes):
            text, other = _texts(value), _texts(element.value)
            if element.VR == "PN":  # of an empty last group pydicom leaves out the delimiter
                text, other = [each.rstrip("=") for each in text], [each.rstrip("=") for each in other]
            assert text == other, name
        elif not big_endian:
            assert base64.b64decode(value or "") == element.value, name
    meta = {each.keyword for each in getattr(expected, "file_meta", ())}
    assert found.keys() - {"DICOMVRs", "PixelData"} - names - meta == set()


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list | MultiValue) else [value]
    words = [_text(each) for each in values]
    return [] if not any(words) else words


def _text(value: Any) -> str:
    text = value if isinstance(value, PersonName) else getattr(value, "original_string", value)
    if text is None:
        return ""
    if isinstance(value, BaseTag):
        text = f"{value:08X}"
    if isinstance(text, float):
        return repr(text)
    return str(text).strip(" \0")
