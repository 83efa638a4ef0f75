"""Studies of good and bad objects, made at random: what each holds, and what a client should get of it."""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    CTImageStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    VLWholeSlideMicroscopyImageStorage,
)

from datastore.pixels.codecs import LOSSLESS, encode_lossless
from tests.service.clinic import KEPT_AS

ROWS, COLUMNS = 24, 32
NARROW = (20, 12)
PDF = b"%PDF-1.4 " + bytes(40_001)
JPIP = "1.2.840.10008.1.2.4.94"
ROOT = "1.2.826.0.1.3680043.10.4711.78"
_KEPT = LOSSLESS["HTJ2K" if KEPT_AS.endswith("202") else "JPEG_2000_LOSSLESS"]
UNDECODABLE, DAMAGED, ABSENT = "undecodable", "damaged", "absent"


@dataclass(frozen=True)
class Kind:
    """A kind of object: how it is made, what is wrong with which of its frames, from 1, and what AHI does instead.

    `fault` is an effect of `datastore.serving.faults` on the bad frame.
    """

    make: Callable[[Random], tuple[Dataset, Sequence[bytes]]]
    bad_frame: int = 0
    wrong: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Object:
    """One object: its kind, its data set, and its native frames, as far as they can be had."""

    kind: str
    data_set: Dataset
    native: Sequence[bytes]

    @property
    def path(self) -> str:
        """Below the service root."""
        one = self.data_set
        return f"/studies/{one.StudyInstanceUID}/series/{one.SeriesInstanceUID}/instances/{one.SOPInstanceUID}"

    @property
    def uid(self) -> str:
        return str(self.data_set.SOPInstanceUID)

    @property
    def wrong(self) -> str:
        """What is wrong with it, if anything is."""
        return KINDS[self.kind].wrong

    def frame_is_good(self, number: int) -> bool:
        """Whether nothing is wrong with a frame, from 1."""
        return number != KINDS[self.kind].bad_frame


def _image(random: Random, sop_class: str, syntax: str, **elements: object) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(syntax)
    made.SOPClassUID, made.Modality, made.PatientName, made.PatientID = sop_class, "OT", "Gemischt^Studie", "MIXED"
    described = {"Rows": ROWS, "Columns": COLUMNS, "SamplesPerPixel": 1, "PixelRepresentation": 0, "BitsAllocated": 8,
                 "BitsStored": 8, "HighBit": 7, "PhotometricInterpretation": "MONOCHROME2"}  # fmt: skip
    for keyword, value in {**described, **elements}.items():
        setattr(made, keyword, value)
    return made


def _grey(random: Random, frames: int = 1) -> tuple[Dataset, Sequence[bytes]]:
    made = _image(random, CTImageStorage, ExplicitVRLittleEndian, BitsAllocated=16, BitsStored=12, HighBit=11)
    native = [_noise(random, "<u2", 4096).tobytes() for _ in range(frames)]
    made.PixelData = b"".join(native)
    if frames > 1:
        made.NumberOfFrames = frames
    return made, native


def _colour(random: Random) -> tuple[Dataset, Sequence[bytes]]:
    """How it is transformed when it is stored only its first frame tells."""
    made = _image(random, SecondaryCaptureImageStorage, ExplicitVRLittleEndian, SamplesPerPixel=3,
                  PhotometricInterpretation="RGB", PlanarConfiguration=0)  # fmt: skip
    made.PixelData = np.stack([_noise(random, "u1", 256) for _ in range(3)], axis=2).tobytes()
    return made, [made.PixelData]


