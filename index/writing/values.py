"""Metadata of an image set → the values of its rows (`db.index_schema`).

Values are those that the service itself reads in an image set: texts without padding, several values with backslashes
between them. A date, time or number that is ill-formed is unknown (None), as an absent or empty value is.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, time
from hashlib import sha256
from typing import Any, NamedTuple

from pydicom.datadict import tag_for_keyword
from sqlalchemy import Date, Integer, Table, Text, Time

from db.comparison import fold, fold_name
from db.index_schema import FOLDED, LONG_CHARACTERS, held_uid, instance, issuer, patient, series, study
from dicomweb.dates import read_date, read_time
from dicomweb.texts import parse_decimal

Json = Mapping[str, Any]
Values = dict[str, Any]

_PADDING = " \0"
_LEAST, _GREATEST = -(2**31), 2**31 - 1  # of an integer column

_KEYWORDS = {
    issuer: "IssuerOfPatientID",
    patient: "PatientID PatientName PatientBirthDate PatientSex PatientComments",
    study: "AccessionNumber StudyID StudyDate StudyTime StudyDescription ReferringPhysicianName",
    series: "Modality SeriesNumber SeriesDescription InstitutionName BodyPartExamined StationName Manufacturer"
    " ProtocolName Laterality",
    instance: "SOPClassUID ImageType InstanceNumber AcquisitionDate AcquisitionTime ContentDate ContentTime"
    " PhotometricInterpretation NumberOfFrames Rows Columns BitsAllocated BitsStored HighBit RescaleSlope"
    " RescaleIntercept PixelRepresentation WindowCenter WindowWidth ContentDescription",
}
"""The attributes that have a column, which is called like the keyword in lower case."""

_PERSONS = frozenset({"PatientName", "ReferringPhysicianName"})


@dataclass(frozen=True)
class ImageSetRows:
    """The rows that an image set asks for; keys of values are names of columns.

    `patient_identity` is the digest of what makes its patient. `instances` are by SOP Instance UID. `lossy` says that a
    value was cut or changed to fit its column.
    """

    patient_identity: str
    issuer: str
    patient: Values
    study_instance_uid: str
    study: Values
    series_instance_uid: str
    series: Values
    instances: Mapping[str, Values]
    lossy: bool

    @classmethod
    def from_metadata(cls, metadata: Json) -> "ImageSetRows":
        """Convert decoded metadata; ValueError if patient, study and one series are not where AHI puts them."""
        try:
            return _rows_of(metadata)
        except (KeyError, TypeError, AttributeError):
            raise ValueError("this is not the metadata of an image set") from None

    @property
    def attributes(self) -> "Attributes":
        """The values of patient, study and series."""
        return Attributes(self.issuer, self.patient, self.study, self.series)


@dataclass(frozen=True)
class Attributes:
    """The values of patient, study and series that an image set gives, as the ledger keeps them."""

    issuer: str
    patient: Values
    study: Values
    series: Values

    def to_json(self) -> str:
        """These values as JSON, without those that are unknown."""
        tables = {"patient": self.patient, "study": self.study, "series": self.series}
        encoded = {table: {name: _encoded(value) for name, value in values.items() if value is not None}
                   for table, values in tables.items()}  # fmt: skip
        return json.dumps({"issuer": self.issuer, **encoded})

    @classmethod
    def from_json(cls, text: str) -> "Attributes":
        """The values that `to_json` wrote."""
        encoded = json.loads(text)
        patients, studies, many_series = (_decoded(encoded[table.name], table) for table in (patient, study, series))
        return cls(encoded["issuer"], patients, studies, many_series)


def _decoded(encoded: Json, table: Table) -> Values:
    values: Values = {}
    for column in _COLUMNS[table]:
        for name in column.names:
            value = encoded.get(name)
            values[name] = column.decode(value) if value is not None and name == column.name else value
    return values


def _rows_of(metadata: Json) -> ImageSetRows:
    of_patient, of_study = _elements(metadata.get("Patient")), _elements(metadata["Study"])
    many = metadata["Study"]["Series"]
    if len(many) != 1:
        raise ValueError(f"the metadata of the image set has {len(many)} series")
    ((series_uid, node),) = many.items()
    of_series = _elements(node)
    changes: list[str] = []
    study_uid = _uid(of_study["StudyInstanceUID"], changes)
    if not study_uid:
        raise ValueError("the metadata of the image set has no Study Instance UID")
    upper = {**of_patient, **of_study, **of_series}
    shared = {column: value for column in _COLUMNS[instance] if (value := column.find(upper)) is not None}
    of_instance = _Memo(instance, changes)
    nodes = sorted((node.get("Instances") or {}).items())
    return ImageSetRows(
        patient_identity=_identity(of_patient, study_uid),
        issuer=_values(issuer, of_patient, changes)["issuerofpatientid"] or "",
        patient=_values(patient, of_patient, changes),
        study_instance_uid=study_uid,
        study=_values(study, of_study, changes),
        series_instance_uid=_uid(series_uid, changes) or "",
        series=_values(series, of_series, changes),
        instances={
            _uid(uid, changes) or "": of_instance.values(_elements(one)) | _converted(shared, changes)
            for uid, one in nodes
        },
        lossy=bool(changes),
    )


def _elements(node: Json | None) -> Json:
    return (node or {}).get("DICOM") or {}


def _identity(of_patient: Json, study_uid: str) -> str:
    """The digest of what makes a patient: the ID and its issuer, or the study of one without an ID."""
    names = {column.name: column for table in (issuer, patient) for column in _COLUMNS[table]}
    patient_id, domain = (_words(names[name].find(of_patient)) for name in ("patientid", "issuerofpatientid"))
    parts = ("ID", patient_id, domain or "") if patient_id else ("study", study_uid)
    return sha256(json.dumps(parts).encode()).hexdigest()


Convert = Callable[[Any, int, list[str]], Any]
"""Converts a value for a column of so many characters, and notes a change that loses some of it."""


class _Column(NamedTuple):
    """A column with an attribute, and perhaps a folded one beside it."""

    name: str
    keyword: str
    tag: str
    convert: Convert
    characters: int
    fold: Callable[[str], str] | None
    folded_characters: int
    decode: Callable[[Any], Any]

    def find(self, elements: Json) -> Any:
        """The value in elements, which are named by their keyword or by eight hexadecimal digits."""
        value = elements.get(self.keyword)
        return elements.get(self.tag) if value is None else value

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the column and of its folded one."""
        return (self.name, self.name + FOLDED) if self.fold else (self.name,)


