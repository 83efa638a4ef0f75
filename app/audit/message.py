"""Audit messages: an event as one line of XML (schema of PS3.15 Section A.5.1.1), or as JSON with the same content."""

import json
import os
import re
from base64 import b64encode
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from app.audit.event import Code, Event, EventKind, dcm

_APPLICATION_SERVER = "4"
_ADDRESS = "2"  # NetworkAccessPointTypeCode
_PERSON, _SYSTEM_OBJECT = "1", "2"  # ParticipantObjectTypeCode
_PATIENT, _REPORT = "1", "3"  # ParticipantObjectTypeCodeRole
_STUDY_UID, _SOP_CLASS_UID = dcm("110180", "Study Instance UID"), dcm("110181", "SOP Class UID")
_PATIENT_NUMBER = Code("2", "RFC-3881", "Patient Number")
_PATIENT_ROOT, _STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.2.1"
_URI = Code("12", "RFC-3881", "URI")
_SECURITY_RESOURCE = "13"  # ParticipantObjectTypeCodeRole
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


_ABOUT_SECURITY = (EventKind.CHANGE, EventKind.TRAIL, EventKind.OPERATION)


@dataclass(frozen=True)
class Source:
    """The audit source, with its AuditSourceID, which is usually a host name."""

    name: str

    def xml(self, event: Event, patient_id: str | None) -> bytes:
        """The message as XML. `patient_id` is that of the study, None if it is unknown."""
        root = Element("AuditMessage")
        _identify(root, event)
        _participate(root, event)
        source = SubElement(root, "AuditSourceIdentification", AuditSourceID=_text(self.name))
        SubElement(source, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})
        if event.kind is EventKind.QUERY:
            _query(root, event)
        elif event.kind in _ABOUT_SECURITY:
            _security(root, event)
        elif event.study_instance_uid or event.stored:
            _study(root, event)
        if patient_id:
            _object(root, patient_id, _PATIENT_NUMBER, _PERSON, _PATIENT)
        return b'<?xml version="1.0" encoding="UTF-8"?>' + tostring(root).replace(b"\n", b" ")

    def json(self, event: Event, patient_id: str | None) -> bytes:
        """The message as a JSON object without empty members."""
        kind = event.kind.value
        members = {
            "audit": kind.event.meaning,
            "type": kind.type.meaning if kind.type else "",
            "time": _time(event),
            "outcome": event.outcome,
            "status": event.status,
            "user": event.user,
            "from": event.client,
            "source": self.name,
            "aetitle": event.ae_title,
            "resource": event.resource,
            "query": event.query,
            "study": event.study_instance_uid,
            "series": event.series_instance_uid,
            "instance": event.sop_instance_uid,
            "sopClasses": dict(event.sop_classes),
            "instances": [uid for _, uid in event.stored],
            "subject": event.subject,
            "reason": f"{event.reason:04X}H" if event.reason else "",
            "frames": event.frames,
            "patient": patient_id,
            "request": event.request_id,
        }
        return json.dumps({name: value for name, value in members.items() if value not in ("", None, {}, [])}).encode()


def _identify(root: Element, event: Event) -> None:
    kind = event.kind.value
    attributes = {
        "EventActionCode": kind.action,
        "EventDateTime": _time(event),
        "EventOutcomeIndicator": str(event.outcome),
    }
    identification = SubElement(root, "EventIdentification", attributes)
    _coded(identification, "EventID", kind.event)
    if kind.type:
        _coded(identification, "EventTypeCode", kind.type)
    ending = "cut off" if event.cut else f"not stored, reason {event.reason:04X}H" if event.reason else ""
    if described := ", ".join(filter(None, (f"HTTP {event.status}" if event.status else "", ending))):
        SubElement(identification, "EventOutcomeDescription").text = described


