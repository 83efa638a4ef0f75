"""The files of the benchmark: CT, mammograms, a cine and long series, which compress like real ones."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    UltrasoundMultiFrameImageStorage,
)

_ROOT = "1.2.826.0.1.3680043.8.498.77"
_CT, _MAMMOGRAPHY, _CINE, _LONG = 1, 2, 3, 4


@dataclass(frozen=True)
class Series:
    """A series: its path below the service root, its instances in display order, and the frames of each."""

    study: str
    uid: str
    instances: tuple[str, ...]
    frames: int = 1

    @property
    def path(self) -> str:
        """The path below the service root."""
        return f"/studies/{self.study}/series/{self.uid}"

    @property
    def instance_paths(self) -> tuple[str, ...]:
        """The paths of all instances."""
        return tuple(f"{self.path}/instances/{uid}" for uid in self.instances)

    @property
    def frame_paths(self) -> tuple[str, ...]:
        """The paths of all frames."""
        return tuple(f"{path}/frames/{1 + index}" for path in self.instance_paths for index in range(self.frames))


@dataclass(frozen=True)
class Size:
    """The sizes of everything. The default is that of bench/RESULTS.md; `Size.small()` is for trying the command."""

    slices: int = 200
    side: int = 512
    mammogram: tuple[int, int] = (3328, 2560)  # rows, columns
    cine: tuple[int, int, int] = (60, 768, 1024)  # frames, rows, columns
    long: tuple[int, ...] = (50, 200, 1000, 5000)
    long_side: int = 256
    openings: int = 3  # runs of a cold opening, each with a service of its own

    @classmethod
    def small(cls) -> "Size":
        """A workload of all kinds of images that takes seconds."""
        return cls(6, 64, (416, 320), (3, 48, 64), (4, 8), 32, 1)


@dataclass
class Workload:
    """The series, once their files are written."""

    ct: list[Series] = field(default_factory=list)
    mammography: list[Series] = field(default_factory=list)
    cine: list[Series] = field(default_factory=list)
    long: list[Series] = field(default_factory=list)


def write_workload(folder: Path, size: Size, *, long: bool) -> Workload:
    """Write a file for each instance, those of long series below `long`; every run writes equal files."""
    writer, random = _Writer(folder), np.random.default_rng(7)
    made = Workload()
    for number in (1, 2):
        pictures = _ct(random, size.slices, size.side)
        made.ct.append(writer.series(_CT, number, CTImageStorage, pictures, _of_ct(size.slices)))
    views = mammograms(random, size.mammogram)
    made.mammography.append(
        writer.series(_MAMMOGRAPHY, 1, DigitalMammographyXRayImageStorageForPresentation, views, _of_mammograms())
    )
    made.cine.append(writer.series(_CINE, 1, UltrasoundMultiFrameImageStorage, [_cine(random, size.cine)], [_OF_CINE]))
    for number, slices in enumerate(size.long if long else (), 1):
        pictures = _ct(random, slices, size.long_side)
        made.long.append(writer.series(_LONG, number, CTImageStorage, pictures, _of_ct(slices), "long"))
    return made


class _Writer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def series(
        self,
        study_number: int,
        number: int,
        sop_class_uid: str,
        pictures: Iterator[np.ndarray] | list[np.ndarray],
        elements: Iterator[dict[str, Any]] | list[dict[str, Any]],
        below: str = "",
    ) -> Series:
        study, uids = f"{_ROOT}.{study_number}", []
        for index, (pixels, more) in enumerate(zip(pictures, elements, strict=True), 1):
            data_set = _data_set(study_number, number, index, pixels)
            data_set.SOPClassUID = data_set.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
            for keyword, value in more.items():
                setattr(data_set, keyword, value)
            path = self._folder / below / f"{study_number}-{number}-{index}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            data_set.save_as(path, enforce_file_format=True)
            uids.append(str(data_set.SOPInstanceUID))
        frames = int(data_set.get("NumberOfFrames", 1))
        return Series(study, f"{study}.{number}", tuple(uids), frames)


def _data_set(study_number: int, series_number: int, index: int, pixels: np.ndarray) -> Dataset:
    """Pixels of shape rows x columns in 16 bits, or frames x rows x columns x 3 in 8 bits."""
    study = f"{_ROOT}.{study_number}"
    data_set, colour = Dataset(), pixels.ndim == 4
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.file_meta.MediaStorageSOPInstanceUID = UID(f"{study}.{series_number}.{index}")
    elements = {
        "SOPInstanceUID": f"{study}.{series_number}.{index}",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.{series_number}",
        "PatientID": f"BENCH{study_number}",
        "PatientName": f"Bench^Number{study_number}",
        "PatientBirthDate": "19700101",
        "PatientSex": "O",
        "StudyDate": "20240115",
        "StudyTime": "101500",
        "AccessionNumber": f"A{study_number}",
        "StudyID": str(study_number),
        "SeriesNumber": str(series_number),
        "InstanceNumber": str(index),
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "Rows": pixels.shape[1 if colour else 0],
        "Columns": pixels.shape[2 if colour else 1],
        "BitsAllocated": 8 * pixels.itemsize,
        "BitsStored": 8 if colour else 12,
        "HighBit": 7 if colour else 11,
        "PixelRepresentation": 0,
    }
    for keyword, value in elements.items():
        setattr(data_set, keyword, value)
    if colour:
        data_set.PlanarConfiguration, data_set.NumberOfFrames = 0, str(pixels.shape[0])
    data_set.add_new("PixelData", "OB" if colour else "OW", pixels.tobytes())
    return data_set


def _of_ct(slices: int) -> Iterator[dict[str, Any]]:
    """The attributes of a CT slice, about as many as those of scanners."""
    for index in range(slices):
        yield {
            "Modality": "CT", "Manufacturer": "Bench", "InstitutionName": "Bench Hospital", "KVP": "120",
            "SeriesDescription": "Axial 1.0", "BodyPartExamined": "CHEST", "ImageType": ["ORIGINAL", "PRIMARY"],
            "SliceThickness": "1", "SpacingBetweenSlices": "1", "PixelSpacing": ["0.7", "0.7"],
            "ImagePositionPatient": ["-180", "-180", str(index)], "PatientPosition": "HFS",
            "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
            "FrameOfReferenceUID": f"{_ROOT}.9", "SliceLocation": str(index), "AcquisitionNumber": "1",
            "RescaleIntercept": "-1024", "RescaleSlope": "1", "WindowCenter": "40", "WindowWidth": "400",
            "ConvolutionKernel": "B30f", "ExposureTime": "500", "XRayTubeCurrent": "200",
            "DataCollectionDiameter": "500", "ReconstructionDiameter": "360", "GantryDetectorTilt": "0",
        }  # fmt: skip


def _of_mammograms() -> Iterator[dict[str, Any]]:
    for laterality, view in (("L", "CC"), ("R", "CC"), ("L", "MLO"), ("R", "MLO")):
        yield {
            "Modality": "MG", "ImageLaterality": laterality, "ViewPosition": view, "WindowCenter": "2047",
            "WindowWidth": "4095", "PresentationLUTShape": "IDENTITY", "ImagerPixelSpacing": ["0.07", "0.07"],
        }  # fmt: skip


_OF_CINE = {"Modality": "US", "FrameTime": "33.3", "FrameIncrementPointer": 0x00181063}


def _ct(random: np.random.Generator, slices: int, side: int) -> Iterator[np.ndarray]:
    """A body in air with structures in it, and noise of 25 units, correlated like that of a reconstruction kernel."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    noise = [_smooth(random.normal(0, 1, (side, side))) for _ in range(8)]
    noise = [25 / one.std() * one for one in noise]
    for index in range(slices):
        turn = 2 * np.pi * index / max(slices, 1)
        body = np.where((x / 0.8) ** 2 + (y / 0.6) ** 2 < 1, 1064.0, 24.0)
        for at in range(6):  # organs
            from_x, from_y = 0.4 * np.cos(turn + at), 0.3 * np.sin(turn + 2 * at)
            body += np.where((x - from_x) ** 2 + (y - from_y) ** 2 < 0.02, 60.0 * (at - 2), 0)
        shifted = np.roll(noise[index % 8], index * 37, axis=(index // 8) % 2)
        yield np.clip(_smooth(body) + shifted, 0, 4095).astype(np.uint16)


def mammograms(random: np.random.Generator, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """A breast at one edge: air without noise, tissue with much of it."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, 0 : 1 : shape[1] * 1j]
    for index in range(4):
        coarse = random.normal(2000, 300, (shape[0] // 32, shape[1] // 32)).astype(np.float32)
        structures = np.asarray(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC))
        tissue = structures + random.normal(0, 20, shape)
        breast = np.where(x**2 + (y / 0.8) ** 2 < 0.8, tissue, 0)
        yield np.clip(breast if index % 2 else breast[:, ::-1], 0, 4095).astype(np.uint16)


def _cine(random: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """A grey sector with speckles, and one corner in colour; frames x rows x columns x 3."""
    frames, rows, columns = shape
    y, x = np.mgrid[0 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    sector = (np.abs(x) < y) & (x**2 + y**2 < 1)
    film = np.zeros((*shape, 3), np.uint8)
    for index in range(frames):
        speckle = np.clip(_smooth(random.exponential(60, (rows, columns))) * sector, 0, 255)
        film[index] = speckle.astype(np.uint8)[..., None]
        film[index, : rows // 8, : columns // 8] = (30, 90 + index, 200)
    return film


def _smooth(image: np.ndarray) -> np.ndarray:
    """Each pixel, averaged with its neighbours."""
    for axis in (0, 1):
        image = image / 2 + (np.roll(image, 1, axis) + np.roll(image, -1, axis)) / 4
    return image