def _values(table: Table, elements: Json, changes: list[str]) -> Values:
    """The value of each column of a table that has an attribute."""
    return _converted({column: column.find(elements) for column in _COLUMNS[table]}, changes)


def _converted(found: Mapping[_Column, Any], changes: list[str]) -> Values:
    values: Values = {}
    for column, value in found.items():
        converted = None if value is None else column.convert(value, column.characters, changes)
        values[column.name] = converted
        if column.fold:
            values[column.name + FOLDED] = (
                _fitting(column.fold(converted), column.folded_characters, changes) if converted else None
            )
    return values


class _Memo:
    """Converts values for one table; equal ones of one column, which many instances share, once."""

    def __init__(self, table: Table, changes: list[str]) -> None:
        self._changes = changes
        self._columns: list[tuple[_Column, dict[tuple[type, Any], Values]]]
        self._columns = [(column, {}) for column in _COLUMNS[table]]

    def values(self, elements: Json) -> Values:
        """The value of each column."""
        values: Values = {}
        for column, known in self._columns:
            value = column.find(elements)
            key = type(value), repr(value) if isinstance(value, list | dict) else value
            converted = known.get(key)
            if converted is None:
                converted = known[key] = _converted({column: value}, self._changes)
            values.update(converted)
        return values


def _words(value: Any) -> str:
    """A text without padding; several values have backslashes between them."""
    if isinstance(value, str) and "\\" not in value:
        return value.strip(_PADDING)
    words: list[str] = []
    for item in value if isinstance(value, list) else [value]:
        words += str(item).split("\\") if isinstance(item, str | int | float) else [""]
    stripped = [word.strip(_PADDING) for word in words]
    return "\\".join(stripped) if any(stripped) else ""


