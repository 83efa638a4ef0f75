"""From what was found to the data sets of an answer (PS3.18 Section 10.6.3.3)."""

from collections.abc import Iterator, Sequence
from datetime import date, time

from dicomweb.dicom_json import DataSet, Element, element, encode, encode_members, member, member_of
from dicomweb.uids import resource_path
from qido.parse.attributes import (
    INSTANCE_UID,
    MODALITIES_IN_STUDY,
    SERIES_UID,
    STUDY_UID,
    Level,
    Presence,
    SearchAttribute,
)
from qido.parse.query import Query
from qido.results import Result, ResultPage, Value
from runtime.fairness import in_turns

_CHARACTER_SET = ("00080005", "CS", ("ISO_IR 192",))
_AVAILABILITY = ("00080056", "CS", ("ONLINE",))  # AHI brings an archived image set back by itself
_RETRIEVE_URL = "00081190"

TRUNCATED = "{} results lack what only their image sets tell. Ask for fewer results at once."

_PATH = ((Level.STUDY, STUDY_UID), (Level.SERIES, SERIES_UID), (Level.INSTANCE, INSTANCE_UID))


def data_sets(query: Query, found: ResultPage, root: str) -> Iterator[DataSet]:
    """One data set for each result, made when its turn comes; a data set takes ten times what its text does.

    `root` is the public URL of the service, without a slash at its end.
    """
    return (_data_set(query.level, result, root) for result in in_turns(found.results))


def encoded(query: Query, found: ResultPage, root: str) -> Iterator[bytes]:
    """The DICOM JSON of each of `data_sets`, of which only those are made that image sets tell of."""
    return (
        encode(_data_set(query.level, result, root)) if result.described else _written(query.level, result, root)
        for result in in_turns(found.results)
    )


def tags(query: Query, found: Sequence[DataSet] = ()) -> list[str]:
    """All attributes that a result can have, in ascending order; the same for each page of a search.

    Which attributes all of them are is not known before: then they are those of `found`.
    """
    of_level = set() if query.level is Level.PATIENT else {_RETRIEVE_URL, _AVAILABILITY[0]}
    known = {one.tag for one in query.returned} | {one.tag for one in query.unindexed} | {_CHARACTER_SET[0]} | of_level
    return sorted(known.union(*found) if query.everything else known)


def location(data_set: DataSet) -> str:
    """Where a result can be retrieved; "" for a patient."""
    urls = data_set.get(_RETRIEVE_URL, {}).get("Value", [""])
    return str(urls[0])


def warnings(query: Query, found: ResultPage) -> list[str]:
    """What the client should know about the answer (PS3.18 Section 8.3.4, 10.6.3.3.2)."""
    more = [f"There are {found.additional} additional results that can be requested"] if found.additional else []
    truncated = sum(result.truncated for result in found.results)
    return [*query.warnings, *found.warnings, *([TRUNCATED.format(truncated)] if truncated else []), *more]


def _data_set(level: Level, result: Result, root: str) -> DataSet:
    elements = dict(result.described)
    for attribute, values in result.values.items():
        if values or (attribute.tag not in elements and _is_shown_empty(attribute)):
            elements[attribute.tag] = _element(attribute, values)
    elements.update((tag, element(vr, values)) for tag, vr, values in _of_service(level, result, root))
    return dict(sorted(elements.items()))


def _written(level: Level, result: Result, root: str) -> bytes:
    """`_data_set` as DICOM JSON, of what the index alone tells."""
    members = [_member(one, values) for one, values in result.values.items() if values or _is_shown_empty(one)]
    members += [member(*one) for one in _of_service(level, result, root)]
    return encode_members(members)


def _is_shown_empty(attribute: SearchAttribute) -> bool:
    return attribute.presence is not Presence.IF_KNOWN


def _of_service(level: Level, result: Result, root: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """What the service says of a result: tag, VR, values."""
    if level is Level.PATIENT:  # nothing retrieves a patient
        return [_CHARACTER_SET]
    return [_CHARACTER_SET, _AVAILABILITY, (_RETRIEVE_URL, "UR", (_url(level, result, root),))]


def _url(level: Level, result: Result, root: str) -> str:
    return root + resource_path(*(str(result.values[uid][0]) for at, uid in _PATH if at <= level))


def _member(attribute: SearchAttribute, values: tuple[Value, ...]) -> str:
    if attribute is MODALITIES_IN_STUDY and not values:
        return member_of(attribute.tag, _element(attribute, values))
    return member(attribute.tag, attribute.vr, tuple(map(_text, values)))


def _element(attribute: SearchAttribute, values: tuple[Value, ...]) -> Element:
    if attribute is MODALITIES_IN_STUDY and not values:
        return {"vr": attribute.vr, "Value": []}  # OHIF reads its length; a single study without would empty the list
    return element(attribute.vr, map(_text, values))


def _text(value: Value) -> str | int:
    """Dates and times as PS3.5 Section 6.2 writes them."""
    match value:
        case date():
            return value.isoformat().replace("-", "")
        case time():
            return value.isoformat().replace(":", "")
        case _:
            return value
