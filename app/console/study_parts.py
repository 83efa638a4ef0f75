"""One study for its page: patient and study, series, and instances page by page, by searches as clients make them.

Runs in the web processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.console.readings import PersonName, read_clock, read_day, read_uid
from app.console.study_list import StudyRow
from db.scope import Scope
from dicomweb.errors import NotFound
from dicomweb.uids import parse_uid
from qido.encode.data_sets import warnings
from qido.execute.search import search
from qido.image_sets.archive import Archive
from qido.parse.attributes import BY_TAG, INSTANCE_UID, SERIES_INSTANCES, SERIES_UID, Level
from qido.parse.query import Query, parse_query
from qido.results import Result, ResultPage

SERIES_PER_PAGE = 100
INSTANCES_PER_PAGE = 60

_OF_STUDY = "StudyDescription"
_OF_SERIES = "BodyPartExamined,ProtocolName,StationName,InstitutionName,Manufacturer"


@dataclass(frozen=True)
class SeriesRow:
    """One series, as people read it; "" and None for what is not known."""

    series_instance_uid: str
    number: str
    modality: str
    description: str
    body_part: str
    protocol: str
    station: str
    institution: str
    instances: int | None

    @classmethod
    def of(cls, result: Result) -> "SeriesRow":
        """The row of a result."""
        count = _text(result, SERIES_INSTANCES.tag)
        return cls(
            str(result.values[SERIES_UID][0]),
            _text(result, "00200011"),
            _text(result, "00080060"),
            _text(result, "0008103E"),
            _text(result, "00180015"),
            _text(result, "00181030"),
            _text(result, "00081010"),
            _text(result, "00080080"),
            int(count) if count.isdecimal() else None,
        )


@dataclass(frozen=True)
class InstanceRow:
    """One instance, as people read it; "" for what is not known."""

    sop_instance_uid: str
    number: str
    kind: str
    size: str
    frames: str

    @classmethod
    def of(cls, result: Result) -> "InstanceRow":
        """The row of a result."""
        sop_class_uid = _text(result, "00080016")
        rows, columns = _text(result, "00280010"), _text(result, "00280011")
        return cls(
            str(result.values[INSTANCE_UID][0]),
            _text(result, "00200013"),
            read_uid(sop_class_uid) or sop_class_uid,
            f"{columns} × {rows}" if rows and columns else "",  # noqa: RUF001 - the sign of multiplication
            _text(result, "00280008"),
        )


@dataclass(frozen=True)
class StudyHead:
    """The patient and the study."""

    study: StudyRow
    study_id: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class PartsPage:
    """A page of series or instances; `page` is its number from 1, and `number` of all parts is a lower bound."""

    rows: tuple[SeriesRow, ...] | tuple[InstanceRow, ...]
    page: int
    number: int
    has_next: bool
    warnings: tuple[str, ...]


def find_study(archive: Archive, scope: Scope, study_instance_uid: str) -> StudyHead:
    """The patient and the study; NotFound if there is no such study in scope."""
    uid = parse_uid(study_instance_uid, "the study")
    keys = [("StudyInstanceUID", uid), ("includefield", _OF_STUDY)]
    query = parse_query(keys, Level.STUDY, max_results=1, scope=scope)
    found = search(archive, query)
    if not found.results:
        raise NotFound("there is no such study")
    return StudyHead(StudyRow.of(found.results[0]), _text(found.results[0], "00200010"), _warnings(query, found))


def find_series(archive: Archive, scope: Scope, study_instance_uid: str, page: int) -> PartsPage:
    """A page of the series of a study, by number; NotFound if there is no such study in scope."""
    query = _page_of(Level.SERIES, scope, _OF_SERIES, page, SERIES_PER_PAGE, study_instance_uid)
    found = search(archive, query)
    return _parts(query, found, page, tuple(map(SeriesRow.of, found.results)))


def find_one_series(archive: Archive, scope: Scope, study_instance_uid: str, series_instance_uid: str) -> SeriesRow:
    """A series of a study; NotFound if there is none in scope."""
    uid = parse_uid(series_instance_uid, "the series")
    keys = [("SeriesInstanceUID", uid), ("includefield", _OF_SERIES)]
    query = parse_query(keys, Level.SERIES, study_instance_uid, max_results=1, scope=scope)
    found = search(archive, query)
    if not found.results:
        raise NotFound("there is no such series in this study")
    return SeriesRow.of(found.results[0])


def find_instances(
    archive: Archive, scope: Scope, study_instance_uid: str, series_instance_uid: str, page: int
) -> PartsPage:
    """A page of the instances of a series, by number; NotFound if there is no such series in scope."""
    uids = (study_instance_uid, series_instance_uid)
    query = _page_of(Level.INSTANCE, scope, "", page, INSTANCES_PER_PAGE, *uids)
    found = search(archive, query)
    return _parts(query, found, page, tuple(map(InstanceRow.of, found.results)))


def _page_of(
    level: Level, scope: Scope, included: str, page: int, size: int, study: str, series: str | None = None
) -> Query:
    parameters = [("includefield", included), ("limit", str(size)), ("offset", str((page - 1) * size))]
    return parse_query(parameters, level, study, series, max_results=size, scope=scope)


def _parts(
    query: Query, found: ResultPage, page: int, rows: tuple[SeriesRow, ...] | tuple[InstanceRow, ...]
) -> PartsPage:
    number = query.offset + len(found.results) + found.additional
    return PartsPage(rows, page, number, found.additional > 0, _warnings(query, found))


def _warnings(query: Query, found: ResultPage) -> tuple[str, ...]:
    return tuple(warnings(query, replace(found, additional=0)))


def _text(result: Result, tag: str) -> str:
    """The values of an attribute, as people read them."""
    attribute = BY_TAG[tag]
    values: Sequence[object] = result.values.get(attribute, ())
    readers = {"PN": lambda value: str(PersonName.from_text(str(value))), "DA": read_day, "TM": read_clock}
    return ", ".join(map(readers.get(attribute.vr, str), values))
