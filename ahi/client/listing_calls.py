"""Lists of data stores and image sets, a page for each call, as typed values. For the index command and forwarder."""

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ahi.client.retries import RetryingCaller
from ahi.client.searches import PAGE_SIZE
from dicomweb.errors import UnusableAnswer

CREATED_AT, UPDATED_AT = "createdAt", "updatedAt"

_ID = re.compile(r"[0-9a-z]{32}", re.ASCII)
_MOST_PAGES = 1000  # of data stores
_MOST_EMPTY_PAGES = 1000  # one after the other
_ARCHIVE = "ARCHIVE_INSTANT_ACCESS"
_BEGINNING = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class ListedImageSet:
    """The latest version of an image set, as SearchImageSets lists it.

    `is_archived`: it is in the archive tier. `instances` is the number of its instances, 0 if AHI does not tell it.
    """

    image_set_id: str
    version: int
    is_primary: bool
    created_at: datetime
    updated_at: datetime
    is_archived: bool = False
    instances: int = 0


@dataclass(frozen=True)
class Page:
    """A page of a list, and the token of the next page; None after the last one."""

    image_sets: tuple[ListedImageSet, ...]
    next_token: str | None


class PageTrail:
    """The pages of one listing. A listing that turns in a circle, or has nothing any more, would never end."""

    def __init__(self) -> None:
        self._tokens: set[int] = set()  # their hashes: a token may be long
        self._empty = 0

    def check(self, page: Page) -> None:
        """Note a page; UnusableAnswer if its token came before, or if too many pages were empty."""
        self._empty = 0 if page.image_sets else self._empty + 1
        if page.next_token is None:
            return
        token = hash(page.next_token)
        if token in self._tokens or self._empty > _MOST_EMPTY_PAGES:
            raise UnusableAnswer("AWS HealthImaging lists image sets in a circle")
        self._tokens.add(token)


@dataclass(frozen=True)
class TimeRange:
    """All image sets by a time, CREATED_AT or UPDATED_AT, or those of a range with both ends included.

    AHI compares whole seconds, so the ends are whole seconds.
    """

    field: str = CREATED_AT
    first: datetime | None = None
    last: datetime | None = None
    newest_first: bool = False

    def criteria(self) -> dict[str, Any]:
        """The searchCriteria of SearchImageSets."""
        sort = {"sortField": self.field, "sortOrder": "DESC" if self.newest_first else "ASC"}
        if self.first is None or self.last is None:
            return {"sort": sort}
        values = [{self.field: self.first}, {self.field: self.last}]
        return {"filters": [{"operator": "BETWEEN", "values": values}], "sort": sort}


@dataclass(frozen=True)
class SeriesFilter:
    """The image sets of a series."""

    study_instance_uid: str
    series_instance_uid: str

    def criteria(self) -> dict[str, Any]:
        """The searchCriteria of SearchImageSets."""
        uids = {
            "DICOMStudyInstanceUID": self.study_instance_uid,
            "DICOMSeriesInstanceUID": self.series_instance_uid,
        }
        return {"filters": [{"operator": "EQUAL", "values": [{name: uid}]} for name, uid in uids.items()]}


class ListingCalls:
    """The calls that list. Errors are those of RetryingCaller; NotFound for an unknown data store or a stale token."""

    def __init__(self, client: Any, caller: RetryingCaller) -> None:
        self._client = client
        self._caller = caller

    def datastores(self) -> list[str]:
        """The IDs of all active data stores that the credentials may list."""
        found: list[str] = []
        token: str | None = None
        for _ in range(_MOST_PAGES):
            page = self._datastores(token)
            found += [_checked_id(summary["datastoreId"]) for summary in page["datastoreSummaries"]]
            token = page.get("nextToken")
            if not token:
                break
        return found

    def image_sets(
        self, datastore_id: str, wanted: TimeRange | SeriesFilter, token: str | None = None, size: int = PAGE_SIZE
    ) -> Page:
        """A page of the image sets of a range, in order of their time, or of a series."""
        next_page = {"nextToken": token} if token else {}

        def call() -> Page:
            answer = self._client.search_image_sets(
                datastoreId=datastore_id, searchCriteria=wanted.criteria(), maxResults=size, **next_page
            )
            return _parse_page(answer)

        return self._caller.call("SearchImageSets", call)

    def _datastores(self, token: str | None) -> Any:
        next_page = {"nextToken": token} if token else {}
        return self._caller.call(
            "ListDatastores", lambda: self._client.list_datastores(datastoreStatus="ACTIVE", **next_page)
        )


def _parse_page(answer: Any) -> Page:
    """Parse an answer of SearchImageSets; TypeError, ValueError or KeyError for another answer."""
    token = answer.get("nextToken")
    if not isinstance(token, str | None):
        raise TypeError("not the answer of a search")
    return Page(tuple(map(_parse_summary, answer["imageSetsMetadataSummaries"])), token)


def _parse_summary(summary: Any) -> ListedImageSet:
    version, is_primary = summary.get("version", 1), summary.get("isPrimary")
    created_at = summary.get("createdAt", _BEGINNING)
    updated_at = summary.get("updatedAt", created_at)
    instances = summary.get("DICOMTags", {}).get("DICOMNumberOfStudyRelatedInstances", 0)
    if type(version) is not int or type(instances) is not int or not isinstance(is_primary, bool | None):
        raise TypeError("not the answer of a search")
    return ListedImageSet(
        image_set_id=_checked_id(summary["imageSetId"]),
        version=version,
        is_primary=is_primary is not False,
        created_at=created_at.astimezone(timezone.utc),
        updated_at=updated_at.astimezone(timezone.utc),
        is_archived=summary.get("storageTier") == _ARCHIVE,
        instances=instances,
    )


def _checked_id(identifier: str) -> str:
    if not _ID.fullmatch(identifier):
        raise TypeError("not the ID of a data store or an image set")
    return identifier
