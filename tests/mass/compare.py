"""One instance through every resource, compared with its source."""

import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import imagecodecs
import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.encaps import generate_frames
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGExtended12Bit

from tests.mass.elements import Element, Table, of_data_set, of_json, of_xml
from tests.mass.sources import Source, frames, quiet
from tests.service.answers import Answer, Part, get

_OCTETS = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'
_PART_10 = 'multipart/related; type="application/dicom"'
_FRAMES_AT_ONCE = 50

BY_DESIGN = {
    "00080005": "text is delivered in UTF-8",
    "00081190": "the address of the instance",
    "00083002": "the transfer syntaxes that can be asked for",
    "FFFCFFFC": "padding",
}
"""Elements that answers have for themselves, or that say nothing, and why."""

_DESCRIPTION = ("00280004", "00280006", "00282110", "00282112", "00282114")
"""How samples are laid out and compressed: the source's encoding, not that of the answer."""

_DECODERS_DIFFER = (JPEG2000, JPEGBaseline8Bit, JPEGExtended12Bit)

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 Section 2.2

_PIXELS = ("7FE00008", "7FE00009", "7FE00010")


@dataclass(frozen=True)
class Deviation:
    """An answer that is not what its source says. `kind` has no value in it; `detail` may, it is for the terminal."""

    kind: str
    source: Source
    detail: str = ""


@dataclass(frozen=True)
class Subject:
    """A source as pydicom reads it: its data set, its elements, and its frames where it decodes them."""

    source: Source
    data_set: Dataset
    table: Table
    frames: "np.ndarray | None"

    @classmethod
    def of(cls, source: Source) -> "Subject":
        """Read a source; whatever pydicom raises on it."""
        data_set = source.read()
        return cls(source, data_set, dict(of_data_set(data_set)), frames(data_set))


