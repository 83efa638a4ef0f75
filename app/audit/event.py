"""Audit events as values, with the codes of PS3.16 Annex D and PS3.15 Section A.5.3."""

from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import NamedTuple

UNIDENTIFIED = "unidentified"
"""The user of a request without valid credentials."""


class Code(NamedTuple):
    """A coded value: the code, its system, its meaning."""

    value: str
    system: str
    meaning: str


def dcm(value: str, meaning: str) -> Code:
    """A code that DICOM defines (PS3.16 Annex D)."""
    return Code(value, "DCM", meaning)


SOURCE, DESTINATION = dcm("110153", "Source Role ID"), dcm("110152", "Destination Role ID")
APPLICATION = dcm("110150", "Application")


class _Kind(NamedTuple):
    """The codes of one kind: EventID, EventTypeCode, EventActionCode, and the roles of client and service."""

    event: Code
    type: Code | None
    action: str
    client: Code | None = None
    service: Code | None = None


class EventKind(Enum):
    """The kinds of events; each is a message of PS3.15 Section A.5.3."""

    START = _Kind(dcm("110100", "Application Activity"), dcm("110120", "Application Start"), "E", service=APPLICATION)
    STOP = _Kind(dcm("110100", "Application Activity"), dcm("110121", "Application Stop"), "E", service=APPLICATION)
    QUERY = _Kind(dcm("110112", "Query"), None, "E", SOURCE, DESTINATION)
    ACCESS = _Kind(dcm("110103", "DICOM Instances Accessed"), None, "R")
    BEGIN = _Kind(dcm("110102", "Begin Transferring DICOM Instances"), None, "E", DESTINATION, SOURCE)
    TRANSFER = _Kind(dcm("110104", "DICOM Instances Transferred"), None, "R", DESTINATION, SOURCE)
    STORE = _Kind(dcm("110104", "DICOM Instances Transferred"), None, "C", SOURCE, DESTINATION)
    LOGIN = _Kind(dcm("110114", "User Authentication"), dcm("110122", "Login"), "E")
    LOGOUT = _Kind(dcm("110114", "User Authentication"), dcm("110123", "Logout"), "E")
    ALERT = _Kind(dcm("110113", "Security Alert"), dcm("110132", "Use of Restricted Function"), "E")
    OPERATION = _Kind(dcm("110113", "Security Alert"), Code("JOBS", "99AHIDWP", "Jobs Changed"), "E")
    CHANGE = _Kind(dcm("110113", "Security Alert"), dcm("110137", "User security Attributes Changed"), "E")
    TRAIL = _Kind(dcm("110101", "Audit Log Used"), None, "R")


def _now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Event:
    """One event. `status` is the HTTP status, 0 if there was no request.

    `resource` is the route below the service root, `query` is the path and the query of a search. UIDs are those of the
    request; a malformed UID that found nothing is left out. `sop_classes` are those of the instances that were found,
    with their numbers. `cut` tells that the answer was cut off. `stored` are the SOP classes and UIDs of instances that
    a client sent; `reason` tells why they were not stored, 0 if they were. `subject` says which user, token or link was
    changed, which jobs, or what was searched for in the audit trail.
    """

    kind: EventKind
    status: int = 0
    user: str = UNIDENTIFIED
    client: str = ""
    ae_title: str = ""
    resource: str = ""
    query: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    sop_classes: tuple[tuple[str, int], ...] = ()
    frames: str = ""
    request_id: str = ""
    cut: bool = False
    stored: tuple[tuple[str, str], ...] = ()
    reason: int = 0
    subject: str = ""
    at: datetime = field(default_factory=_now)

    @property
    def outcome(self) -> int:
        """EventOutcomeIndicator: 0 success, 4 the client's failure, 8 ours (PS3.15 Section A.5.2)."""
        if self.cut or self.status >= 500:
            return 8
        return 4 if self.status >= 400 or self.reason else 0