def _text(value: Any, characters: int, changes: list[str]) -> str | None:
    return _fitting(_words(value), characters, changes) or None


def _long_text(value: Any, characters: int, changes: list[str]) -> str | None:
    """A text of a VR whose backslashes and leading blanks mean themselves."""
    return _fitting(value, characters, changes) or None if isinstance(value, str) else None


def _uid(value: Any, changes: list[str]) -> str | None:
    uid = _plain(_words(value), changes)
    held = held_uid(uid)
    if held != uid:
        changes.append("cut")
    return held or None


def _held_uid(value: Any, _characters: int, changes: list[str]) -> str | None:
    return _uid(value, changes)


def _plain(text: str, changes: list[str]) -> str:
    """A text without NUL and halves of surrogate pairs, which no database takes."""
    if text.isascii():
        plain = text.replace("\0", "") if "\0" in text else text
    else:
        plain = text.replace("\0", "").encode("utf-8", "replace").decode()
    if plain != text:
        changes.append("changed")
    return plain


def _fitting(text: str, characters: int, changes: list[str]) -> str:
    plain = _plain(text, changes)
    if len(plain) <= characters:
        return plain
    changes.append("cut")
    return plain[:characters]


def _first(value: Any) -> Any:
    return (value[0] if value else None) if isinstance(value, list) else value


def _integer(value: Any, _characters: int, changes: list[str]) -> int | None:
    first = _first(value)
    if isinstance(first, str):
        try:
            first = parse_decimal(first.strip(_PADDING).partition("\\")[0])
        except ValueError:
            return None
    if not isinstance(first, int | float) or (isinstance(first, float) and not first.is_integer()):
        return None
    if not _LEAST <= first <= _GREATEST:
        changes.append("beyond")
        return None
    return int(first)


def _date(value: Any, _characters: int, _changes: list[str]) -> date | None:
    return read_date(_words(_first(value)))


def _time(value: Any, _characters: int, _changes: list[str]) -> time | None:
    return read_time(_words(_first(value)))


def _encoded(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | time) else value


def _same(value: Any) -> Any:
    return value


_BY_TYPE: tuple[tuple[type, Convert, Callable[[Any], Any]], ...] = (
    (Date, _date, date.fromisoformat),
    (Time, _time, time.fromisoformat),
    (Integer, _integer, _same),
    (Text, _long_text, _same),
)


def _column_of(table: Table, keyword: str) -> _Column:
    column = table.c[keyword.lower()]
    folded = table.c.get(column.name + FOLDED)
    convert, decode = next(((read, back) for kind, read, back in _BY_TYPE if isinstance(column.type, kind)),
                           (_held_uid if keyword.endswith("UID") else _text, _same))  # fmt: skip
    return _Column(
        name=column.name,
        keyword=keyword,
        tag=f"{tag_for_keyword(keyword):08X}",
        convert=convert,
        characters=_characters_of(column),
        fold=None if folded is None else fold_name if keyword in _PERSONS else fold,
        folded_characters=0 if folded is None else _characters_of(folded),
        decode=decode,
    )


def _characters_of(column: Any) -> int:
    return getattr(column.type, "length", None) or LONG_CHARACTERS


_COLUMNS = {table: tuple(_column_of(table, name) for name in names.split()) for table, names in _KEYWORDS.items()}
