"""The events of AHI, as Amazon EventBridge delivers them: each is a hint that something changed, and never the state.

AHI documents the texts (developer guide, EventBridge), but has spelt members in two ways and left some out. So an event
says no more here than which image set or data store to look at. Everything else is not for us, with a reason.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

_SOURCE = "aws.medical-imaging"
_ID = re.compile(r"[0-9a-z]{32}", re.ASCII)
_MOST_CHARACTERS = 2**16
"""Events of AHI have about a thousand characters."""

_DELETED = "Image Set Deleted"
_IMAGE_SET_EVENTS = frozenset({"Image Set Created", "Image Set Copied", "Image Set Updated", _DELETED})
_IMPORT_EVENTS = frozenset({"Import Job Completed", "Import Job Failed"})
"""A job that failed may have imported a part."""


@dataclass(frozen=True)
class ImageSetHint:
    """An image set changed; `deleted` if the event says that it is gone for ever."""

    datastore_id: str
    image_set_id: str
    deleted: bool = False


@dataclass(frozen=True)
class DatastoreHint:
    """A data store changed."""

    datastore_id: str


@dataclass(frozen=True)
class NotForUs:
    """A message that says nothing about image sets. `reason` has no text of the message."""

    reason: str


Hint = ImageSetHint | DatastoreHint | NotForUs


def parse_event(body: str) -> Hint:
    """The hint in the body of a message. No text makes it fail."""
    event = _object(body)
    if isinstance(event, NotForUs):
        return event
    if event.get("source") != _SOURCE:
        return NotForUs("an event of another source")
    kind, detail = event.get("detail-type"), event.get("detail")
    if not isinstance(kind, str) or not isinstance(detail, dict):
        return NotForUs("an event without detail")
    datastore_id = _id(detail, "datastoreId")
    if kind in _IMAGE_SET_EVENTS:
        image_set_id = _id(detail, "imageSetId") or _id(detail, "imagesetId")
        if datastore_id and image_set_id:
            return ImageSetHint(datastore_id, image_set_id, deleted=kind == _DELETED)
        return NotForUs("an event that names no image set")
    if kind in _IMPORT_EVENTS:
        return DatastoreHint(datastore_id) if datastore_id else NotForUs("an event that names no data store")
    return NotForUs("an event of another kind")


def _object(body: str) -> dict[str, Any] | NotForUs:
    if len(body) > _MOST_CHARACTERS:
        return NotForUs("too long for an event")
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return NotForUs("no JSON")
    return event if isinstance(event, dict) else NotForUs("no JSON object")


def _id(detail: dict[str, Any], name: str) -> str | None:
    value = detail.get(name)
    return value if isinstance(value, str) and _ID.fullmatch(value) else None
