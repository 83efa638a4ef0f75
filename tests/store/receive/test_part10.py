"""Heads of DICOM files: read as pydicom reads them, from every sample; a file that was cut off anywhere is told."""

import time
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_files
from pydicom.errors import InvalidDicomError
from pydicom.sequence import Sequence

from store.receive.file_bytes import MemoryBytes
from store.receive.part10 import CannotUnderstand, FileHead, read_head
from tests.pydicom_files import pydicom_path
from tests.store.dicom_files import STUDY, data_set, encoded, file

REFUSED = {  # sample: why it is refused, although pydicom reads it
    "MR_truncated.dcm": "breaks off",
    "rtplan_truncated.dcm": "breaks off",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "breaks off",
    "meta_missing_tsyntax.dcm": "no transfer syntax",
}
SAMPLES = sorted(
    {Path(path) for path in get_testdata_files() if Path(path).suffix in ("", ".dcm") and Path(path).is_file()}
)


def head_of(content: bytes, wanted: tuple[int, ...] = ()) -> FileHead:
    """The head of a file that lies in the middle of others bytes."""
    return read_head(MemoryBytes(b"before" + content + b"behind"), 6, 6 + len(content), wanted)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_samples_are_read_as_by_pydicom(path: Path) -> None:
    content = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = dcmread(BytesIO(content), stop_before_pixels=True)
        except InvalidDicomError:
            with pytest.raises(CannotUnderstand, match="not a DICOM file"):
                head_of(content)
            return
        if reason := REFUSED.get(path.name):
            with pytest.raises(CannotUnderstand, match=reason):
                head_of(content)
            return
        head = head_of(content, (0x00100020,))
        found = (head.sop_class_uid, head.sop_instance_uid, head.study_instance_uid, head.series_instance_uid)
        names = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
        assert found == tuple(str(expected.get(name, "")) for name in names)
        assert head.transfer_syntax_uid == expected.file_meta.TransferSyntaxUID
        patient = head.data_set.get("00100020", {}).get("Value", [""])
        assert str(patient[0]) == str(expected.get("PatientID") or "")


