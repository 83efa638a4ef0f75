"""SearchImageSets: its criteria, and the image sets that meet them (AHI API Reference, SearchImageSets)."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from operator import attrgetter
from typing import Any

from datastore.serving.errors import AhiError
from datastore.storage.records import ImageSetVersion
from datastore.storage.storage import Storage

MOST_FILTERS = 2
_LAST_TIME = "~"  # after every time of day
_STUDY = "DICOMStudyInstanceUID"


@dataclass(frozen=True)
class Field:
    """A field to filter by: `stored` reads it from an image set, `first` and `last` read the bounds of a filter.

    `column` is the name of a time by which a storage can sort.
    """

    stored: Callable[[ImageSetVersion], Any]
    first: Callable[[Any], Any]
    last: Callable[[Any], Any]
    ranges: bool = False
    column: str = ""


@dataclass(frozen=True)
class SearchFilter:
    """A condition that a field is between two values, both included; for EQUAL they are the same."""

    field: Field
    first: Any
    last: Any

    def takes(self, image_set: ImageSetVersion) -> bool:
        """Whether an image set meets the condition."""
        return bool(self.first <= self.field.stored(image_set) <= self.last)


_Place = tuple[Any, str]
"""The place of an image set in the order: the value that is sorted by, and its ID."""


@dataclass(frozen=True)
class Criteria:
    """The filters and the order of a search; `sort_field` is the name in the request."""

    filters: tuple[SearchFilter, ...]
    sort_field: str
    descending: bool

    @classmethod
    def from_json(cls, criteria: Any) -> "Criteria":
        """Parse the body of a request; ValidationException."""
        body = _object(criteria)
        filters = body.get("filters") or []
        if not isinstance(filters, list) or len(filters) > MOST_FILTERS:
            raise AhiError("ValidationException", f"filters must be a list of at most {MOST_FILTERS}")
        sort = _object(body.get("sort") or {"sortField": "updatedAt", "sortOrder": "DESC"})
        if sort.get("sortField") not in _SORT_FIELDS or sort.get("sortOrder") not in ("ASC", "DESC"):
            raise AhiError("ValidationException", f"sort must be by one of {', '.join(_SORT_FIELDS)}, ASC or DESC")
        return cls(tuple(map(_filter, filters)), sort["sortField"], sort["sortOrder"] == "DESC")

    def page(self, storage: Storage, size: int, token: str | None) -> tuple[list[ImageSetVersion], str | None]:
        """A page of the image sets that meet every filter, in order, and the token of the next page.

        Image-set IDs decide ties. The token names the last image set of its page, so that image sets which come or go
        meanwhile move no other. ValidationException for a token of other criteria.
        """
        after = self._parse_token(token) if token else None
        found = list(islice(filter(self._takes, self._in_order(storage, after)), size + 1))
        if len(found) <= size:
            return found, None
        return found[:size], self._token(found[size - 1])

    def _takes(self, image_set: ImageSetVersion) -> bool:
        return image_set.state != "DELETED" and all(condition.takes(image_set) for condition in self.filters)

    def _in_order(self, storage: Storage, after: "_Place | None") -> Iterable[ImageSetVersion]:
        """The image sets behind a place. They are found or sorted by the storage if it can do so."""
        field = _FIELDS[self.sort_field]
        studies = [condition.first for condition in self.filters if condition.field is _FIELDS[_STUDY]]
        if field.column and not studies:
            bounds = [(condition.first, condition.last) for condition in self.filters if condition.field is field]
            return storage.image_sets_by(field.column, descending=self.descending, bounds=bounds, after=after)
        candidates = storage.image_sets_of(studies[0]) if studies else storage.image_sets()
        image_sets = sorted(candidates, key=self._place, reverse=self.descending)
        return (found for found in image_sets if after is None or self._is_behind(self._place(found), after))

    def _is_behind(self, place: "_Place", other: "_Place") -> bool:
        return place < other if self.descending else place > other

    def _place(self, image_set: ImageSetVersion) -> "_Place":
        return _FIELDS[self.sort_field].stored(image_set), image_set.image_set_id

    def _token(self, last: ImageSetVersion) -> str:
        value, image_set_id = self._place(last)
        return base64.urlsafe_b64encode(json.dumps([value, image_set_id, self._digest]).encode()).decode()

    def _parse_token(self, token: str) -> "_Place":
        try:
            value, image_set_id, digest = json.loads(base64.urlsafe_b64decode(token))
            place = (tuple(value) if isinstance(value, list) else value), str(image_set_id)
        except (ValueError, TypeError):
            digest = place = None
        if place is None or digest != self._digest:
            raise AhiError("ValidationException", "nextToken is not one of this search")
        return place

    @property
    def _digest(self) -> str:
        told = [(condition.first, condition.last) for condition in self.filters]
        return sha256(repr((told, self.sort_field, self.descending)).encode()).hexdigest()[:16]

    def sort_json(self) -> dict[str, str]:
        """The order in the form of the answer."""
        return {"sortField": self.sort_field, "sortOrder": "DESC" if self.descending else "ASC"}


def _filter(entry: Any) -> SearchFilter:
    body = _object(entry)
    values = body.get("values")
    count = {"EQUAL": 1, "BETWEEN": 2}.get(str(body.get("operator")))
    if not isinstance(values, list) or len(values) != count:
        raise AhiError("ValidationException", "a filter is EQUAL to one value, or BETWEEN two")
    members = [_member(value) for value in values]
    (name, first), (same_name, last) = members[0], members[-1]
    if name != same_name or (count == 2 and not _FIELDS[name].ranges):
        raise AhiError("ValidationException", "BETWEEN takes two values of one date and time field")
    field = _FIELDS[name]
    return SearchFilter(field, field.first(first), field.last(last))


def _member(value: Any) -> tuple[str, Any]:
    members = list(_object(value).items())
    if len(members) != 1 or members[0][0] not in _FIELDS:
        raise AhiError("ValidationException", f"a value has one member, one of {', '.join(_FIELDS)}")
    return members[0]


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise AhiError("ValidationException", "an object is expected")
    return value


def _of_type(*kinds: type) -> Callable[[Any], Any]:
    def checked(value: Any) -> Any:
        if type(value) not in kinds:
            raise AhiError("ValidationException", f"a filter value is not a {kinds[0].__name__}")
        return value

    return checked


def _date_and_time(missing_time: str) -> Callable[[Any], tuple[str, str]]:
    def parsed(value: Any) -> tuple[str, str]:
        body = _object(value)
        text = _of_type(str)
        return text(body.get("DICOMStudyDate")), text(body.get("DICOMStudyTime", missing_time))

    return parsed


def _time(column: str) -> Field:
    number = _of_type(int, float)
    return Field(attrgetter(column), number, number, ranges=True, column=column)


def _tag(name: str) -> Field:
    text = _of_type(str)
    return Field(lambda image_set: image_set.tags.get(name) or "", text, text)


_FIELDS: Mapping[str, Field] = {
    "DICOMPatientId": _tag("DICOMPatientId"),
    "DICOMAccessionNumber": _tag("DICOMAccessionNumber"),
    "DICOMStudyId": _tag("DICOMStudyId"),
    _STUDY: _tag(_STUDY),
    "DICOMSeriesInstanceUID": _tag("DICOMSeriesInstanceUID"),
    "createdAt": _time("created_at"),
    "updatedAt": _time("updated_at"),
    "DICOMStudyDateAndTime": Field(
        lambda image_set: (image_set.tags.get("DICOMStudyDate") or "", image_set.tags.get("DICOMStudyTime") or ""),
        _date_and_time(""),
        _date_and_time(_LAST_TIME),
        ranges=True,
    ),
    "isPrimary": Field(lambda image_set: image_set.is_primary, _of_type(bool), _of_type(bool)),
}
_SORT_FIELDS: Sequence[str] = ("updatedAt", "createdAt", "DICOMStudyDateAndTime")
