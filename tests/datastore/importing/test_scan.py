import gzip
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Sequence, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from datastore.findings import FindingKind, Findings
from datastore.importing.metadata import DIALECTS, InstanceAttributes
from datastore.importing.scan import DicomFile, NotDicom, Refused, Unreadable, quiet, read, scan
from tests.datastore.made import made, with_pixels, written


def outcome(path: Path) -> list[tuple[str, str]]:
    """What scan says of each file: its name, and its reason or the kind of thing it is."""
    with quiet():
        found = list(scan([path]))
    return [(each.path.name, each.reason if isinstance(each, Refused) else type(each).__name__) for each in found]


def test_files_are_found_at_any_depth_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a", "c/d/e/f/1", "B"):
        written(made(), tmp_path / name)
    with quiet():
        found = list(scan([tmp_path / "c", tmp_path]))
    assert [str(each.path.relative_to(tmp_path)) for each in found] == ["c/d/e/f/1", "B", "a", "b/1", "b/2"]
    first = found[0]
    assert isinstance(first, DicomFile)
    assert (first.path, first.study_instance_uid, first.series_instance_uid) == (
        tmp_path / "c/d/e/f/1",
        "1.2.3.1",
        "1.2.3.1.1",
    )


def test_links_are_followed_and_nothing_is_taken_twice(tmp_path: Path) -> None:
    written(made(), tmp_path / "folder/file")
    (tmp_path / "folder/loop").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "folder/file")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    assert [name for name, kind in outcome(tmp_path) if kind == "DicomFile"] == ["again"]
    assert [name for name, kind in outcome(tmp_path) if kind.startswith("cannot be opened")] == ["itself"]


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert outcome(tmp_path) == []


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert outcome(tmp_path / "missing") == [("missing", "cannot be opened: No such file or directory")]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"DICM",
        b"plain text, longer than a preamble " * 10,
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        gzip.compress(bytes(300), mtime=0),
        b"\x08\x00\x05\x00\xff\xff\xff\x7f" + bytes(200),
        b"\x02\x00\x00\x10" + bytes(200),
    ],
)
def test_other_kinds_of_files_are_no_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert outcome(tmp_path) == [("file", "NotDicom")]


def cut(path: Path, length_bytes: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:length_bytes])


def _none(keywords: Iterable[str]) -> dict[str, Any]:
    """What takes these elements out of a data set that is made."""
    return dict.fromkeys(keywords)


def without(*keywords: str) -> Callable[[Path], object]:
    return lambda path: written(made(**_none(keywords)), path)


def truncated_pixels(path: Path) -> None:
    written(with_pixels(np.zeros((1, 50, 50), np.uint16)), path)
    cut(path, -100)


def truncated_frames(path: Path) -> None:
    sample = Path(str(get_testdata_file("SC_rgb_jpeg_dcmtk.dcm", download=False)))
    path.write_bytes(sample.read_bytes()[:-500])


def truncated_text(path: Path) -> None:
    written(made(ImageComments="x" * 5000), path)
    cut(path, -1000)


def only_a_preamble(path: Path) -> None:
    path.write_bytes(bytes(128) + b"DICM")


def garbage(path: Path) -> None:
    path.write_bytes(bytes(128) + b"DICM" + bytes(range(256)) * 40)


def directory(path: Path) -> None:
    written(made(DirectoryRecordSequence=Sequence()), path)


UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def nothing(path: Path) -> None:
    """Text that belongs to nobody."""
    without(*UIDS, "PatientID", "PatientName", "Modality")(path)


def palette(path: Path) -> None:
    without(*UIDS[2:])(path)
    data_set = dcmread(path)
    data_set.SOPClassUID = "1.2.840.10008.5.1.4.39.1"
    data_set.save_as(path)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        pytest.param(nothing, "has no SOPClassUID, SOPInstanceUID, StudyInstanceUID, SeriesInstanceUID", id="nothing"),
        pytest.param(palette, "belongs to no study", id="an object without a patient"),
        pytest.param(truncated_pixels, "breaks off before its end", id="truncated pixels"),
        pytest.param(truncated_frames, "breaks off before its end", id="truncated frames"),
        pytest.param(truncated_text, "breaks off before its end", id="truncated text"),
        pytest.param(only_a_preamble, "breaks off before its end", id="only a preamble"),
        pytest.param(garbage, "breaks off before its end", id="garbage"),
        pytest.param(directory, "is a DICOMDIR, which only lists other files", id="DICOMDIR"),
    ],
)
def test_broken_files_are_refused_with_a_reason(tmp_path: Path, broken: Callable[[Path], object], reason: str) -> None:
    path = tmp_path / "file"
    broken(path)
    with quiet(), pytest.raises(Unreadable, match=reason):
        read(path)


