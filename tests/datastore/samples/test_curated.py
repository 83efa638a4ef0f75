"""The samples of a first start: each can be shown, no two belong together by chance, and the CT looks like a body."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array

from datastore.embedded import Embedded
from datastore.importing.importer import ImportReport, import_files
from datastore.samples import ct
from datastore.samples.anatomy import HEIGHT, IN_LIVER, NODULE
from datastore.samples.chest import section
from datastore.samples.curated import write_curated
from datastore.samples.section import SIDE, SPACING, Field
from datastore.storage.storage import Storage
from tests.pydicom_files import pydicom_path

SLICES = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples, with few slices of the CT."""
    folder = tmp_path_factory.mktemp("curated")
    write_curated(folder, SLICES)
    return folder


@pytest.fixture(scope="module")
def samples(folder: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def report(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ImportReport:
    return import_files([folder], Storage.open(tmp_path_factory.mktemp("store")), None)


def test_every_sample_is_imported_without_loss(report: ImportReport, samples: list[Dataset]) -> None:
    assert (report.imported, report.refused, report.found) == (len(samples), [], [])
    assert all(image_set.is_primary for image_set in report.image_sets), "a series contradicts its study"


def test_there_is_a_study_of_each_kind_and_its_patients_are_ours(samples: list[Dataset]) -> None:
    modalities = {sample.Modality for sample in samples}
    assert modalities == {"CT", "SR", "DOC", "CR", "US", "MR", "ECG", "SM"}
    assert {sample.PatientID for sample in samples} == {f"SAMPLE{number}" for number in range(1, 8)}
    names = {(sample.PatientID, str(sample.PatientName), sample.PatientBirthDate) for sample in samples}
    assert len(names) == 7
    studies = {sample.StudyInstanceUID: sample for sample in samples}
    assert all(sample.StudyDate == studies[sample.StudyInstanceUID].StudyDate for sample in samples)


def test_what_a_file_of_pydicom_said_of_its_patient_is_gone(samples: list[Dataset]) -> None:
    for sample in samples:
        text = str(sample)
        for word in ("CompressedSamples", "AKH", "Galliera", "BAPTIST", "Weißenkirchen", "13002689"):
            assert word not in text, (sample.PatientID, word)


def test_the_first_studies_of_a_work_list_have_pixels(samples: list[Dataset]) -> None:
    days = sorted({sample.StudyDate for sample in samples}, reverse=True)
    for day in days[:-1]:
        assert any("PixelData" in sample for sample in samples if sample.StudyDate == day), day


def test_the_pixels_of_every_image_can_be_read(samples: list[Dataset]) -> None:
    for sample in samples:
        if "PixelData" in sample:
            pixels = pixel_array(sample, index=int(sample.get("NumberOfFrames", 1)) * 5 // 9)
            assert pixels.shape[:2] == (sample.Rows, sample.Columns)
            assert np.ptp(pixels) > 20, sample.PatientID


def test_the_levels_of_the_slide_show_the_same(samples: list[Dataset]) -> None:
    levels = [one for one in samples if one.Modality == "SM" and one.ImageType[2] == "VOLUME"]
    assert len(levels) == 3
    sizes = sorted((one.TotalPixelMatrixColumns, one.TotalPixelMatrixRows) for one in levels)
    assert [(wide // sizes[0][0], high // sizes[0][1]) for wide, high in sizes] == [(1, 1), (2, 2), (4, 4)]
    for level in levels:
        tiles = (level.TotalPixelMatrixColumns // level.Columns) * (level.TotalPixelMatrixRows // level.Rows)
        assert tiles == level.NumberOfFrames


def test_the_slices_of_the_ct_lie_one_under_the_other(samples: list[Dataset]) -> None:
    slices = sorted((one for one in samples if one.Modality == "CT"), key=lambda one: int(one.InstanceNumber))
    assert len(slices) == SLICES
    heights = [float(one.ImagePositionPatient[2]) for one in slices]
    assert np.allclose(np.diff(heights), -float(slices[0].SpacingBetweenSlices))
    assert {tuple(one.ImageOrientationPatient) for one in slices} == {(1, 0, 0, 0, 1, 0)}


def test_the_report_refers_to_slices_that_are_there(samples: list[Dataset]) -> None:
    (report,) = (one for one in samples if one.Modality == "SR")
    (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = evidence.ReferencedSeriesSequence
    there = {one.SOPInstanceUID for one in samples if one.Modality == "CT"}
    assert {one.ReferencedSOPInstanceUID for one in series.ReferencedSOPSequence} <= there
    assert (series.SeriesInstanceUID, evidence.StudyInstanceUID) == (ct.IMAGES.uid, ct.STUDY.uid)


def around(made: Field, x: float, y: float, half: int = 3) -> float:
    """The mean CT number around a place, in millimetres from the middle."""
    row, column = (round(at / SPACING + (SIDE - 1) / 2) for at in (y, x))
    return float(made[row - half : row + half + 1, column - half : column + half + 1].mean())


@pytest.mark.parametrize(
    ("height", "x", "y", "least", "most"),
    [
        pytest.param(180, -150, -150, -1010, -985, id="air around the body"),
        pytest.param(200, -85, -10, -960, -700, id="right lung"),
        pytest.param(200, 88, -10, -960, -700, id="left lung"),
        pytest.param(90, -85, -15, 85, 150, id="liver"),
        pytest.param(150, 41, -13, 180, 260, id="left ventricle"),
        pytest.param(60, 9, 32, 220, 290, id="aorta"),
        pytest.param(13.5, 0, 64, 120, 420, id="a vertebra"),
        pytest.param(260, 0, 15, -1000, -900, id="windpipe"),
        pytest.param(IN_LIVER[2].centre[2], -92, 14, -40, 60, id="the cyst"),
    ],
)
def test_the_ct_has_the_numbers_of_a_body(height: float, x: float, y: float, least: float, most: float) -> None:
    assert least < around(section(height), x, y) < most


def test_the_nodule_of_the_report_is_in_the_slice_that_it_names() -> None:
    height = HEIGHT - ct.slice_number(NODULE.centre[2]) * HEIGHT / ct.SLICES
    assert abs(height - NODULE.centre[2]) <= HEIGHT / ct.SLICES
    x, y, _ = NODULE.centre
    near = max(around(section(height), x + dx, y + dy, 1) for dx in (-6, -3, 0, 3, 6) for dy in (-6, -3, 0, 3, 6))
    assert near > -50, "no nodule in the lung"


def test_the_same_section_is_made_each_time_and_its_neighbour_is_alike() -> None:
    first, again, next_one = section(152.0), section(152.0), section(149.5)
    assert np.array_equal(first, again)
    assert 5 < np.abs(first - next_one).mean() < 60


def test_samples_that_were_not_imported_to_the_end_are_imported_again(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path)
    assert embedded.wants_samples
    embedded.fill([pydicom_path("CT_small.dcm")])
    assert not embedded.wants_samples
    (tmp_path / ".samples-being-imported").mkdir()  # what a killed process leaves
    assert embedded.wants_samples
