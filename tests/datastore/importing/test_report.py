"""What the import command says, and its exit status."""

import io
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, Sequence

from datastore.findings import MOST_FINDINGS, FindingKind, Findings
from datastore.samples.ct import SLICES
from tests.datastore.made import encapsulated, made, with_pixels, written
from tests.datastore.through import served
from tests.service.process import ROOT

PIXELS = np.zeros((1, 4, 4), np.uint16)


def imported(folder: Path, *options: str) -> tuple[int, str]:
    """The exit status of an import of a folder, and what it says."""
    environment = {**os.environ, "DATASTORE_ROOT": str(folder / "store")}
    command = [sys.executable, "main.py", "import", *options, str(folder / "in")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    lines = [line for line in done.stderr.splitlines() if line and "Importing" not in line]
    return done.returncode, "\n".join(lines)


@pytest.mark.service
def test_an_import_of_all_that_there_is_ends_with_0(tmp_path: Path) -> None:
    written(with_pixels(PIXELS), tmp_path / "in/1")
    assert imported(tmp_path) == (0, "imported 1, not DICOM 0, refused 0")
    status, said = imported(tmp_path)
    assert (status, said.splitlines()[1:]) == (0, ["  instances that replaced others with the same UID: 1"])


@pytest.mark.service
def test_what_is_lost_is_summed_up_and_named_on_request_and_ends_with_3(tmp_path: Path) -> None:
    written(with_pixels(PIXELS, SOPInstanceUID=None, PatientName="SECRET^NAME"), tmp_path / "in/1")
    written(encapsulated("1.2.840.10008.1.2.4.94", [b"what?."], SOPInstanceUID="1.2.3.1.1.2"), tmp_path / "in/2")
    cut = written(with_pixels(PIXELS, SOPInstanceUID="1.2.3.1.1.3"), tmp_path / "in/3")
    cut.write_bytes(cut.read_bytes()[:-8])
    (tmp_path / "in/4").write_text("no DICOM")
    summary = [
        "imported 2, not DICOM 1, refused 1",
        "  refused, breaks off before its end: 1",
        "  images without frames: 1",
        "  UIDs that were missing, new ones were given: 1",
    ]
    status, said = imported(tmp_path)
    assert (status, said.splitlines()) == (3, [*summary, "  import --details names the files"])
    (tmp_path / "store").rename(tmp_path / "first")
    status, said = imported(tmp_path, "--details")
    details = [
        f"refused {tmp_path}/in/3: breaks off before its end",
        f"{tmp_path}/in/1: SOPInstanceUID: it was missing",
        f"{tmp_path}/in/2: the transfer syntax is not supported",
    ]
    assert (status, said.splitlines()) == (3, [*details, *summary])
    assert "SECRET" not in said
    assert refused(tmp_path) == f"{details[0]}\n"
    (tmp_path / "in/3").unlink()
    imported(tmp_path)
    assert refused(tmp_path) == "the last import refused nothing\n"


def refused(folder: Path) -> str:
    """What the command says of the last import."""
    environment = {**os.environ, "DATASTORE_ROOT": str(folder / "store")}
    command = [sys.executable, "main.py", "import", "--refused"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.service
def test_all_samples_are_those_of_a_first_start_and_all_files_of_pydicom(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    status, said = imported(tmp_path, "--all-samples")
    found = re.match(r"making sample images\nimported (\d+), not DICOM \d+, refused (\d+)\n", said)
    assert found and status == 3
    assert int(found[1]) > SLICES + 200
    assert len(refused(tmp_path).splitlines()) == int(found[2]) > 20
    assert not (tmp_path / "store" / "samples").exists()


@pytest.mark.service
def test_an_import_without_a_path_says_what_it_needs(tmp_path: Path) -> None:
    environment = {**os.environ, "DATASTORE_ROOT": str(tmp_path / "store")}
    command = [sys.executable, "main.py", "import"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "import needs a file or folder, or --all-samples\n")


@pytest.mark.service
def test_an_import_of_nothing_ends_with_3(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert imported(tmp_path) == (3, "imported 0, not DICOM 0, refused 0\n  no file was imported")


def icon() -> Dataset:
    item = Dataset()
    item.add_new(0x7FE00010, "OB", b"\1\2")
    return made(IconImageSequence=Sequence([item]))


def bytes_of(data_set: Dataset) -> bytes:
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()


def with_bytes(tag: int, vr: str, content: bytes) -> bytes:
    """A file with an element whose bytes need not be a value of its VR."""
    data_set = made(SpecificCharacterSet="ISO_IR 192")
    data_set.add_new(tag, "OB", content)
    number, length = struct.pack("<HH", tag >> 16, tag & 0xFFFF), len(content)
    lengths = struct.pack("<HI", 0, length) if vr == "SQ" else struct.pack("<H", length)
    before, middle, after = bytes_of(data_set).partition(number + b"OB" + struct.pack("<HI", 0, length))
    assert middle
    return before + number + vr.encode() + lengths + after


UNKNOWN_SET = bytes_of(made(SpecificCharacterSet="ISO_IR 100")).replace(b"ISO_IR 100", b"NONSENSE  ")


@pytest.mark.parametrize(
    ("content", "kind", "where"),
    [
        pytest.param(bytes_of(icon()), FindingKind.VALUE_LEFT_OUT, "IconImageSequence/1/PixelData", id="an icon"),
        pytest.param(with_bytes(0x00280010, "UL", bytes(6)), FindingKind.VALUE_UNREADABLE, "Rows", id="half a number"),
        pytest.param(
            with_bytes(0x00204000, "LT", b"\xff\xfe"), FindingKind.TEXT_REPLACED, "ImageComments", id="no UTF-8"
        ),
        pytest.param(
            with_bytes(0x00081140, "SQ", b"\1\2\3\4\5\6\7\10\11\12"),
            FindingKind.VALUE_UNREADABLE,
            "ReferencedImageSequence",
            id="no items",
        ),
        pytest.param(UNKNOWN_SET, FindingKind.TEXT_REPLACED, "SpecificCharacterSet", id="an unknown character set"),
    ],
)
def test_values_that_are_lost_are_named(tmp_path: Path, content: bytes, kind: FindingKind, where: str) -> None:
    found = served(content, tmp_path)
    assert [(finding.kind, finding.where) for finding in found.findings] == [(kind, where)]


def test_a_hostile_file_has_no_more_than_so_many_findings() -> None:
    findings = Findings()
    for number in range(10 * MOST_FINDINGS):
        findings.add(FindingKind.STRAY, str(number), "")
    kept: list[Any] = [*findings]
    assert len(kept) == MOST_FINDINGS
    assert findings.counts == {FindingKind.STRAY: 10 * MOST_FINDINGS}
