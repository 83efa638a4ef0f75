"""The mass test over all files that pydicom and pydicom-data bring along."""

import shutil
from pathlib import Path

import pytest
from pydicom import dcmread

from datastore.embedded import Embedded
from datastore.importing.samples import sample_files
from tests.mass.compare import Comparison, Deviation, Subject
from tests.mass.run import run
from tests.mass.sources import find
from tests.pydicom_files import pydicom_path
from tests.service.process import Service

REFUSED = {
    "MR_truncated.dcm": "half of its pixels are missing",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "cut off before its SOP Class UID",
    "rtplan_truncated.dcm": "cut off in an element",
}
"""What cannot be imported, and why."""

UNDECODABLE = {"JPEG2000-embedded-sequence-delimiter.dcm": "its frame has no codestream"}
"""What can only be delivered as it is stored, and why."""


CORRECTED = {"badVR.dcm": "value NumberOfFrames"}
"""What an import corrects, and names: a NumberOfFrames of `1A` beside 15 frames."""


@pytest.mark.slow
def test_every_answer_about_every_sample_is_what_the_file_says() -> None:
    report = run(sample_files())
    assert report.sources > 200 and report.with_frames > 150
    assert {source.path.name for source in report.refused} == REFUSED.keys()
    found = [item for item in report.deviations if not (_is_undecodable(item) or _is_corrected(item))]
    assert [f"{item.source.path.name}: {item.kind} {item.detail}" for item in found] == []


def _is_undecodable(deviation: Deviation) -> bool:
    return deviation.source.path.name in UNDECODABLE and deviation.kind.startswith("Part 10, Explicit VR Little Endian")


def _is_corrected(deviation: Deviation) -> bool:
    corrected = CORRECTED.get(deviation.source.path.name)
    return corrected is not None and corrected in f"{deviation.kind} {deviation.detail}"


def test_it_finds_what_deviates(tmp_path: Path) -> None:
    """The source is changed after its import; every change is told."""
    path = tmp_path / "source.dcm"
    shutil.copy(pydicom_path("CT_small.dcm"), path)
    Embedded(tmp_path / "store").fill([path])
    _change(path)
    service = Service(tmp_path / "service", {"DATASTORE_ROOT": str(tmp_path / "store")})
    try:
        subject = Subject.of(find([path])[0][0])
        kinds = {deviation.kind for deviation in Comparison(service.root, subject).deviations()}
    finally:
        service.stop()
    part_10 = ("Part 10, Explicit VR Little Endian", "Part 10, as stored")
    elements = {f"{form}: {kind}" for form in ("metadata", *part_10) for kind in ("value", *_MISSING)}
    assert kinds == elements | {f"{form}: samples" for form in ("frames", *part_10)}


_MISSING = ("missing element", "additional element")


def _change(path: Path) -> None:
    data_set = dcmread(path)
    data_set.PatientName = "Somebody^Else"
    data_set.PatientComments = "new"
    del data_set.Manufacturer
    data_set.PixelData = bytes([data_set.PixelData[0] ^ 1]) + data_set.PixelData[1:]
    data_set.save_as(path)