class Comparison:
    """Asks one service for an instance in every form."""

    def __init__(self, root: str, subject: Subject) -> None:
        self._root = root
        self._subject = subject
        self._resource = subject.source.resource

    def deviations(self) -> Iterator[Deviation]:
        """What differs from the source."""
        checks: tuple[tuple[str, Callable[[], Iterator[str | tuple[str, str]]]], ...] = (
            ("metadata", self._metadata),
            ("frames", self._frames),
            ("Part 10, Explicit VR Little Endian", lambda: self._part_10(ExplicitVRLittleEndian)),
            ("Part 10, as stored", lambda: self._part_10("*")),
            ("rendered", lambda: self._picture("rendered")),
            ("thumbnail", lambda: self._picture("thumbnail")),
        )
        for name, check in checks:
            for found in check():
                kind, detail = (found, "") if isinstance(found, str) else found
                yield Deviation(f"{name}: {kind}", self._subject.source, detail)

    def _get(self, path: str, accept: str) -> Answer:
        return get(self._root, path, {"Accept": accept})

    def _fetch(self, url: str) -> bytes:
        """The content of a BulkDataURI, which leads back to the service."""
        path = urlsplit(url).path.removeprefix(urlsplit(self._root).path)
        answer = self._get(path, "application/octet-stream, */*;q=0.1")
        return answer.parts[0].body if answer.status == 200 else f"status {answer.status}".encode()

    def _metadata(self) -> Iterator[str | tuple[str, str]]:
        answer = self._get(f"{self._resource}/metadata", "application/dicom+json")
        if answer.status != 200:
            yield f"status {answer.status}"
            return
        data_set = json.loads(answer.body, parse_constant=_no_json)[0]
        table = dict(of_json(data_set, self._fetch))
        if list(data_set) != sorted(data_set):
            yield "elements are not in order"
        yield from self._elements(table)
        answer = self._get(f"{self._resource}/metadata", 'multipart/related; type="application/dicom+xml"')
        if answer.status != 200:
            yield f"XML: status {answer.status}"
            return
        in_xml = dict(of_xml(ElementTree.fromstring(answer.parts[0].body), self._fetch))  # noqa: S314 - our own
        for kind, place, values in _differences({place: _in_xml(one) for place, one in table.items()}, in_xml):
            yield f"XML: {kind}", f"{place} {values}"

    def _elements(self, table: Table) -> Iterator[str | tuple[str, str]]:
        for kind, place, values in _differences(self._subject.table, table):
            if not _is_expected(place):
                yield kind, f"{_keywords(place)} {values}"

    def _frames(self) -> Iterator[str | tuple[str, str]]:
        expected = self._subject.frames
        if expected is None:
            return
        for start in range(0, len(expected), _FRAMES_AT_ONCE):
            wanted = expected[start : start + _FRAMES_AT_ONCE]
            numbers = ",".join(str(start + number) for number in range(1, len(wanted) + 1))
            answer = self._get(f"{self._resource}/frames/{numbers}", _OCTETS)
            if answer.status != 200:
                yield f"status {answer.status}"
                return
            parts = answer.parts
            if len(parts) != len(wanted):
                yield f"{len(parts)} frames of {len(wanted)}"
            yield from self._samples(wanted, parts)

    def _samples(self, wanted: "np.ndarray", parts: list[Part]) -> Iterator[str | tuple[str, str]]:
        packed = self._subject.data_set.get("BitsAllocated") == 1
        for array, part in zip(wanted, parts, strict=False):
            samples = (np.packbits(array, bitorder="little") if packed else np.ascontiguousarray(array)).tobytes()
            if part.body != samples and not self._is_near(array, part.body):
                yield "samples", _how_far(samples, part.body, array.dtype)
                return

    def _is_near(self, array: "np.ndarray", found: bytes | np.ndarray) -> bool:
        """Whether a frame of a lossy encoding differs by no more than two good decoders do."""
        if self._subject.data_set.file_meta.TransferSyntaxUID not in _DECODERS_DIFFER:
            return False
        samples = np.frombuffer(found, array.dtype) if isinstance(found, bytes) else found
        return samples.size == array.size and bool(
            np.abs(samples.reshape(array.shape).astype(np.int64) - array.astype(np.int64)).max() <= 1
        )

    def _part_10(self, syntax: str) -> Iterator[str | tuple[str, str]]:
        answer = self._get(self._resource, f"{_PART_10}; transfer-syntax={syntax}")
        if answer.status != 200:
            yield f"status {answer.status}"
            return
        with quiet():
            data_set = dcmread(BytesIO(answer.parts[0].body))
        yield from self._elements(dict(of_data_set(data_set)))
        expected = self._subject.frames
        if expected is None:
            return
        if "PixelData" not in data_set:
            yield "no PixelData", f"Warning: {answer.headers.get('Warning')}"
            return
        found = _decoded(data_set, len(expected))
        if found is None:
            yield "nobody can decode it"
        elif found.shape != expected.shape or not (np.array_equal(found, expected) or self._is_near(expected, found)):
            yield "samples", f"{found.shape} {found.dtype} for {expected.shape} {expected.dtype}"

    def _picture(self, resource: str) -> Iterator[str | tuple[str, str]]:
        expected = self._subject.frames
        if expected is None:
            return
        answer = self._get(f"{self._resource}/{resource}", "image/png, image/jpeg;q=0.5")
        if answer.status != 200:
            yield f"status {answer.status}", answer.body[:200].decode(errors="replace")
            return
        shades = len(np.unique(np.asarray(Image.open(BytesIO(answer.body)).convert("L"))))
        if resource == "rendered" and shades == 1 and not _is_flat(expected[0], self._subject.data_set):
            yield "blank"


def _decoded(data_set: Dataset, number_of_frames: int) -> "np.ndarray | None":
    """The frames of a Part 10 object; pydicom has no decoder for HTJ2K of 32 bits."""
    found = frames(data_set)
    if found is not None:
        return found
    try:
        stored = generate_frames(data_set.PixelData, number_of_frames=number_of_frames)
        return np.stack([imagecodecs.htj2k_decode(frame, planar=False) for frame in stored])
    except Exception:  # noqa: BLE001 - a frame that is damaged in any way
        return None


