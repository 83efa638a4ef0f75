"""Metadata and bulk data become the DICOM file that they were taken from."""

import json
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.data import get_charset_files

from dicomweb.dicom_xml import encode_xml
from dicomweb.errors import BadRequest, ContentTooLarge
from store.outcome import FailureReason, Outcome
from store.receive.assembly import MAX_INSTANCES, MAX_METADATA_BYTES, MetadataAndBulk
from store.receive.body import receiving
from store.receive.metadata import parse_json, parse_xml, to_metadata
from store.receive.part10 import CannotUnderstand
from store.spool.layout import SpoolFull
from store.spool.spool import Spool
from tests.pydicom_files import pydicom_path
from tests.store.dicom_files import BOUNDARY, data_set, encoded

JSON, XML = "application/dicom+json", "application/dicom+xml"
Part = tuple[dict[str, str], bytes]


def body_of(parts: Sequence[Part]) -> bytes:
    body = b""
    for fields, content in parts:
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        body += f"\r\n--{BOUNDARY}\r\n{head}\r\n".encode() + content
    return body + f"\r\n--{BOUNDARY}--".encode()


def assembled(tmp_path: Path, parts: Sequence[Part], part_type: str = JSON, syntax: str = "") -> list[bytes | Outcome]:
    """What becomes of each instance: its file, or why there is none."""
    spool = Spool(tmp_path / "spool")
    spool.open()
    body = body_of(parts)
    with receiving(spool, BytesIO(body), 2**30) as received:
        files = [*MetadataAndBulk(BOUNDARY.encode(), part_type, syntax).files(received)]
        return [
            file if isinstance(file, Outcome) else received.content.read(file[0], file[1] - file[0]) for file in files
        ]


def split(made: Dataset, threshold: int = 40) -> tuple[dict[str, Any], list[Part]]:
    """The metadata of a data set in the DICOM JSON Model, and its long values as parts."""
    bulk: list[Part] = []

    def take(element: Any) -> str:
        location = f"https://example.org/bulk/{element.tag:08X}"
        value = element.value if isinstance(element.value, bytes) else b""
        bulk.append(({"Content-Type": "application/octet-stream", "Content-Location": location}, value))
        return location

    model = made.to_json_dict(bulk_data_threshold=threshold, bulk_data_element_handler=take)
    return model, bulk


def comparable(made: Dataset) -> Dataset:
    """A data set without what a copy in another encoding need not have."""
    for tag in list(made.keys()):
        if tag.element == 0 or tag == 0x00080005:
            del made[tag]
    if "PatientName" in made:
        made.PatientName = str(made.PatientName).rstrip("^")  # XML has no empty components at the end
    return made


def path_of(name: str) -> Path:
    return Path(get_charset_files(name)[0]) if name.startswith("chr") else pydicom_path(name)


FILES = [
    "CT_small.dcm",
    "MR_small.dcm",
    "rtplan.dcm",
    "test-SR.dcm",
    "waveform_ecg.dcm",
    "chrH31.dcm",
    "examples_palette.dcm",
]


