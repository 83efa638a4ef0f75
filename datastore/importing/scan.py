"""Files and folders → DICOM files. Files of other kinds are told apart from damaged DICOM files."""

import hashlib
import logging
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from pydicom import Dataset, config, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from datastore.findings import FindingKind, Findings
from datastore.importing.deflated import inflates_too_far
from datastore.importing.uids import NoIdentity, give_uids
from dicomweb.pydicom_adapter import elements_in_file_order

_PREAMBLE_BYTES = 132
_BLOCK_BYTES = 2**20
_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")  # without a preamble, in either byte order
_PIXEL_DATA = 0x7FE00010
_DELIMITERS = 0xFFFE  # a group
_UNDEFINED = 0xFFFFFFFF  # the length of an element that ends with a delimiter
_IMPLICIT_FIRST_BYTES = 1024  # the first element of a data set is short


@dataclass(frozen=True)
class DicomFile:
    """A file whose header can be imported. `lacks_uids`: it was given some of its UIDs."""

    path: Path
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    lacks_uids: bool


@dataclass(frozen=True)
class NotDicom:
    """A file of another kind."""

    path: Path


@dataclass(frozen=True)
class Refused:
    """A file or folder that cannot be imported; the reason holds no content of it."""

    path: Path
    reason: str


class Unreadable(Exception):
    """A DICOM file is refused; the message is the reason."""


Scanned: TypeAlias = DicomFile | NotDicom | Refused


def scan(paths: Iterable[Path | Scanned]) -> Iterator[Scanned]:
    """All files below the paths, in the order of the paths and then of their names.

    Symbolic links are followed; a file or folder that is reached twice is given once. Only headers are read. What was
    scanned before is given as it is.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        if not isinstance(path, Path):
            yield path
            continue
        for found in _files(path, seen):
            yield found if isinstance(found, Refused) else scan_file(found)


def _files(path: Path, seen: set[tuple[int, int]]) -> Iterator[Path | Refused]:
    """The regular files at and below a path, without recursion: folders may be nested very deep."""
    waiting = [path]
    while waiting:
        current = waiting.pop()
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            if stat.S_ISDIR(status.st_mode):
                waiting += sorted(current.iterdir(), reverse=True)
            elif stat.S_ISREG(status.st_mode):
                yield current
        except OSError as error:
            yield Refused(current, f"cannot be opened: {error.strerror}")


def scan_file(path: Path) -> Scanned:
    """One file, of which the header is read."""
    findings = Findings()
    try:
        header = read(path, findings, pixels=False)
    except InvalidDicomError:
        return NotDicom(path)
    except Unreadable as error:
        return Refused(path, str(error))
    return DicomFile(
        path,
        str(header.StudyInstanceUID),
        str(header.SeriesInstanceUID),
        str(header.SOPClassUID),
        str(header.SOPInstanceUID),
        FindingKind.UID_GIVEN in findings.counts,
    )


def read(path: Path, findings: Findings | None = None, *, pixels: bool = True) -> Dataset:
    """A DICOM file with all its UIDs, and its transfer syntax in `file_meta`, even if the file lacks them.

    What is missing or left out is added to `findings`. InvalidDicomError if it is another kind of file, Unreadable if
    it is damaged.
    """
    findings = Findings() if findings is None else findings
    try:
        with path.open("rb") as file:
            start = file.read(_PREAMBLE_BYTES + 8)
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror}") from error
    if not _is_dicom(start):
        raise InvalidDicomError
    try:
        if inflates_too_far(path):
            raise Unreadable("its deflated data set is too large")
        data_set = dcmread(path, stop_before_pixels=not pixels, force=True)
        _name_transfer_syntax(data_set)
        _drop_trailing(data_set, findings)
        is_directory = data_set.file_meta.get("MediaStorageSOPClassUID") == _MEDIA_STORAGE_DIRECTORY
        breaks_off = len(data_set) == 0 or _breaks_off(data_set)
    except Unreadable:
        raise
    except Exception as error:  # noqa: BLE001 - pydicom raises of every kind on hostile bytes
        raise Unreadable(f"cannot be read ({type(error).__name__})") from error
    if is_directory or "DirectoryRecordSequence" in data_set:
        raise Unreadable("is a DICOMDIR, which only lists other files")
    if breaks_off:
        raise Unreadable("breaks off before its end")
    try:
        give_uids(data_set, partial(_digest, path), findings)
    except NoIdentity as error:
        raise Unreadable(str(error)) from None
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror}") from error
    return data_set


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
        return digest.digest()


def _drop_trailing(data_set: Dataset, findings: Findings) -> None:
    """Remove what follows the pixel data and is no element: padding, or bytes added by a transmission."""
    elements = elements_in_file_order(data_set)
    tags = [*elements]
    if _PIXEL_DATA not in elements:
        return
    after = tags[tags.index(Tag(_PIXEL_DATA)) + 1 :]
    for place, tag in enumerate(after):
        element = elements[tag]
        is_short = isinstance(element, RawDataElement) and _is_short(element)
        if tag < _PIXEL_DATA or tag.group == _DELIMITERS or is_short:
            findings.add(FindingKind.STRAY, "", "bytes after the pixel data that are no element")
            for stray in after[place:]:
                del elements[stray]
            return


def _breaks_off(data_set: Dataset) -> bool:
    """Whether an element is shorter than its stated length, which pydicom does not check."""
    known = (tag for tag in data_set.keys() if tag.group != _DELIMITERS)  # noqa: SIM118 - no element is to be parsed
    elements = (data_set.get_item(tag) for tag in known)
    return any(isinstance(element, RawDataElement) and _is_short(element) for element in elements)


def _is_short(element: RawDataElement) -> bool:
    return element.length != _UNDEFINED and len(element.value or b"") < element.length


def _is_dicom(start: bytes) -> bool:
    """Whether a file begins like DICOM: with its prefix, or with a first element that a data set can have."""
    if start[128:132] == b"DICM":
        return True
    if len(start) < 8 or start[:2] not in _FIRST_GROUPS:
        return False
    order: Literal["little", "big"] = "little" if start[1:2] == b"\0" else "big"
    element = int.from_bytes(start[2:4], order)
    if start[4:6].isalpha() and start[4:6].isupper():
        return element < 0x0100
    length_bytes = int.from_bytes(start[4:8], order)
    return element < 0x0100 and length_bytes % 2 == 0 and length_bytes < _IMPLICIT_FIRST_BYTES


def _name_transfer_syntax(data_set: Dataset) -> None:
    """Set the transfer syntax that pydicom detected, if the file does not state it."""
    if data_set.file_meta.get("TransferSyntaxUID"):
        return
    implicit, little = data_set.original_encoding
    little_endian = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    data_set.file_meta.TransferSyntaxUID = little_endian if little else ExplicitVRBigEndian


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from warning and logging: its messages quote values, which may be those of patients.

    This holds for the whole process, so only one thread may import.
    """
    log, mode = logging.getLogger("pydicom"), config.settings.reading_validation_mode
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
        config.settings.reading_validation_mode = mode