def _is_flat(frame: "np.ndarray", data_set: Dataset) -> bool:
    """Whether all of a frame is one grey when its own window is applied."""
    try:
        with quiet():
            values = apply_voi_lut(apply_modality_lut(frame, data_set), data_set) if frame.ndim == 2 else frame
    except (ValueError, NotImplementedError, struct.error):  # a window or a LUT that pydicom does not take
        values = frame
    return len(np.unique(values)) == 1


def _no_json(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _differences(expected: Table, found: Table) -> Iterator[tuple[str, str, str]]:
    """Kind, place and values of each difference."""
    for place in sorted({*expected, *found}):
        one, other = expected.get(place), found.get(place)
        if one is None and other is not None:
            if not _is_below_missing(place, expected):
                yield "additional element", place, _shown(other)
        elif other is None and one is not None:
            if not _is_below_missing(place, found) and one.values is not None:
                yield "missing element", place, _shown(one)
        elif one is not None and other is not None and not one.agrees(other):
            yield "value", place, f"{_shown(one)} became {_shown(other)}"


def _is_below_missing(place: str, table: Table) -> bool:
    """Whether the sequence item that holds this element is missing itself: one deviation is enough."""
    above, _, _ = place.rpartition("[")
    if not above or above not in table:
        return bool(above)
    number = int(place.rpartition("[")[2].partition("]")[0])
    values = table[above].values or (0,)
    return table[above].vr != "SQ" or number >= int(values[0])


def _is_expected(place: str) -> bool:
    tag = place.rpartition(".")[2][:8]
    return (
        tag in BY_DESIGN
        or tag in _DESCRIPTION
        or tag in _PIXELS
        or tag.endswith("0000")  # group lengths are retired (PS3.5 Section 7.2)
        or tag.startswith(("FFFE", "0002", "0000"))
    )


def _in_xml(element: Element) -> Element:
    """An element as XML can hold it."""
    return replace(element, values=tuple(_characters(value) for value in element.values or ()))


def _characters(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_characters(part) for part in value)
    return _NOT_IN_XML.sub("\ufffd", value) if isinstance(value, str) else value


def _keywords(place: str) -> str:
    tags = [part[:8] for part in place.split(".")]
    return ".".join(keyword_for_tag(tag) or tag for tag in tags)


def _shown(element: Element) -> str:
    return f"{element.vr} {element.values!r:.80}"


def _how_far(expected: bytes, found: bytes, dtype: "np.dtype[Any]") -> str:
    if len(expected) != len(found):
        return f"{len(found)} bytes for {len(expected)}"
    one, other = (np.frombuffer(data, dtype).astype(np.int64) for data in (expected, found))
    return f"differ by up to {np.abs(one - other).max()} in {np.count_nonzero(one != other)} of {one.size} samples"


def counts(root: str, sources: list[Source]) -> Iterator[Deviation]:
    """Compare what searches count with the sources."""
    studies: dict[str, dict[str, set[str]]] = {}
    for source in sources:
        study, series, instance = source.uids
        studies.setdefault(study, {}).setdefault(series, set()).add(instance)
    by_study = {source.uids[0]: source for source in sources}
    for study, counted in studies.items():
        total = sum(len(instances) for instances in counted.values())
        found = _found(root, f"/studies?StudyInstanceUID={by_study[study].resource.split('/')[2]}")
        seen = [(row.get("00201206"), row.get("00201208")) for row in found]
        if seen != [(len(counted), total)]:
            yield Deviation("counts of a study", by_study[study], f"{seen} for {(len(counted), total)}")
        path = "/".join(by_study[study].resource.split("/")[:3])
        rows = {str(row.get("0020000E")): row.get("00201209") for row in _found(root, f"{path}/series")}
        if rows != {uid: len(instances) for uid, instances in counted.items()}:
            yield Deviation("counts of the series of a study", by_study[study], f"{rows}")


def _found(root: str, path: str) -> list[Mapping[str, Any]]:
    answer = get(root, path, {"Accept": "application/dicom+json"})
    if answer.status != 200:
        return []
    return [{tag: (element.get("Value") or [None])[0] for tag, element in row.items()} for row in answer.json]  # type: ignore[index]
