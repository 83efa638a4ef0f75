"""What is written into a picture can be read, and nothing is written that was not asked for."""

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset

from tests.wado.rendering.made import made
from wado.rendering.annotate import annotate

ABOUT = made(PatientName="Doe^John", PatientID="1234", PatientBirthDate="19700131", PatientSex="M",
             StudyDate="20240115", Modality="CT", SeriesDescription="Thorax", KVP="120")  # fmt: skip


def rows_with_ink(image: Image.Image) -> list[int]:
    grey = np.asarray(image.convert("L")).astype(int)
    rows: list[int] = np.flatnonzero((grey >= 200).any(axis=1)).tolist()
    return rows


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("side", [128, 256, 1024])
def test_letters_are_white_on_a_black_edge_and_high_enough_to_read(mode: str, side: int) -> None:
    image = Image.new(mode, (side, side), 90 if mode == "L" else (90, 90, 90))
    drawn = annotate(image, ABOUT, ("patient",))
    assert drawn.mode == mode and drawn.size == image.size
    grey = np.asarray(drawn.convert("L")).astype(int)
    assert grey.max() >= 230 and grey.min() == 0
    rows = rows_with_ink(drawn)
    first_line = next(index for index, row in enumerate([*rows[1:], 10**6]) if row != rows[index] + 1) + 1
    assert 6 <= first_line <= 40, "the height of a capital in pixels"
    assert max(rows) < side // 2


def test_the_technique_is_below_and_the_patient_above() -> None:
    image = Image.new("L", (256, 256))
    assert max(rows_with_ink(annotate(image, ABOUT, ("patient",)))) < 128
    assert min(rows_with_ink(annotate(image, ABOUT, ("technique",)))) > 128
    both = rows_with_ink(annotate(image, ABOUT, ("patient", "technique")))
    assert min(both) < 128 < max(both)


def test_the_picture_that_was_given_stays_as_it_is() -> None:
    image = Image.new("L", (128, 128))
    annotate(image, ABOUT, ("patient",))
    assert image.getextrema() == (0, 0)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (20, 20)])
@pytest.mark.parametrize(
    "data_set", [ABOUT, Dataset(), made(PatientName="X" * 5000), made(KVP=["1", "2"], InstitutionName="a\nb")]
)
def test_no_picture_is_too_small_and_no_text_too_long(size: tuple[int, int], data_set: Dataset) -> None:
    assert annotate(Image.new("L", size), data_set, ("patient", "technique")).size == size


def test_a_line_is_cut_where_the_picture_ends() -> None:
    drawn = np.asarray(annotate(Image.new("L", (128, 128)), made(PatientName="W" * 5000), ("patient",)))
    right = np.flatnonzero((drawn >= 200).any(axis=0)).max()
    assert 100 < right < 128 - 2