def _noise(random: Random, sample: str, most: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    return np.random.default_rng(random.randrange(2**32)).integers(0, most, (ROWS, COLUMNS)).astype(sample)


def _jpeg(random: Random, rows: int = ROWS, columns: int = COLUMNS) -> tuple[bytes, bytes]:
    """A baseline JPEG in grey, and its pixels."""
    buffer = BytesIO()
    Image.fromarray(_noise(random, "u1", 256)[:rows, :columns]).save(buffer, "JPEG", quality=90)
    return buffer.getvalue(), np.asarray(Image.open(buffer)).tobytes()


def _jpegs(random: Random, bad: int = 0, frames: int = 1) -> tuple[Dataset, Sequence[bytes]]:
    """Frames as JPEG, one of which, from 1, is none."""
    sop_class = MultiFrameTrueColorSecondaryCaptureImageStorage if frames > 1 else SecondaryCaptureImageStorage
    made = _image(random, sop_class, JPEGBaseline8Bit, LossyImageCompression="01")
    coded = [_jpeg(random) for _ in range(frames)]
    stored = [one if number != bad else b"no JPEG " + random.randbytes(50) for number, (one, _) in enumerate(coded, 1)]
    made.PixelData = encapsulate(stored)
    made["PixelData"].is_undefined_length = True
    if frames > 1:
        made.NumberOfFrames = frames
    return made, [native for _, native in coded]


def _slide(random: Random) -> tuple[Dataset, Sequence[bytes]]:
    """Two tiles, the second of which is smaller than the others would be: what it lacks is black, as it is grey."""
    made = _image(random, VLWholeSlideMicroscopyImageStorage, JPEGBaseline8Bit, LossyImageCompression="01")
    made.TotalPixelMatrixRows, made.TotalPixelMatrixColumns = NARROW[0], COLUMNS + NARROW[1]
    made.NumberOfFrames = 2
    whole, narrow = _jpeg(random), _jpeg(random, *NARROW)
    made.PixelData = encapsulate([whole[0], narrow[0]])
    made["PixelData"].is_undefined_length = True
    padded = np.zeros((ROWS, COLUMNS), "u1")
    padded[: NARROW[0], : NARROW[1]] = np.frombuffer(narrow[1], "u1").reshape(NARROW)
    return made, [whole[1], padded.tobytes()]


def _without_frames(random: Random) -> tuple[Dataset, Sequence[bytes]]:
    made = _image(random, SecondaryCaptureImageStorage, JPIP)
    made.PixelDataProviderURL = "http://localhost/nothing"
    return made, []


def _document(_random: Random) -> tuple[Dataset, Sequence[bytes]]:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.Modality, made.PatientName, made.PatientID = (
        EncapsulatedPDFStorage, "DOC", "Gemischt^Studie", "MIXED")  # fmt: skip
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocument = PDF
    return made, []


KINDS: Mapping[str, Kind] = {
    "grey": Kind(_grey),
    "several frames": Kind(lambda random: _grey(random, 3)),
    "jpeg": Kind(_jpegs),
    "colour": Kind(_colour),
    "colour 404": Kind(_colour, 1, ABSENT, "404"),
    "colour 500": Kind(_colour, 1, ABSENT, "500"),
    "narrow tile": Kind(_slide),
    "document": Kind(_document),
    "no frames": Kind(_without_frames),
    "no jpeg": Kind(lambda random: _jpegs(random, bad=1), 1, UNDECODABLE),
    "one of three no jpeg": Kind(lambda random: _jpegs(random, bad=2, frames=3), 2, UNDECODABLE),
    "wrong checksum": Kind(_grey, 1, DAMAGED),
    "404": Kind(_grey, 1, ABSENT, "404"),
    "403": Kind(_jpegs, 1, ABSENT, "403"),
    "500": Kind(_grey, 1, ABSENT, "500"),
    "one of three 404": Kind(lambda random: _grey(random, 3), 3, ABSENT, "404"),
    "many frames": Kind(lambda random: _grey(random, 70), 70, ABSENT, "404"),
}
FEW = [kind for kind in KINDS if kind != "many frames"]
"""Kinds of which all frames are had before an object is begun."""


def make_study(number: int, kinds: Sequence[str], random: Random, series: int) -> list[Object]:
    """Objects of these kinds in one study, in so many series, and one of documents."""
    study = f"{ROOT}.{number}"
    made = []
    for index, kind in enumerate(kinds):
        data_set, native = KINDS[kind].make(random)
        data_set.StudyInstanceUID = study
        data_set.SeriesInstanceUID = f"{study}.{1 + random.randrange(series)}.{data_set.Modality == 'DOC':d}"
        data_set.InstanceNumber = index + 1
        data_set.SOPInstanceUID = f"{study}.9.{index}"
        data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
        data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
        made.append(Object(kind, data_set, native))
    return made


def write(objects: Sequence[Object], folder: Path) -> None:
    """One file for each."""
    for one in objects:
        one.data_set.save_as(folder / f"{one.uid}.dcm", enforce_file_format=True)


def spoil(objects: Sequence[Object], root: Path, random: Random) -> str:
    """Damage stored frames as the kinds say; the faults that AHI is to have."""
    frames, faults = dict(_frame_files(root)), []
    for one in objects:
        kind = KINDS[one.kind]
        if not kind.bad_frame or kind.wrong == UNDECODABLE:
            continue
        path = frames[one.uid][kind.bad_frame - 1]
        if kind.fault:
            faults.append(f"GetImageFrame/{path.name}:{kind.fault}")
        else:
            other = _noise(random, "<u2", 4096)
            path.write_bytes(encode_lossless(other, _KEPT, transform=False))
    return ",".join(faults)


def _frame_files(root: Path) -> Iterator[tuple[str, list[Path]]]:
    """The files of the frames of each instance, by its UID."""
    for blob in root.rglob("metadata.json.gz"):
        (series,) = json.loads(gzip.decompress(blob.read_bytes()))["Study"]["Series"].values()
        for uid, node in series["Instances"].items():
            yield uid, [blob.parent / frame["ID"] for frame in node["ImageFrames"]]


def image_sets(root: Path) -> Iterator[tuple[str, str]]:
    """The image sets of a data store, each with its series."""
    for blob in root.rglob("metadata.json.gz"):
        document = json.loads(gzip.decompress(blob.read_bytes()))
        yield document["ImageSetID"], next(iter(document["Study"]["Series"]))