@pytest.mark.parametrize("missing", [[UIDS[0]], [UIDS[1]], [UIDS[2]], [UIDS[3]], UIDS])
def test_uids_that_are_missing_are_given_and_told(tmp_path: Path, missing: list[str]) -> None:
    """The same for the same file, others for another one; those of the meta information where it has them."""
    path, other = (written(made(**_none(missing), PatientID=name), tmp_path / name) for name in ("1", "2"))
    findings = Findings()
    with quiet():
        one, again, another = read(path, findings), read(path), read(other)
    assert [(finding.kind, finding.where) for finding in findings] == [
        (FindingKind.UID_GIVEN, name) for name in missing
    ]
    assert all(one[name].value == again[name].value and one[name].value for name in UIDS)
    for name in missing:
        if name in ("StudyInstanceUID", "SeriesInstanceUID"):
            assert one[name].value.startswith("2.25.")
            shared = name == "StudyInstanceUID" and "SeriesInstanceUID" not in missing
            assert (one[name].value == another[name].value) is shared, "a series is of one study"
        else:
            assert one[name].value == one.file_meta[f"MediaStorage{name}"].value


def test_an_object_without_any_uid_is_told_from_others(tmp_path: Path) -> None:
    uids = set()
    for name in ("1", "2"):
        path = written(made(**_none(UIDS), PatientID=name), tmp_path / name)
        data_set = dcmread(path)
        del data_set.file_meta.MediaStorageSOPInstanceUID
        del data_set.file_meta.MediaStorageSOPClassUID
        data_set.save_as(path, enforce_file_format=False)
        with quiet():
            given = read(path)
        assert given.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66", "raw data, as it is no image"
        uids |= {given.SOPInstanceUID, given.SeriesInstanceUID, given.StudyInstanceUID}
    assert len(uids) == 6


def test_two_uids_are_none(tmp_path: Path) -> None:
    path, findings = written(made(SOPInstanceUID=["1.2.3", "1.2.4"]), tmp_path / "file"), Findings()
    with quiet():
        assert read(path, findings).SOPInstanceUID.startswith("2.25.")
    assert [finding.where for finding in findings] == ["SOPInstanceUID"]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(
    "trailing",
    [
        bytes(1),
        bytes(6),
        bytes(512),
        b"\r\n",
        b"--boundary--\r\n",
        b"\xfe\xff\xdd\xe0\0\0\0\0",
        b"\xfe\xff\xdd\xe0\0\0\0\0" * 3,
        b"\xfe\xff\x0d\xe0\0\0\0\0",
    ],
)
def test_what_follows_the_pixel_data_and_is_no_element_is_left_out(
    tmp_path: Path, trailing: bytes, syntax: str
) -> None:
    data_set = with_pixels(np.arange(16, dtype=np.uint16).reshape(1, 4, 4))
    data_set.file_meta.TransferSyntaxUID = UID(syntax)
    path = written(data_set, tmp_path / "file")
    path.write_bytes(path.read_bytes() + trailing)
    with quiet():
        found = read(path)
        attributes = InstanceAttributes.from_data_set(found, DIALECTS["2025"])
    assert found.PixelData == data_set.PixelData
    assert not any(name.startswith("FFFE") or name in ("Item", "") for name in attributes.dicom)
    assert attributes.dicom["Rows"] == 4


@pytest.mark.parametrize(
    ("name", "transfer_syntax_uid"),
    [
        ("ExplVR_LitEndNoMeta.dcm", "1.2.840.10008.1.2.1"),
        ("ExplVR_BigEndNoMeta.dcm", "1.2.840.10008.1.2.2"),
        ("rtstruct.dcm", "1.2.840.10008.1.2"),
    ],
)
def test_files_without_meta_information_are_read_where_they_can_be(name: str, transfer_syntax_uid: str) -> None:
    path = Path(str(get_testdata_file(name, download=False)))
    with quiet():
        data_set = read(path)
        (found,) = scan([path])
    assert isinstance(found, DicomFile)
    assert data_set.file_meta.TransferSyntaxUID == transfer_syntax_uid
    assert str(data_set.StudyInstanceUID) == found.study_instance_uid


def test_a_file_without_a_preamble_is_read(tmp_path: Path) -> None:
    whole = written(made(ImplicitVRLittleEndian), tmp_path / "whole").read_bytes()
    (tmp_path / "whole").write_bytes(whole[132:])
    assert outcome(tmp_path) == [("whole", "DicomFile")]


def test_the_first_look_takes_only_the_header(tmp_path: Path) -> None:
    path = tmp_path / "file"
    truncated_pixels(path)
    assert outcome(path) == [("file", "DicomFile")]


@pytest.mark.parametrize("keyword", ["PatientName", "StudyDate"])
def test_nothing_is_said_of_what_a_file_holds(tmp_path: Path, keyword: str, caplog: pytest.LogCaptureFixture) -> None:
    """pydicom warns and logs with the values; pytest would turn the warning into an error."""
    caplog.set_level(logging.WARNING, "pydicom")
    path = written(made(SpecificCharacterSet="ISO_IR 6"), tmp_path / "file")
    path.write_bytes(path.read_bytes().replace(b"Doe^Jane", b"\xff\xfeSECRE").replace(b"20240102", b"SECRETXX"))
    with quiet():
        str(dcmread(path)[keyword].value)
    assert "SECRE" not in caplog.text
    assert logging.getLogger("pydicom").level < logging.CRITICAL, "as it was before"


def test_not_dicom_is_told_by_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    assert list(scan([tmp_path])) == [NotDicom(tmp_path / "file")]
