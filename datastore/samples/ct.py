"""A CT of chest and upper abdomen with contrast medium, its report, and a letter about it."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from pydicom.uid import CTImageStorage

from datastore.samples.anatomy import HEIGHT
from datastore.samples.chest import section
from datastore.samples.objects import Series, Study, uid, write
from datastore.samples.section import SIDE, SPACING

SLICES = 120
STUDY = Study(
    "ct", "SAMPLE1", "Berger^Anna", "19610312", "F", "CT chest and upper abdomen", "20261112091500", "A20261112"
)
IMAGES = Series(STUDY, 1, "CT", "Chest, contrast medium, 2.5 mm")
_INTERCEPT = -1024


def slice_number(height: float, slices: int = SLICES) -> int:
    """The number, from 1 at the head, of the slice nearest to a height."""
    return min(slices, max(1, round((HEIGHT - height) * slices / HEIGHT)))


def write_images(folder: Path, slices: int = SLICES) -> None:
    """Write the slices of the series, from the head to the feet; fewer `slices` are thicker ones."""

    def make(number: int) -> None:
        _write_slice(folder, number, HEIGHT / slices)

    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="samples") as pool:
        list(pool.map(make, range(1, slices + 1)))


def _write_slice(folder: Path, number: int, thickness: float) -> None:
    height = HEIGHT - number * thickness
    stored = np.clip(np.round(section(height)) - _INTERCEPT, 0, 4095).astype("<u2")
    corner = -(SIDE - 1) / 2 * SPACING
    made = IMAGES.instance(
        CTImageStorage,
        number,
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        AcquisitionNumber=1,
        BodyPartExamined="CHEST",
        ContrastBolusAgent="Iodinated contrast medium",
        KVP="120",
        XRayTubeCurrent="210",
        ConvolutionKernel="MADE",
        PatientPosition="HFS",
        FrameOfReferenceUID=uid("ct/frame of reference"),
        PositionReferenceIndicator="",
        ImagePositionPatient=[f"{corner:.4f}", f"{corner:.4f}", f"{height:.2f}"],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        SliceLocation=f"{height:.2f}",
        SliceThickness=f"{thickness:.4g}",
        SpacingBetweenSlices=f"{thickness:.4g}",
        PixelSpacing=[SPACING, SPACING],
        Rows=SIDE,
        Columns=SIDE,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=16,
        BitsStored=12,
        HighBit=11,
        PixelRepresentation=0,
        RescaleIntercept=_INTERCEPT,
        RescaleSlope=1,
        RescaleType="HU",
        WindowCenter=[50, -550],
        WindowWidth=[400, 1500],
        WindowCenterWidthExplanation=["Soft tissue", "Lung"],
        PixelData=stored.tobytes(),
    )
    write(made, folder)