def _participate(root: Element, event: Event) -> None:
    kind = event.kind.value
    if event.status:
        attributes = {"UserID": _text(event.user), "UserIsRequestor": "true"}
        if event.client:
            attributes |= {"NetworkAccessPointID": _text(event.client), "NetworkAccessPointTypeCode": _ADDRESS}
        client = SubElement(root, "ActiveParticipant", attributes)
        if kind.client:
            _coded(client, "RoleIDCode", kind.client)
    attributes = {"UserID": str(os.getpid()), "UserIsRequestor": "false"}
    if event.ae_title:
        attributes["AlternativeUserID"] = f"AETITLES={event.ae_title}"
    service = SubElement(root, "ActiveParticipant", attributes)
    if kind.service:
        _coded(service, "RoleIDCode", kind.service)


def _query(root: Element, event: Event) -> None:
    """Add the query (Section A.5.3.10): path and query of the URL; the models are those of PS3.4 Annex C."""
    model = _PATIENT_ROOT if event.resource.startswith("/patients") else _STUDY_ROOT
    query = _object(root, model, _SOP_CLASS_UID, _SYSTEM_OBJECT, _REPORT, query=event.query)
    _detail(query, "RequestID", event.request_id)


def _security(root: Element, event: Event) -> None:
    """Add the audit trail that was read (Section A.5.3.4), or what was changed (Section A.5.3.11)."""
    if event.kind is EventKind.TRAIL:
        name, detail = "Security Audit Log", "Search"
    else:
        name, detail = event.resource, "Alert Description"
    changed = _object(root, event.resource, _URI, _SYSTEM_OBJECT, _SECURITY_RESOURCE, name=name)
    _detail(changed, detail, event.subject)
    _detail(changed, "RequestID", event.request_id)


def _study(root: Element, event: Event) -> None:
    study = _object(root, event.study_instance_uid, _STUDY_UID, _SYSTEM_OBJECT, _REPORT, name=event.resource)
    _detail(study, "SeriesInstanceUID", event.series_instance_uid)
    _detail(study, "Frames", event.frames)
    _detail(study, "RequestID", event.request_id)
    if event.stored:
        _instances(SubElement(study, "ParticipantObjectDescription"), event)
    elif event.sop_classes or event.sop_instance_uid:
        description = SubElement(study, "ParticipantObjectDescription")
        for uid, number in event.sop_classes or (("", 1),):
            uid_attribute = {"UID": uid} if uid else {}
            sop_class = SubElement(description, "SOPClass", {**uid_attribute, "NumberOfInstances": str(number)})
            if event.sop_instance_uid:
                SubElement(sop_class, "Instance", UID=event.sop_instance_uid)


def _instances(description: Element, event: Event) -> None:
    """Add the instances that were sent, by SOP class."""
    for sop_class in sorted({sop_class for sop_class, _ in event.stored}):
        uids = [uid for own_class, uid in event.stored if own_class == sop_class]
        attributes = {**({"UID": _text(sop_class)} if sop_class else {}), "NumberOfInstances": str(len(uids))}
        group = SubElement(description, "SOPClass", attributes)
        for uid in filter(None, uids):
            SubElement(group, "Instance", UID=_text(uid))


def _object(
    root: Element, identifier: str, id_type: Code, object_type: str, role: str, *, name: str = "", query: str = ""
) -> Element:
    """Add a participant object. The schema requires a name or a query; the name may be empty."""
    attributes = {
        "ParticipantObjectID": _text(identifier),
        "ParticipantObjectTypeCode": object_type,
        "ParticipantObjectTypeCodeRole": role,
    }
    participant = SubElement(root, "ParticipantObjectIdentification", attributes)
    _coded(participant, "ParticipantObjectIDTypeCode", id_type)
    if query:
        SubElement(participant, "ParticipantObjectQuery").text = _base64(query)
    else:
        SubElement(participant, "ParticipantObjectName").text = name
    return participant


def _detail(parent: Element, name: str, value: str) -> None:
    if value:
        SubElement(parent, "ParticipantObjectDetail", type=name, value=_base64(value))


def _coded(parent: Element, name: str, code: Code) -> None:
    SubElement(parent, name, {"csd-code": code.value, "codeSystemName": code.system, "originalText": code.meaning})


def _base64(text: str) -> str:
    return b64encode(text.encode("utf-8", "replace")).decode()


def _text(text: str) -> str:
    """The text, with replacements for characters that XML does not allow."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _time(event: Event) -> str:
    return event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
