"""The contract with pydicom: private parts that the service relies on. An upgrade of pydicom fails here first."""

import re
import zlib
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from dicomweb.pydicom_adapter import REPEATED_TAGS, elements_in_file_order, read_file_meta, skip_command_set

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def written(data_set: Dataset, transfer_syntax: str) -> bytes:
    """A file of the data set."""
    data_set.SOPClassUID, data_set.SOPInstanceUID = SECONDARY_CAPTURE, "1.2.3"
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = transfer_syntax  # type: ignore[assignment]
    file = BytesIO()
    dcmwrite(file, data_set, enforce_file_format=True)
    return file.getvalue()


def test_the_installed_version_is_the_pinned_one() -> None:
    requirements = (Path(__file__).parents[2] / "requirements.txt").read_text()
    pinned = re.search(r"^pydicom==(\S+)", requirements, re.MULTILINE)
    assert pinned and version("pydicom") == pinned[1]


def test_repeated_keywords_have_the_tags_of_their_first_group() -> None:
    assert {keyword: REPEATED_TAGS[keyword] for keyword in ("OverlayRows", "OverlayData", "CurveData")} == {
        "OverlayRows": 0x60000010,
        "OverlayData": 0x60003000,
        "CurveData": 0x50003000,
    }
    assert all(tag >> 24 in (0x00, 0x10, 0x20, 0x50, 0x60, 0x7F) for tag in REPEATED_TAGS.values())


def test_a_file_is_read_up_to_its_data_set() -> None:
    data_set = Dataset()
    data_set.PatientID = "a" * 60
    file = BytesIO(written(data_set, DeflatedExplicitVRLittleEndian))
    meta = read_file_meta(file)
    skip_command_set(file)
    assert meta["TransferSyntaxUID"].value == DeflatedExplicitVRLittleEndian
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read())
    assert inflated.startswith(b"\x08\x00\x16\x00UI")
    assert b"a" * 60 in inflated


def test_elements_come_in_the_order_of_the_file_and_are_not_parsed() -> None:
    data_set = Dataset()
    data_set.PatientID, data_set.PatientName = "1", "A"
    content = written(data_set, ExplicitVRLittleEndian)
    end = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 192"  # a tag that is smaller than the ones before
    read = dcmread(BytesIO(content + end))
    elements = elements_in_file_order(read)
    assert [*elements][-2:] == [Tag(0x00100020), Tag(0x00080005)]
    assert isinstance(elements[Tag(0x00100020)], RawDataElement)
    del elements[Tag(0x00100020)]
    assert "PatientID" not in read
