"""Structured reports and key object selections as a tree of plain values (PS3.3 Section C.17.3 and A.35).

The tree has bounds for depth and number of items; `Report.cut` tells whether items are left out. A content item that
refers to another one by its number stays a reference, so a tree has no loops.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import UID

from dicomweb.uids import resource_path
from wado.rendering.values import (
    date,
    date_time,
    integer,
    item,
    items,
    meaning,
    name,
    number,
    numbers,
    quietly,
    text,
    time,
)

MAX_DEPTH = 24
MAX_ITEMS = 5_000
_MAX_REFERENCES = 1000  # of one content item
_FRAMES_END = 10**9


@dataclass(frozen=True)
class ReportReference:
    """An object that a report refers to. `path` is below the service root, empty if its series is unknown."""

    label: str
    path: str
    frame_numbers: tuple[int, ...] = ()

    @property
    def rendered_path(self) -> str:
        """The path of its picture, or of the first frame that is referred to."""
        return f"{self.path}/frames/{self.frame_numbers[0]}/rendered" if self.frame_numbers else f"{self.path}/rendered"


@dataclass(frozen=True)
class Content:
    """One content item: its concept name, its value as text, its references, and its child items."""

    kind: str
    name: str
    value: str
    references: tuple[ReportReference, ...]
    contents: tuple["Content", ...]


@dataclass(frozen=True)
class Report:
    """A report: its title, facts of patient and study as (label, value), and its content items."""

    title: str
    facts: tuple[tuple[str, str], ...]
    contents: tuple[Content, ...]
    cut: bool

    @classmethod
    def from_data_set(cls, data_set: Dataset, *, most: int = MAX_ITEMS) -> "Report":
        """From a data set with an SR Document Content Module, at most `most` content items of it."""
        with quietly():
            return cls._read(data_set, most)

    @classmethod
    def _read(cls, data_set: Dataset, most: int) -> "Report":
        reader = _Reader(_evidence(data_set), most)
        contents = reader.contents(data_set, 1)
        title = meaning(data_set, "ConceptNameCodeSequence") or UID(text(data_set, "SOPClassUID")).name or "Report"
        return cls(title, tuple(_facts(data_set)), contents, reader.cut)


_FACTS: tuple[tuple[str, Callable[[Dataset], str]], ...] = (
    ("Patient", lambda data_set: name(data_set, "PatientName")),
    ("Patient ID", lambda data_set: text(data_set, "PatientID")),
    ("Born", lambda data_set: date(data_set, "PatientBirthDate")),
    ("Sex", lambda data_set: text(data_set, "PatientSex")),
    ("Study", lambda data_set: _joined(date(data_set, "StudyDate"), text(data_set, "StudyDescription"))),
    ("Accession number", lambda data_set: text(data_set, "AccessionNumber")),
    ("Referring physician", lambda data_set: name(data_set, "ReferringPhysicianName")),
    ("Series", lambda data_set: text(data_set, "SeriesDescription")),
    ("Institution", lambda data_set: text(data_set, "InstitutionName")),
    ("Content of", lambda data_set: _joined(date(data_set, "ContentDate"), time(data_set, "ContentTime"))),
    ("Status", lambda data_set: _status(data_set)),
    ("Verified by", lambda data_set: "; ".join(_verified(data_set))),
)


def _facts(data_set: Dataset) -> Iterator[tuple[str, str]]:
    return ((label, words) for label, read in _FACTS if (words := read(data_set)))


def _joined(*words: str) -> str:
    return " ".join(filter(None, words))


def _status(data_set: Dataset) -> str:
    flags = (text(data_set, flag) for flag in ("PreliminaryFlag", "CompletionFlag", "VerificationFlag"))
    return ", ".join(flag.lower() for flag in flags if flag)


def _verified(data_set: Dataset) -> Iterator[str]:
    for observer in items(data_set, "VerifyingObserverSequence", 20):
        organization = text(observer, "VerifyingOrganization")
        at = date_time(observer, "VerificationDateTime")
        yield ", ".join(filter(None, (name(observer, "VerifyingObserverName"), organization, at)))


def _evidence(data_set: Dataset) -> Mapping[str, str]:
    """The paths of objects by their SOP Instance UID, as the document lists them (PS3.3 Section C.17.2)."""
    paths = {}
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in items(data_set, keyword):
            for series in items(study, "ReferencedSeriesSequence"):
                above = (text(study, "StudyInstanceUID"), text(series, "SeriesInstanceUID"))
                for one in items(series, "ReferencedSOPSequence"):
                    uid = text(one, "ReferencedSOPInstanceUID")
                    if all((*above, uid)):
                        paths[uid] = resource_path(*above, uid)
    return paths


class _Reader:
    """Reads content items up to a number."""

    def __init__(self, evidence: Mapping[str, str], most: int) -> None:
        self.cut = False
        self._evidence = evidence
        self._left = most

    def contents(self, data_set: Dataset, depth: int) -> tuple[Content, ...]:
        if depth > MAX_DEPTH:
            self.cut = self.cut or "ContentSequence" in data_set
            return ()
        return tuple(self._each(data_set, depth))

    def _each(self, data_set: Dataset, depth: int) -> Iterator[Content]:
        for one in items(data_set, "ContentSequence"):
            if self._left <= 0:
                self.cut = True
                return
            self._left -= 1
            yield self._content(one, depth)

    def _content(self, one: Dataset, depth: int) -> Content:
        kind = text(one, "ValueType") or ("BY-REFERENCE" if "ReferencedContentItemIdentifier" in one else "")
        read = _VALUES.get(kind)
        label = meaning(one, "ConceptNameCodeSequence")
        references = tuple(self._references(one))
        return Content(kind, label, read(one) if read else "", references, self.contents(one, depth + 1))

    def _references(self, one: Dataset) -> Iterator[ReportReference]:
        for reference in items(one, "ReferencedSOPSequence", _MAX_REFERENCES):
            frame_numbers = tuple(
                int(frame) for frame in numbers(reference, "ReferencedFrameNumber") if 1 <= frame < _FRAMES_END
            )
            path = self._evidence.get(text(reference, "ReferencedSOPInstanceUID"), "")
            yield ReportReference(_class_name(reference), path, frame_numbers[:_MAX_REFERENCES])


def _class_name(reference: Dataset) -> str:
    uid = UID(text(reference, "ReferencedSOPClassUID"))
    return uid.name.removesuffix(" Storage") if uid.name != uid else "Object"


def _measured(one: Dataset) -> str:
    """A NUM with its unit, or the reason why there is no value (PS3.3 Section C.18.1)."""
    measured = item(one, "MeasuredValueSequence")
    units = item(measured, "MeasurementUnitsCodeSequence")
    unit = text(units, "CodeValue") if len(text(units, "CodeValue")) <= 8 else meaning(measured, _UNITS)
    words = _joined(text(measured, "NumericValue"), "" if unit == "1" else unit)
    return words or meaning(one, "NumericValueQualifierCodeSequence")


_UNITS = "MeasurementUnitsCodeSequence"


def _region(one: Dataset) -> str:
    """The kind of shape of an SCOORD or SCOORD3D, and its number of points (PS3.3 Section C.18.6)."""
    kind = text(one, "GraphicType").lower()
    count = len(numbers(one, "GraphicData"))
    per_point = 3 if text(one, "ValueType") == "SCOORD3D" else 2
    points = count // per_point
    return f"{kind or 'region'} of {points} point{'s' * (points != 1)}" if count else kind


def _when(one: Dataset) -> str:
    """The times or samples that a TCOORD selects (PS3.3 Section C.18.7)."""
    spans = (("ReferencedTimeOffsets", "s"), ("ReferencedSamplePositions", "samples"))
    found = [f"{', '.join(f'{at:g}' for at in numbers(one, keyword)[:20])} {unit}" for keyword, unit in spans]
    times = [words for words in found if words[0] != " "] or [date_time(one, "ReferencedDateTime")]
    return _joined(text(one, "TemporalRangeType").lower(), "at" if times[0] else "", times[0])


def _by_reference(one: Dataset) -> str:
    number_of = ".".join(f"{at:g}" for at in numbers(one, "ReferencedContentItemIdentifier")[:MAX_DEPTH])
    return f"see item {number_of}"


def _table(one: Dataset) -> str:
    rows, columns = number(one, "NumberOfTableRows"), integer(one, "NumberOfTableColumns")
    return f"table of {rows:g} rows and {columns} columns" if rows else "table"


_VALUES: Mapping[str, Callable[[Dataset], str]] = {  # PS3.3 Table C.17.3-7
    "TEXT": lambda one: text(one, "TextValue"),
    "NUM": _measured,
    "CODE": lambda one: meaning(one, "ConceptCodeSequence"),
    "DATETIME": lambda one: date_time(one, "DateTime"),
    "DATE": lambda one: date(one, "Date"),
    "TIME": lambda one: time(one, "Time"),
    "UIDREF": lambda one: text(one, "UID"),
    "PNAME": lambda one: name(one, "PersonName"),
    "SCOORD": _region,
    "SCOORD3D": _region,
    "TCOORD": _when,
    "TABLE": _table,
    "BY-REFERENCE": _by_reference,
}