@pytest.mark.parametrize(
    ("name", "part_type"),
    [(name, kind) for name in FILES for kind in (JSON, XML) if not (kind == XML and "chr" in name)],
)
def test_files_come_out_as_they_went_in(tmp_path: Path, name: str, part_type: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = dcmread(path_of(name))
        source.decode()
        top_level = dcmread(path_of(name))
        model, bulk = split(top_level, 2**40)
        pixels = source.get("PixelData")
        if pixels:
            model["7FE00010"] = {"vr": model["7FE00010"]["vr"], "BulkDataURI": "pixels"}
            bulk = [({"Content-Location": "pixels", "Content-Type": "application/octet-stream"}, pixels)]
        content = json.dumps([model]).encode() if part_type == JSON else encode_xml(model)
        (file,) = assembled(tmp_path, [({"Content-Type": part_type}, content), *bulk], part_type)
        assert isinstance(file, bytes), file
        result = dcmread(BytesIO(file))
        assert result.file_meta.MediaStorageSOPInstanceUID == source.SOPInstanceUID
        assert result.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert comparable(result) == comparable(source)


def test_compressed_pixels_keep_their_bytes_and_name_their_syntax(tmp_path: Path) -> None:
    made = data_set("1.2.3")
    model, _ = split(made)
    frames = [b"\xff\xd8one\xff\xd9", b"\xff\xd8other\xff\xd9"]
    for fields, syntax in (
        ({"Content-Type": "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.57"}, "1.2.840.10008.1.2.4.57"),
        ({"Content-Type": "image/jls"}, "1.2.840.10008.1.2.4.80"),
    ):
        location = {"Content-Location": model["7FE00010"]["BulkDataURI"]}
        parts = [
            ({"Content-Type": JSON}, json.dumps([model]).encode()),
            *(({**fields, **location}, one) for one in frames),
        ]
        (file,) = assembled(tmp_path, parts)
        assert isinstance(file, bytes), file
        result = dcmread(BytesIO(file))
        assert result.file_meta.TransferSyntaxUID == syntax
        assert all(frame in result.PixelData for frame in frames)
        assert result["PixelData"].is_undefined_length


@pytest.mark.parametrize("text", ["Müller^Jörg", "山田^太郎=やまだ^たろう", "Anna"])
def test_letters_are_kept(tmp_path: Path, text: str) -> None:
    model, bulk = split(data_set("1.2.3"))
    model["00100010"] = {
        "vr": "PN",
        "Value": [{"Alphabetic": text.split("=")[0], "Ideographic": "".join(text.split("=")[1:])}],
    }
    parts = [({"Content-Type": JSON}, json.dumps([model], ensure_ascii=False).encode()), *bulk]
    (file,) = assembled(tmp_path, parts)
    assert isinstance(file, bytes)
    result = dcmread(BytesIO(file))
    assert str(result.PatientName) == text
    assert ("SpecificCharacterSet" in result) == (not text.isascii())


def test_several_instances_share_a_body(tmp_path: Path) -> None:
    models, bulk = [], []
    for number in range(3):
        model, parts = split(data_set(f"1.2.3.{number}"))
        location = f"bulk/{number}"
        model["7FE00010"]["BulkDataURI"] = location
        models.append(model)
        bulk.append(({"Content-Location": location}, parts[0][1]))
    files = assembled(tmp_path, [({"Content-Type": JSON}, json.dumps(models).encode()), *bulk])
    for number, file in enumerate(files):
        assert isinstance(file, bytes)
        assert (
            dcmread(BytesIO(file)) == dcmread(BytesIO(file))
            and dcmread(BytesIO(file)).SOPInstanceUID == f"1.2.3.{number}"
        )


def _without_bulk(model: dict[str, Any]) -> list[Any]:
    return [{**model, "7FE00010": {"vr": "OW", "BulkDataURI": "elsewhere"}}]


REFUSED: list[Any] = [
    pytest.param(_without_bulk, "not in the request", id="bulk data that are missing"),
    pytest.param(lambda model: [{**model, "00280010": {"vr": "US", "Value": ["x"]}}], "malformed", id="no number"),
    pytest.param(lambda model: [{**model, "00280010": {"vr": "??", "Value": [1]}}], "malformed", id="no VR"),
    pytest.param(lambda model: [{**model, "Rows": {"vr": "US", "Value": [1]}}], "malformed", id="no tag"),
    pytest.param(lambda model: [{**model, "00280010": 7}], "malformed", id="no element"),
    pytest.param(lambda model: [{**model, "00091010": {"vr": "OB", "InlineBinary": "!"}}], "malformed", id="no base64"),
    pytest.param(
        lambda model: [{**model, "00091010": {"vr": "AT", "Value": ["x"]}}], "does not fit", id="no tag as value"
    ),
    pytest.param(
        lambda model: [{**model, "00400275": {"vr": "SQ", "Value": [{"00091010": {"vr": "OB", "BulkDataURI": "x"}}]}}],
        "within sequences",
        id="bulk data in a sequence",
    ),
]


@pytest.mark.parametrize(("change", "detail"), REFUSED)
def test_what_cannot_be_made_is_an_outcome(tmp_path: Path, change: Callable[[Any], Any], detail: str) -> None:
    model, bulk = split(data_set("1.2.3"))
    (outcome,) = assembled(tmp_path, [({"Content-Type": JSON}, json.dumps(change(model)).encode()), *bulk])
    assert isinstance(outcome, Outcome) and outcome.failure == FailureReason.CANNOT_UNDERSTAND
    assert detail in outcome.detail


NESTED = '{"00400275":{"vr":"SQ","Value":[' * 100 + "{}" + "]}}" * 100
XML_HEAD = '<?xml version="1.0"?>'
XML_VALUE = (
    '<NativeDicomModel><DicomAttribute tag="00100020" vr="LO"><Value number="{number}">a</Value></DicomAttribute>'
    "</NativeDicomModel>"
)


@pytest.mark.parametrize(
    ("content", "part_type"),
    [
        ("", JSON),
        ("{", JSON),
        ("[]", JSON),
        ("[1]", JSON),
        ("[" * 100_000, JSON),
        ("\xff", JSON),
        ("<a/>", XML),
        ("<", XML),
        (XML_HEAD + '<!DOCTYPE a [<!ENTITY b "c">]><NativeDicomModel/>', XML),
        (XML_HEAD + "<NativeDicomModel>" + "<a>" * 100_000, XML),
        ("[" + "{}," * 500_000 + "{}]", JSON),
        (XML_HEAD + "<NativeDicomModel>" + "<a/>" * 500_001 + "</NativeDicomModel>", XML),
        (XML_VALUE.format(number="first"), XML),
        (XML_VALUE.format(number="65000"), XML),
        (XML_VALUE.format(number="0"), XML),
    ],
)
def test_malformed_metadata(tmp_path: Path, content: str, part_type: str) -> None:
    with pytest.raises(BadRequest):
        assembled(tmp_path, [({"Content-Type": part_type}, content.encode("latin-1"))], part_type)


def test_deep_sequences_are_refused(tmp_path: Path) -> None:
    (outcome,) = assembled(tmp_path, [({"Content-Type": JSON}, NESTED.encode())])
    assert isinstance(outcome, Outcome) and "nested" in outcome.detail


def test_metadata_have_a_bound(tmp_path: Path) -> None:
    with pytest.raises(ContentTooLarge):
        assembled(tmp_path, [({"Content-Type": JSON}, b" " * (MAX_METADATA_BYTES + 1))])


def test_instances_have_a_bound(tmp_path: Path) -> None:
    with pytest.raises(ContentTooLarge):
        assembled(tmp_path, [({"Content-Type": JSON}, json.dumps([{}] * (MAX_INSTANCES + 1)).encode())])


def test_what_is_made_has_the_bound_of_the_body(tmp_path: Path) -> None:
    """Many instances that name the same bulk data must not fill the disk."""
    model, _ = split(data_set("1.2.3"))
    model["7FE00010"] = {"vr": "OW", "BulkDataURI": "pixels"}
    parts = [
        ({"Content-Type": JSON}, json.dumps([model] * 50).encode()),
        ({"Content-Type": "application/octet-stream", "Content-Location": "pixels"}, bytes(100_000)),
    ]
    spool = Spool(tmp_path / "spool")
    spool.open()
    with receiving(spool, BytesIO(body_of(parts)), 2**20) as received:
        files = MetadataAndBulk(BOUNDARY.encode(), JSON, "").files(received)
        with pytest.raises(ContentTooLarge):
            list(files)
        assert received.path.stat().st_size <= 2 * 2**20
    assert not [*spool.incoming.iterdir()]


def test_what_is_made_needs_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = split(data_set("1.2.3"))
    spool = Spool(tmp_path / "spool")
    spool.open()
    body = body_of([({"Content-Type": JSON}, json.dumps([model]).encode())])
    monkeypatch.setattr("store.receive.body._CHECK_BYTES", len(body) // 2)
    with receiving(spool, BytesIO(body), 2**20) as received:
        monkeypatch.setattr(spool, "check_room", Mock(side_effect=SpoolFull("no room")))
        with pytest.raises(SpoolFull):
            received.add(bytes(8))


@pytest.mark.parametrize(
    "change",
    [
        {"0020000d": {"vr": "UI", "Value": ["6.6.6"]}},
        {"7fe00010": {"vr": "OW", "InlineBinary": "AAAA"}},
        {"zz": {"vr": "OB", "BulkDataURI": "x"}},
        {"00280009": {"vr": "AT", "Value": ["FFFFFFFFFF"]}},
        {"00280009": {"vr": "AT", "Value": ["-1"]}},
        {"00080005": {"vr": "CS", "Value": ["ISO_IR 100"]}, "00100020": {"vr": "LO", "Value": ["\ud800"]}},
    ],
)
def test_attributes_that_cannot_be_are_an_outcome(tmp_path: Path, change: dict[str, Any]) -> None:
    model, bulk = split(data_set("1.2.3"))
    parts = [({"Content-Type": JSON}, json.dumps([{**model, **change}]).encode()), *bulk]
    (outcome,) = assembled(tmp_path, [*parts, ({"Content-Location": "x"}, b"1.2.840.10008.1.2.1")])
    assert isinstance(outcome, Outcome) and outcome.failure == FailureReason.CANNOT_UNDERSTAND


@pytest.mark.parametrize("tag", ["00020010", "FFFEE000", "00080000"])
def test_bulk_data_of_no_data_set_are_left_out(tmp_path: Path, tag: str) -> None:
    model, bulk = split(data_set("1.2.3"))
    parts = [({"Content-Type": JSON}, json.dumps([{**model, tag: {"vr": "UI", "BulkDataURI": "x"}}]).encode()), *bulk]
    (content,) = assembled(tmp_path, [*parts, ({"Content-Location": "x"}, b"1.2.840.10008.1.2.1")])
    assert isinstance(content, bytes) and dcmread(BytesIO(content)) == dcmread(BytesIO(encoded(data_set("1.2.3"))))


def test_a_body_without_metadata_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(BadRequest):
        assembled(tmp_path, [({"Content-Type": "application/octet-stream"}, b"x")])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["vr", "Value", "00100010", "BulkDataURI", "InlineBinary", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
elements = st.fixed_dictionaries(
    {},
    optional={
        "vr": st.sampled_from(["PN", "US", "SQ", "OB", "DS", "FD", "AT", "LO", "xx"]) | json_values,
        "Value": json_values,
        "InlineBinary": json_values,
        "BulkDataURI": json_values,
    },
)


@given(
    st.dictionaries(
        st.sampled_from(["00100010", "00080005", "7FE00010", "00091010", "x"]), elements | json_values, max_size=4
    )
)
def test_any_metadata_are_an_instance_or_refused(tmp_path_factory: pytest.TempPathFactory, document: Any) -> None:
    for model in parse_json(json.dumps([document]).encode()):
        with suppress(CannotUnderstand):
            to_metadata(model)
    (result,) = assembled(tmp_path_factory.mktemp("any"), [({"Content-Type": JSON}, json.dumps([document]).encode())])
    assert isinstance(result, bytes | Outcome)


@given(st.binary(max_size=200))
def test_any_bytes_are_xml_or_refused(content: bytes) -> None:
    for prefix in (b"", b"<NativeDicomModel>"):
        with suppress(CannotUnderstand):
            for model in parse_xml(prefix + content):
                to_metadata(model)
