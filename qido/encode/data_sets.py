"""Results of a search as data sets (PS3.18 Section 10.6.3.3)."""

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
_AVAILABILITY = ("00080056", "CS", ("ONLINE",))  # AHI restores archived image sets by itself
_RETRIEVE_URL = "00081190"

TRUNCATED = "{} results lack what only their image sets tell. Ask for fewer results at once."

_PATH = ((Level.STUDY, STUDY_UID), (Level.SERIES, SERIES_UID), (Level.INSTANCE, INSTANCE_UID))


def data_sets(query: Query, found: ResultPage, root: str) -> Iterator[DataSet]:
    """A data set for each result, made lazily, because it takes ten times the memory of its text.

    `root` is the public URL of the service, without a slash at its end.
    """
    return (_data_set(query.level, result, root) for result in in_turns(found.results))


def encoded(query: Query, found: ResultPage, root: str) -> Iterator[bytes]:
    """The DICOM JSON of each result. Results of the index alone are written without a data set between."""
    return (
        encode(_data_set(query.level, result, root)) if result.described else _encode_indexed(query.level, result, root)
        for result in in_turns(found.results)
    )


def tags(query: Query, found: Sequence[DataSet] = ()) -> list[str]:
    """The tags that a result can have, in ascending order; they are the same for each page of a search.

    With `includefield=all` they are not known in advance; then they are the tags of `found`.
    """
    of_level = set() if query.level is Level.PATIENT else {_RETRIEVE_URL, _AVAILABILITY[0]}
    known = {one.tag for one in query.returned} | {one.tag for one in query.unindexed} | {_CHARACTER_SET[0]} | of_level
    return sorted(known.union(*found) if query.everything else known)


def location(data_set: DataSet) -> str:
    """The URL from which a result can be retrieved; "" for a patient."""
    urls = data_set.get(_RETRIEVE_URL, {}).get("Value", [""])
    return str(urls[0])


def warnings(query: Query, found: ResultPage) -> list[str]:
    """The texts for the Warning headers of an answer (PS3.18 Sections 8.3.4 and 10.6.3.3.2)."""
    more = [f"There are {found.additional} additional results that can be requested"] if found.additional else []
    truncated = sum(result.truncated for result in found.results)
    return [*query.warnings, *found.warnings, *([TRUNCATED.format(truncated)] if truncated else []), *more]


def _data_set(level: Level, result: Result, root: str) -> DataSet:
    elements = dict(result.described)
    for attribute, values in result.values.items():
        if values or (attribute.tag not in elements and _is_shown_empty(attribute)):
            elements[attribute.tag] = _element(attribute, values)
    elements.update((tag, element(vr, values)) for tag, vr, values in _service_attributes(level, result, root))
    return dict(sorted(elements.items()))


def _encode_indexed(level: Level, result: Result, root: str) -> bytes:
    """The DICOM JSON of a result of the index alone."""
    members = [_member(one, values) for one, values in result.values.items() if values or _is_shown_empty(one)]
    members += [member(*one) for one in _service_attributes(level, result, root)]
    return encode_members(members)


def _is_shown_empty(attribute: SearchAttribute) -> bool:
    return attribute.presence is not Presence.IF_KNOWN


def _service_attributes(level: Level, result: Result, root: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """The attributes that the service adds to a result: tag, VR, values."""
    if level is Level.PATIENT:  # a patient cannot be retrieved
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
        return {"vr": attribute.vr, "Value": []}  # without it OHIF shows no work list at all
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
