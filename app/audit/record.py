"""An audit message that a file has, read back as the few values that people search for. Runs in the web processes."""

import binascii
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from xml.etree.ElementTree import Element, ParseError, fromstring

from app.audit.event import EventKind

BEGIN = b'<?xml version="1.0" encoding="UTF-8"?><AuditMessage>'
"""The beginning of each line that this service writes. Nothing that is declared before the root element follows it."""

_KINDS: Mapping[tuple[str, str, str], EventKind] = {
    (kind.value.event.value, kind.value.type.value if kind.value.type else "", kind.value.action): kind
    for kind in EventKind
}


@dataclass(frozen=True)
class Record:
    """One message; "" for what it does not say. `kind` is None for one that this release does not write.

    `outcome` is EventOutcomeIndicator: 0, 4, 8 or 12. `resource` is the route. `subject` is what was changed, or
    searched for in the trail. `hidden` tells that it is about a study which the reader may not see.
    """

    at: datetime
    kind: EventKind | None
    outcome: int
    described: str
    user: str = ""
    client: str = ""
    ae_title: str = ""
    resource: str = ""
    query: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    patient_id: str = ""
    subject: str = ""
    request_id: str = ""
    instances: int = 0
    hidden: bool = False

    @classmethod
    def from_line(cls, line: bytes) -> "Record | None":
        """The message of a line; None if it is none of this service, or is cut off."""
        if not line.startswith(BEGIN):
            return None
        try:
            return _record(fromstring(line))  # noqa: S314 - nothing can be declared after this beginning
        except (ParseError, ValueError, KeyError, AttributeError):
            return None

    @property
    def names_patient(self) -> bool:
        """Whether it says something of a patient, or may: a query may have a name."""
        return bool(self.study_instance_uid or self.patient_id or self.query or self.subject)

    def without_patient(self) -> "Record":
        """The message for a reader who may not see the study."""
        return replace(
            self, query="", study_instance_uid="", series_instance_uid="", patient_id="", subject="", hidden=True
        )


def _record(root: Element) -> Record:
    """The message; ValueError, KeyError or AttributeError if a part that all have is missing."""
    event = _only(root, "EventIdentification")
    code, type_code = _only(event, "EventID").get("csd-code", ""), event.find("EventTypeCode")
    kind = (code, "" if type_code is None else type_code.get("csd-code", ""), event.get("EventActionCode", ""))
    at = datetime.fromisoformat(event.attrib["EventDateTime"].replace("Z", "+00:00"))
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return Record(
        at,
        _KINDS.get(kind),
        int(event.attrib["EventOutcomeIndicator"]),
        event.findtext("EventOutcomeDescription", ""),
        **_participants(root),
        **_objects(root),
    )


def _participants(root: Element) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in root.iterfind("ActiveParticipant"):
        if one.get("UserIsRequestor") == "true":
            found |= {"user": one.get("UserID", ""), "client": one.get("NetworkAccessPointID", "")}
        else:
            found["ae_title"] = one.get("AlternativeUserID", "").removeprefix("AETITLES=")
    return found


def _objects(root: Element) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in root.iterfind("ParticipantObjectIdentification"):
        identifier, details = one.get("ParticipantObjectID", ""), dict(_details(one))
        name = one.findtext("ParticipantObjectName", "")
        match _only(one, "ParticipantObjectIDTypeCode").get("csd-code"):
            case "110180":
                numbers = (int(kind.get("NumberOfInstances", "0")) for kind in one.iter("SOPClass"))
                found |= {"study_instance_uid": identifier, "resource": name, "instances": sum(numbers)}
                found["series_instance_uid"] = details.get("SeriesInstanceUID", "")
            case "110181":
                found["query"] = _decoded(one.findtext("ParticipantObjectQuery", ""))
            case "12":
                found["resource"] = identifier
                found["subject"] = details.get("Alert Description", "") or details.get("Search", "")
            case "2":
                found["patient_id"] = identifier
        found["request_id"] = details.get("RequestID", "") or found.get("request_id", "")
    return found


def _details(participant: Element) -> Iterator[tuple[str, str]]:
    for one in participant.iterfind("ParticipantObjectDetail"):
        yield one.get("type", ""), _decoded(one.get("value", ""))


def _decoded(text: str) -> str:
    try:
        return b64decode(text).decode("utf-8", "replace")
    except binascii.Error:
        return ""


def _only(parent: Element, name: str) -> Element:
    """The child of a name; ValueError without one."""
    found = parent.find(name)
    if found is None:
        raise ValueError(f"no {name}")
    return found
