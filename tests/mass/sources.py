"""The DICOM files of a folder, and what pydicom reads in them."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from pydicom import Dataset, config, dcmread
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_SYNTAXES = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}


@dataclass(frozen=True)
class Source:
    """A file and the UIDs of its study, series and instance."""

    path: Path
    uids: tuple[str, str, str]

    @property
    def resource(self) -> str:
        """The path of the instance below the service root."""
        study, series, instance = (quote(uid, safe="") for uid in self.uids)
        return f"/studies/{study}/series/{series}/instances/{instance}"

    def read(self) -> Dataset:
        """The data set, with a transfer syntax in `file_meta`."""
        with quiet():
            data_set = dcmread(self.path, force=True)
        if "TransferSyntaxUID" not in data_set.file_meta:
            data_set.file_meta.TransferSyntaxUID = _SYNTAXES[data_set.original_encoding]  # type: ignore[index]
        return data_set


@contextmanager
def quiet() -> Iterator[None]:
    """Let pydicom read whatever it can, without a word. It changes the whole process."""
    mode = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode = mode


def find(paths: Iterable[Path]) -> tuple[list[Source], list[Path]]:
    """The images and other instances at and below the paths, and the files without UIDs, which nobody can ask for."""
    sources, others = [], []
    for path in sorted({file for start in paths for file in _files(start)}):
        uids = _uids(path)
        if uids is None:
            others.append(path)
        else:
            sources.append(Source(path, uids))
    return sources, others


def _files(path: Path) -> Iterator[Path]:
    return iter([path]) if path.is_file() else (file for file in path.rglob("*") if file.is_file())


def _uids(path: Path) -> tuple[str, str, str] | None:
    try:
        with quiet():
            data_set = dcmread(path, force=True, specific_tags=[*_UIDS, "SOPClassUID"], stop_before_pixels=True)
            study, series, instance = (str(data_set.get(keyword) or "").strip() for keyword in _UIDS)
    except Exception:  # noqa: BLE001 - not DICOM, or hostile: pydicom raises of every kind
        return None
    return (study, series, instance) if study and series and instance and "SOPClassUID" in data_set else None


def rounds(sources: Sequence[Source]) -> list[list[Source]]:
    """The sources, so that no SOP Instance UID comes twice in a round: one would replace the other."""
    result: list[dict[str, Source]] = []
    for source in sources:
        instance = source.uids[2]
        free = next((members for members in result if instance not in members), None)
        if free is None:
            result.append(free := {})
        free[instance] = source
    return [list(members.values()) for members in result]


def frames(data_set: Dataset) -> "np.ndarray | None":
    """All frames as pydicom decodes them, shape (frames, rows, columns[, samples]), colour as RGB.

    None where there is no pixel data, or none that pydicom decodes.
    """
    if "PixelData" not in data_set:
        return None
    # Baseline JPEG by the library that browsers use, too: decoders differ by one grey level.
    plugin = "pillow" if data_set.file_meta.TransferSyntaxUID == JPEGBaseline8Bit else ""
    try:
        with quiet():
            # Native words keep all their bits, also those that are no part of the sample.
            of_bits = data_set.file_meta.TransferSyntaxUID.is_encapsulated
            array = pixel_array(data_set, decoding_plugin=plugin, correct_unused_bits=of_bits)
            several = int(data_set.get("NumberOfFrames", 1) or 1) > 1
    except Exception:  # noqa: BLE001 - whatever pydicom makes of it, there is nothing to compare with
        return None
    array = array if several else array[np.newaxis]
    return array.astype(array.dtype.newbyteorder("<"), copy=False)
