"""The choice of an image set for an instance (AWS HealthImaging Developer Guide, "understanding image sets").

An image set is one series whose instances agree in every element of the patient, study and series levels, which include
the seven elements that AHI groups by. An instance that does not agree with the primary image set of its series goes
into a non-primary one. So does the first of a series if it contradicts the primary image sets of its study.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from datastore.importing.json_values import Json, JsonObject
from datastore.importing.metadata import Levels


@dataclass(frozen=True)
class Member:
    """An image set of the series, and the elements that its instances share."""

    image_set_id: str
    is_primary: bool
    levels: Levels


@dataclass(frozen=True)
class NewImageSet:
    """The choice of a new image set, because no existing one fits."""

    is_primary: bool


MemberT = TypeVar("MemberT", bound=Member)


def choose(levels: Levels, of_series: Sequence[MemberT], primaries_of_study: Iterable[Levels]) -> MemberT | NewImageSet:
    """The image set that an instance joins: the primary one of its series first, then the others, oldest first."""
    for member in sorted(of_series, key=lambda member: not member.is_primary):
        if agree(levels, member.levels):
            return member
    if any(member.is_primary for member in of_series):
        return NewImageSet(is_primary=False)
    return NewImageSet(is_primary=not any(contradict(levels, other) for other in primaries_of_study))


def agree(one: Levels, other: Levels) -> bool:
    """Whether instances with these levels can share an image set: all elements must be equal."""
    return _comparable(one) == _comparable(other)


def contradict(one: Levels, other: Levels) -> bool:
    """Whether two series cannot belong to one study: a patient or study element has two values.

    An element that only one of them has is no contradiction: a report has less of the patient than a scanner.
    """
    return any(
        _stripped(level[name]) != _stripped(others[name])
        for level, others in ((one.patient, other.patient), (one.study, other.study))
        for name in level.keys() & others.keys()
        if level[name] is not None and others[name] is not None
    )


def _comparable(levels: Levels) -> tuple[Json, Json, Json]:
    return _stripped(levels.patient), _stripped(levels.study), _stripped(levels.series)


def _stripped(value: Json) -> Json:
    """A value without the padding of texts, which has no meaning and which one dialect keeps."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    if isinstance(value, dict):
        return _stripped_object(value)
    return value


def _stripped_object(value: JsonObject) -> JsonObject:
    return {name: _stripped(item) for name, item in value.items()}
