"""Every message is one line of XML that the schema of PS3.15 takes, whatever somebody made us say."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audit.event import Event, EventKind
from app.audit.message import Source
from tests.app.audit.messages import read

SOURCE = Source("proxy.example.org")
FULL: dict[str, Any] = {
    "status": 200,
    "user": "anna",
    "client": "192.0.2.7",
    "ae_title": "aetitle",
    "resource": "/studies/<study>/series/<series>/instances/<instance>/frames/<frame_list>",
    "study_instance_uid": "1.2",
    "series_instance_uid": "1.2.3",
    "sop_instance_uid": "1.2.3.4",
    "sop_classes": (("1.2.840.10008.5.1.4.1.1.2", 1),),
    "frames": "1,2",
    "request_id": "r-1",
}


@pytest.mark.parametrize("kind", EventKind)
def test_each_kind_of_event_is_a_valid_message(kind: EventKind) -> None:
    message = read(SOURCE.xml(Event(kind, **{**FULL, "query": "/studies?PatientID=1"}), "PID1"))
    code, event_type, *_ = kind.value
    assert (message.event, message.type) == (code.value, event_type.value if event_type else None)


def test_an_access_tells_who_what_and_whose() -> None:
    message = read(SOURCE.xml(Event(EventKind.ACCESS, **FULL), "PID1"))
    assert (message.user, message.client, message.outcome) == ("anna", "192.0.2.7", 0)
    assert message.objects == {"Study Instance UID": "1.2", "Patient Number": "PID1"}
    assert message.details == {"SeriesInstanceUID": "1.2.3", "Frames": "1,2", "RequestID": "r-1"}
    assert (message.instances, message.sop_classes) == (["1.2.3.4"], {"1.2.840.10008.5.1.4.1.1.2": 1})


def test_what_was_not_found_has_no_sop_class() -> None:
    message = read(SOURCE.xml(Event(EventKind.ACCESS, **{**FULL, "status": 404, "sop_classes": ()}), None))
    assert (message.instances, message.sop_classes) == (["1.2.3.4"], {None: 1})


@pytest.mark.parametrize(
    ("resource", "model"),
    [("/studies", "1.2.840.10008.5.1.4.1.2.2.1"), ("/patients/count", "1.2.840.10008.5.1.4.1.2.1.1")],
)
def test_a_query_is_in_the_message_as_it_was_asked(resource: str, model: str) -> None:
    asked = f"{resource}?PatientName=M%C3%BCller*"
    message = read(SOURCE.xml(Event(EventKind.QUERY, 200, resource=resource, query=asked), None))
    assert (message.objects, message.query) == ({"SOP Class UID": model}, asked)


@pytest.mark.parametrize(
    ("status", "cut", "outcome"),
    [
        (0, False, 0),
        (200, False, 0),
        (206, False, 0),
        (304, False, 0),
        (404, False, 4),
        (503, False, 8),
        (200, True, 8),
    ],
)
def test_the_outcome_follows_from_the_status(status: int, *, cut: bool, outcome: int) -> None:
    assert read(SOURCE.xml(Event(EventKind.TRANSFER, status, cut=cut), None)).outcome == outcome


@settings(max_examples=50)
@given(user=st.text(), query=st.text(), patient=st.text())
def test_no_text_breaks_the_message_or_its_line(user: str, query: str, patient: str) -> None:
    event = Event(EventKind.QUERY, 200, user=user, query=query or "?", study_instance_uid="1.2")
    for message in (SOURCE.xml(event, patient), SOURCE.xml(Event(EventKind.ACCESS, **{**FULL, "user": user}), patient)):
        assert b"\n" not in message
        read(message)
    assert b"\n" not in SOURCE.json(event, patient)


def test_json_has_the_same_content() -> None:
    told = json.loads(SOURCE.json(Event(EventKind.ACCESS, **FULL), "PID1"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told.pop("time"))
    assert told == {
        "audit": "DICOM Instances Accessed",
        "outcome": 0,
        "status": 200,
        "user": "anna",
        "from": "192.0.2.7",
        "source": "proxy.example.org",
        "aetitle": "aetitle",
        "resource": FULL["resource"],
        "study": "1.2",
        "series": "1.2.3",
        "instance": "1.2.3.4",
        "sopClasses": {"1.2.840.10008.5.1.4.1.1.2": 1},
        "frames": "1,2",
        "patient": "PID1",
        "request": "r-1",
    }