@pytest.mark.parametrize("name", ["CT_small.dcm", "rtplan.dcm", "JPEG2000.dcm", "image_dfl.dcm", "test-SR.dcm"])
def test_a_file_that_was_cut_off_is_told(name: str) -> None:
    content = pydicom_path(name).read_bytes()
    head_of(content)
    end = len(content) - 8  # what follows a deflated data set is padding
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "PixelData" in dcmread(BytesIO(content)):
            end = content.rindex(b"\xfc\xff\xfc\xff") if b"\xfc\xff\xfc\xff" in content else end  # padding behind them
    for cut in [*range(0, end, max(1, end // 200)), end - 1]:
        if cut < end:
            try:
                found = head_of(content[:cut])
            except CannotUnderstand:
                continue
            assert _ends_between_elements(content, cut), f"{cut} of {end}: {found}"


def _ends_between_elements(content: bytes, cut: int) -> bool:
    """Whether pydicom finds a whole, shorter data set: nobody can tell that more should follow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return len(dcmread(BytesIO(content[:cut]))) < len(dcmread(BytesIO(content)))


def test_what_was_read_before_a_break_is_told() -> None:
    with pytest.raises(CannotUnderstand) as error:
        head_of(file("1.2.3")[:-10])
    assert error.value.head and error.value.head.sop_instance_uid == "1.2.3"


def nested(depth: int) -> bytes:
    made = data_set("1.2.3")
    inner = Dataset()
    for _ in range(depth):
        outer = Dataset()
        outer.ReferencedSeriesSequence = Sequence([inner])
        outer["ReferencedSeriesSequence"].is_undefined_length = True
        inner.is_undefined_length_sequence_item = True
        inner = outer
    made.RequestAttributesSequence = Sequence([inner])
    made["RequestAttributesSequence"].is_undefined_length = True
    return encoded(made)


def test_sequences_of_undefined_length_are_skipped() -> None:
    assert head_of(nested(20)).study_instance_uid == STUDY


def element(tag: int, vr: bytes, length: int, value: bytes = b"") -> bytes:
    start = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
    return start + vr + b"\0\0" + length.to_bytes(4, "little") + value


def test_nesting_has_a_bound() -> None:
    sequence = element(0x00081115, b"SQ", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    content = file("1.2.3").partition(b"\x08\0\x20\0DA")[0] + sequence * 100_000
    with pytest.raises(CannotUnderstand, match="nested"):
        head_of(content)


def test_a_deflated_file_is_not_inflated_further_than_needed() -> None:
    made = file("1.2.3").partition(b"\x28\0\x02\0")[0]
    at = made.index(b"\x08\0\x16\0")
    bomb = made[at:] + element(0x00420011, b"OB", 2**30, b"")
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = (
        deflater.compress(bomb) + b"".join(deflater.compress(bytes(2**20)) for _ in range(256)) + deflater.flush()
    )
    meta = made[:at].replace(b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x16\x001.2.840.10008.1.2.1.99")
    began = time.process_time()
    assert head_of(meta + deflated).sop_instance_uid == "1.2.3"
    assert time.process_time() - began < 5
    with pytest.raises(CannotUnderstand, match="damaged"):
        head_of(meta + b"\xff" + deflated)


def test_many_elements_take_a_bounded_time() -> None:
    content = file("1.2.3").partition(b"\x28\0\x02\0")[0] + b"\x09\0\x10\x10LO\0\0" * 3_000_000
    began = time.process_time()
    assert head_of(content).sop_instance_uid == "1.2.3"
    assert time.process_time() - began < 20


@given(st.binary(max_size=300), st.integers(0, 700), st.integers(0, 40))
def test_any_bytes_are_a_head_or_refused(noise: bytes, at: int, dropped: int) -> None:
    content = file("1.2.3")
    spoiled = content[:at] + noise + content[at + dropped :]
    for candidate in (noise, bytes(128) + b"DICM" + noise, spoiled):
        try:
            head = head_of(candidate, (0x00100020,))
        except CannotUnderstand:
            continue
        assert isinstance(head.sop_instance_uid, str) and isinstance(head.series_instance_uid, str)


def short_element(tag: int, vr: bytes, value: bytes) -> bytes:
    return (
        (tag >> 16).to_bytes(2, "little")
        + (tag & 0xFFFF).to_bytes(2, "little")
        + vr
        + len(value).to_bytes(2, "little")
        + value
    )


OTHER_STUDY = short_element(0x0020000D, b"UI", b"6.6.6\0")
LONG_SEQUENCE = element(0x00409096, b"SQ", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\0\0\0\0" * 400_000
END_OF_SEQUENCE = b"\xfe\xff\xdd\xe0\0\0\0\0"


@pytest.mark.parametrize(
    "place", ["first", "before the pixels", "behind the pixels", "behind zeros", "behind padding", "behind noise"]
)
def test_what_identifies_a_file_is_there_once(place: str) -> None:
    """Readers differ in which of two values they take, so a client could store into a study that it may not see."""
    content = file("1.2.3")
    behind = {"zeros": bytes(8), "padding": element(0xFFFCFFFC, b"OB", 8, bytes(8)), "noise": b"\xff" * 70_001}
    word = place.rpartition(" ")[2]
    if word in behind or place == "behind the pixels":
        doubled = content + behind.get(word, b"") + OTHER_STUDY
        head_of(content + behind.get(word, b""))
    else:
        at = content.index(b"\x08\0\x16\0" if place == "first" else b"\xe0\x7f\x10\0")
        doubled = content[:at] + OTHER_STUDY + content[at:]
    with pytest.raises(CannotUnderstand, match="twice"):
        head_of(doubled)


def test_an_attribute_of_a_filter_is_there_once() -> None:
    content = file("1.2.3") + short_element(0x00100020, b"LO", b"W1")
    head_of(content)
    with pytest.raises(CannotUnderstand, match="twice"):
        head_of(content, (0x00100020,))


def test_only_what_is_examined_to_its_end_is_stored_under_a_filter() -> None:
    content, _, pixels = file("1.2.3").partition(b"\xe0\x7f\x10\0")
    long = content + LONG_SEQUENCE + END_OF_SEQUENCE + OTHER_STUDY + b"\xe0\x7f\x10\0" + pixels
    assert head_of(long).study_instance_uid == STUDY
    with pytest.raises(CannotUnderstand, match="too many elements"):
        head_of(long, (0x00100020,))


def test_the_first_element_tells_the_encoding_as_for_other_readers() -> None:
    content = file("1.2.3").replace(b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x14\x001.2.840.10008.1.2\0\0\0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert head_of(content).study_instance_uid == dcmread(BytesIO(content)).StudyInstanceUID == STUDY


def test_only_sequences_and_pixels_have_an_undefined_length() -> None:
    """Other readers look for the end of such a value within its items."""
    content, _, pixels = file("1.2.3").partition(b"\xe0\x7f\x10\0")
    hidden = END_OF_SEQUENCE + OTHER_STUDY
    odd = element(0x00420011, b"OB", 0xFFFFFFFF, b"\xfe\xff\x00\xe0" + len(hidden).to_bytes(4, "little") + hidden)
    with pytest.raises(CannotUnderstand, match="undefined length"):
        head_of(content + odd + END_OF_SEQUENCE + b"\xe0\x7f\x10\0" + pixels)
