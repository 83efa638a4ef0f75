"""Store requests at the routes: what is refused before the body is read, what is answered, and who may store.

A forwarder of the test stands for the process behind. `tests/service/test_store.py` has the real one.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import EnvironBuilder, FlaskClient
from werkzeug.test import TestResponse

from ahi.workers.pool import FetcherPool
from app.ae_titles import parse_ae_titles
from app.audit.event import Event, EventKind
from app.audit.queue import AuditQueue
from app.auth.bearer import new_token
from app.auth.links import Link, Links
from app.factory import create_app
from app.services import Monitoring, Services
from app.setting_parsers import ANSWER_SPOOLED
from app.settings import Settings, SettingsError
from dicomweb.errors import UpstreamBusy
from store.forward.waiting import Cancelled, WaitingPage
from store.outcome import FailureReason, Outcome, WarningReason
from store.spool.spool import Entry, Spool
from tests.servers import OpenDatabase
from tests.store.dicom_files import (
    BOUNDARY,
    SECONDARY_CAPTURE,
    SERIES,
    STUDY,
    content_type,
    data_set,
    encoded,
    file,
    multipart,
)

ROOT = "http://localhost/aetitle"
DATASTORE = "a" * 32
SECRET = "s" * 32
ONE, TWO = "1.2.3.100.1.1", "1.2.3.100.1.2"


class Recorded:
    """A forwarder that stores what it is given, unless an outcome is set for an instance."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.stored: list[tuple[str, bytes]] = []
        self.notified: list[Entry] = []
        self.special: dict[str, dict[str, Any]] = {}
        self.away = False

    def store(self, entry: Entry) -> Sequence[Outcome]:
        if self.away:
            raise UpstreamBusy("AHI does not answer", 7)
        self.entries.append(entry)
        with entry.open_body() as body:
            for instance in entry.manifest.instances:
                body.seek(instance.start)
                self.stored.append((instance.sop_instance_uid, body.read(instance.length_bytes)))
        return [Outcome.of(one, **self.special.get(one.sop_instance_uid, {})) for one in entry.manifest.instances]

    def notify(self, entry: Entry) -> None:
        self.notified.append(entry)

    def waiting(self, first: int, most: int, ae_titles: frozenset[str] | None = None) -> WaitingPage:
        raise NotImplementedError

    def cancel(self, name: str) -> Cancelled:
        raise NotImplementedError


class Unread(BytesIO):
    """A body that must not be read."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise AssertionError("the body is read")


@pytest.fixture
def forwarder() -> Recorded:
    return Recorded()


@pytest.fixture
def events() -> list[Event]:
    return []


Maker = Callable[..., Flask]


@pytest.fixture
def app_with(tmp_path: Path, open_database: OpenDatabase, forwarder: Recorded, events: list[Event]) -> Iterator[Maker]:
    queues = []

    def make(**settings: Any) -> Flask:
        own = Settings(
            cache_root=tmp_path,
            **{"store": True, "store_datastore_id": DATASTORE, "spool_root": tmp_path / "spool", **settings},
        )
        Spool(own.spool_root).open()
        queues.append(AuditQueue(events.append, refuse=True))
        monitoring = Monitoring(audit_queue=queues[-1])
        return create_app(
            Services.of(own, open_database("sqlite://"), FetcherPool([]), monitoring, forwarder=forwarder)
        )

    yield make
    for queue in queues:
        queue.close(1)


@pytest.fixture
def client(app_with: Maker) -> FlaskClient:
    return app_with().test_client()


def post(client: FlaskClient, files: Sequence[bytes], path: str = "/aetitle/studies", **headers: str) -> TestResponse:
    return client.post(path, data=multipart(files), headers={"Content-Type": content_type(), **headers})


def post_head(client: FlaskClient, headers: dict[str, str]) -> Response:
    """The answer to a request whose body is still to come."""
    environ = EnvironBuilder(client.application, "/aetitle/studies", method="POST", headers=headers).get_environ()
    environ["wsgi.input"] = Unread()
    environ.pop("CONTENT_LENGTH", None)
    if "Content-Length" in headers:
        environ["CONTENT_LENGTH"] = headers["Content-Length"]
    body, status, answered = client.run_wsgi_app(environ, buffered=True)
    return Response(body, status, answered)


def sequence(answer: TestResponse, tag: str) -> list[dict[str, Any]]:
    """The items of a sequence of the answer, each by tag with its first value."""
    items = answer.get_json(force=True).get(tag, {}).get("Value", [])
    return [{tag: element["Value"][0] for tag, element in item.items()} for item in items]


def left(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "spool" / "incoming").iterdir()]


def test_what_is_stored_is_referenced(client: FlaskClient, forwarder: Recorded, tmp_path: Path) -> None:
    files = [file(ONE), file(TWO)]
    answer = post(client, files)
    assert (answer.status_code, answer.content_type) == (200, "application/dicom+json")
    assert forwarder.stored == [(ONE, files[0]), (TWO, files[1])]
    study = f"{ROOT}/studies/{STUDY}"
    assert answer.get_json(force=True)["00081190"] == {"vr": "UR", "Value": [study]}
    assert sequence(answer, "00081199") == [
        {
            "00081150": SECONDARY_CAPTURE,
            "00081155": uid,
            "00081190": f"{study}/series/{SERIES}/instances/{uid}",
        }
        for uid in (ONE, TWO)
    ]
    assert "00081198" not in answer.get_json(force=True) and "Warning" not in answer.headers
    (entry,) = forwarder.entries
    assert (entry.manifest.sender.datastore_id, entry.manifest.sender.ae_title) == (DATASTORE, "aetitle")
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "path", ["/aetitle/studies", "/aetitle/studies/", f"/aetitle/studies/{STUDY}", "/aetitle//studies"]
)
def test_the_resources(client: FlaskClient, path: str) -> None:
    assert post(client, [file()], path).status_code == 200


def test_a_single_file_is_a_body(client: FlaskClient, forwarder: Recorded) -> None:
    content = file(ONE)
    answer = client.post("/aetitle/studies", data=content, content_type="application/dicom; transfer-syntax=1.2")
    assert answer.status_code == 200
    assert forwarder.stored == [(ONE, content)]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "application/dicom+json"),
        ("application/dicom+xml", "application/dicom+xml"),
        ('multipart/related; type="application/dicom+xml"', "application/dicom+xml"),
        ("application/json", "application/json"),
        ("text/plain", "application/dicom+json"),
    ],
)
def test_media_types_of_answers(client: FlaskClient, accept: str, content_type: str) -> None:
    answer = post(client, [file(ONE), b"not DICOM"], Accept=accept)
    assert (answer.status_code, answer.content_type) == (202, content_type)
    assert ONE in answer.text and (answer.text.startswith("<?xml") == ("xml" in content_type))
    assert "Accept" in answer.headers["Vary"]


CANNOT_UNDERSTAND, OTHER_STUDY = FailureReason.CANNOT_UNDERSTAND, FailureReason.DOES_NOT_MATCH
REFUSED = [
    pytest.param(lambda: b"not DICOM", "", CANNOT_UNDERSTAND, "not a DICOM file", id="not DICOM"),
    pytest.param(lambda: b"", "", CANNOT_UNDERSTAND, "not a DICOM file", id="empty"),
    pytest.param(lambda: file(ONE)[:-20], ONE, CANNOT_UNDERSTAND, "breaks off", id="truncated in its pixels"),
    pytest.param(
        lambda: file(ONE)[: file(ONE).index(b"\x08\0\x18\0") + 9],
        "",
        CANNOT_UNDERSTAND,
        "breaks off",
        id="truncated in its head",
    ),
    pytest.param(lambda: file(ONE, study="1.9.9"), ONE, OTHER_STUDY, "another study", id="of another study"),
    pytest.param(
        lambda: file(ONE, SeriesInstanceUID=None), ONE, CANNOT_UNDERSTAND, "no SeriesInstanceUID", id="no UID"
    ),
    pytest.param(
        lambda: file(ONE, SeriesInstanceUID=""), ONE, CANNOT_UNDERSTAND, "no SeriesInstanceUID", id="empty UID"
    ),
    pytest.param(
        lambda: encoded(data_set(ONE, SOPInstanceUID=None)),
        "",
        CANNOT_UNDERSTAND,
        "no SOPInstanceUID",
        id="no instance",
    ),
]


@pytest.mark.parametrize(("make", "uid", "reason", "detail"), REFUSED)
def test_what_may_not_be_stored_has_its_reason(
    client: FlaskClient, forwarder: Recorded, make: Callable[[], bytes], uid: str, reason: int, detail: str
) -> None:
    alone = post(client, [make()], f"/aetitle/studies/{STUDY}")
    assert alone.status_code == 409 and forwarder.stored == []
    beside = post(client, [file(TWO), make()], f"/aetitle/studies/{STUDY}")
    assert beside.status_code == 202
    assert [item["00081155"] for item in sequence(beside, "00081199")] == [TWO]
    for answer in (alone, beside):
        expected = {"00081150": SECONDARY_CAPTURE, "00081155": uid, "00081197": int(reason)}
        assert sequence(answer, "00081198") == ([expected] if uid else [])
        assert sequence(answer, "0008119A") == ([] if uid else [{"00081197": int(reason)}])
        assert detail in answer.headers["Warning"] and answer.headers["Warning"].startswith("299 ")


def test_ill_formed_uids_are_stored_as_they_are_imported(client: FlaskClient) -> None:
    content = file(ONE).replace(b"1.2.3.100\0", b"A study   ").replace(ONE.encode() + b"\0", b"hash-0 of wrds")
    answer = post(client, [content])
    assert answer.status_code == 200
    (item,) = sequence(answer, "00081199")
    assert item["00081155"] == "hash-0 of wrds"
    assert item["00081190"] == f"{ROOT}/studies/A%20study/series/{SERIES}/instances/hash-0%20of%20wrds"


def test_the_same_instance_twice_is_stored_once_and_answered_twice(client: FlaskClient, forwarder: Recorded) -> None:
    answer = post(client, [file(ONE), file(TWO), file(ONE)])
    assert answer.status_code == 200
    assert [uid for uid, _ in forwarder.stored] == [ONE, TWO]
    assert [item["00081155"] for item in sequence(answer, "00081199")] == [ONE, TWO, ONE]


def test_the_same_instance_with_other_content_is_refused(client: FlaskClient, forwarder: Recorded) -> None:
    answer = post(client, [file(ONE), file(ONE, PatientID="P2")])
    assert answer.status_code == 202
    assert [uid for uid, _ in forwarder.stored] == [ONE]
    (failed,) = sequence(answer, "00081198")
    assert failed["00081197"] == FailureReason.DUPLICATE_INSTANCE


def test_a_dicomdir_is_no_instance(client: FlaskClient) -> None:
    content = file(ONE).replace(b"1.2.840.10008.5.1.4.1.1.7\0", b"1.2.840.10008.1.3.10".ljust(26, b"\0"))
    answer = post(client, [content])
    assert answer.status_code == 409 and "DICOMDIR" in answer.headers["Warning"]


def test_outcomes_of_the_data_store_are_passed_on(client: FlaskClient, forwarder: Recorded) -> None:
    forwarder.special = {
        ONE: {"failure": 0xC122, "detail": "its transfer syntax is not supported"},
        TWO: {"warning": WarningReason.COERCED, "detail": "filed as another version"},
    }
    answer = post(client, [file(ONE), file(TWO)])
    assert answer.status_code == 202
    assert [item["00081197"] for item in sequence(answer, "00081198")] == [0xC122]
    assert [item["00081196"] for item in sequence(answer, "00081199")] == [0xB000]
    assert sorted(answer.headers.getlist("Warning")) == [
        '299 AHI-DICOMweb-Proxy "1 instance not stored, reason C122H: its transfer syntax is not supported"',
        '299 AHI-DICOMweb-Proxy "1 instance stored, reason B000H: filed as another version"',
    ]


def test_nothing_stored_yet_is_asked_again(client: FlaskClient, forwarder: Recorded, tmp_path: Path) -> None:
    forwarder.special = {ONE: {"failure": 0xA700, "again": True, "detail": "throttled"}}
    answer = post(client, [file(ONE)])
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
    forwarder.special, forwarder.away = {}, True
    answer = post(client, [file(ONE)])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert left(tmp_path) == []


def test_spooled_is_accepted_and_not_stored(app_with: Maker, forwarder: Recorded) -> None:
    answer = post(app_with(store_answer=ANSWER_SPOOLED).test_client(), [file(ONE)])
    assert answer.status_code == 202 and "not stored yet" in answer.headers["Warning"]
    assert [item["00081155"] for item in sequence(answer, "00081199")] == [ONE]
    assert [len(entry.manifest.instances) for entry in forwarder.notified] == [1] and forwarder.entries == []


HEADS: list[Any] = [
    pytest.param({"Content-Type": "text/plain"}, 415, id="another type"),
    pytest.param({"Content-Type": ""}, 415, id="no type"),
    pytest.param({"Content-Type": "multipart/form-data; boundary=x"}, 415, id="a form"),
    pytest.param({"Content-Type": 'multipart/related; type="image/png"; boundary=x'}, 415, id="parts of another type"),
    pytest.param({"Content-Encoding": "gzip"}, 415, id="compressed"),
    pytest.param({"Content-Type": "multipart/related; type=application/dicom"}, 400, id="no boundary"),
    pytest.param({"Content-Length": str(2**32 + 1)}, 413, id="too long"),
    pytest.param({"Content-Length": "0"}, 400, id="empty"),
    pytest.param({"Content-Length": None}, 411, id="without a length"),
]


@pytest.mark.parametrize(("head", "status"), HEADS)
def test_heads_are_refused_before_the_body_is_read(client: FlaskClient, head: dict[str, Any], status: int) -> None:
    headers = {"Content-Type": content_type(), "Content-Length": "100", **head}
    given = {name: value for name, value in headers.items() if value is not None}
    answer = post_head(client, given)
    assert answer.status_code == status, answer.data
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    "body", [multipart([file(ONE)])[:-4], b"nothing", multipart([file(ONE)]).replace(BOUNDARY.encode(), b"other")]
)
def test_a_malformed_body_stores_nothing(client: FlaskClient, forwarder: Recorded, tmp_path: Path, body: bytes) -> None:
    answer = client.post("/aetitle/studies", data=body, content_type=content_type())
    assert answer.status_code == 400 and forwarder.stored == [] and left(tmp_path) == []


def test_a_chunked_body_may_be_empty_or_too_long(app_with: Maker, tmp_path: Path) -> None:
    client = app_with(store_max_bytes=2**20).test_client()
    headers = {"Content-Type": content_type(), "Transfer-Encoding": "chunked"}
    for body, status in ((b"", 400), (bytes(2**20 + 1), 413), (multipart([file()]), 200)):
        answer = client.post("/aetitle/studies", input_stream=BytesIO(body), headers=headers)
        assert answer.status_code == status
    assert left(tmp_path) == []


def test_a_disk_without_room_is_503(app_with: Maker) -> None:
    client = app_with(spool_min_free_bytes=2**60).test_client()
    headers = {"Content-Type": content_type(), "Content-Length": "100"}
    answer = post_head(client, headers)
    assert answer.status_code == 503 and "Retry-After" in answer.headers


def test_a_malformed_study_is_refused(client: FlaskClient) -> None:
    assert post(client, [file()], "/aetitle/studies/%5C").status_code == 400


def test_nothing_is_stored_without_the_setting(tmp_path: Path, open_database: OpenDatabase) -> None:
    app = create_app(Services.of(Settings(cache_root=tmp_path), open_database("sqlite://"), FetcherPool([])))
    answer = post(app.test_client(), [file()])
    assert answer.status_code == 405 and "POST" not in answer.headers["Allow"]


def test_a_share_link_never_stores(app_with: Maker) -> None:
    client = app_with(link_secret=SECRET).test_client()
    token = Links(SECRET).token(Link(STUDY, 2**40))
    assert post(client, [file()], f"/link/{token}/studies").status_code == 403


RIGHTS: list[Any] = [
    (None, 200, 403),
    ([{"name": "a"}], 200, 403),
    ([{"name": "a", "rights": ["read"]}], 200, 403),
    ([{"name": "a", "rights": ["store"]}], 403, 200),
    ([{"name": "a", "rights": ["read", "store"]}], 200, 200),
    ([{"name": "a", "rights": ["delete"]}], 403, 403),
    ([{"name": "b", "rights": ["store"]}], 403, 403),
    ([{"name": "a", "rights": ["store"], "ae_titles": ["other"]}], 403, 403),
    ([{"name": "a", "rights": ["read", "store"], "datastores": [DATASTORE]}], 200, 200),
    ([{"name": "a", "rights": ["read", "store"], "datastores": ["b" * 32]}], 200, 403),
]


@pytest.mark.parametrize(("rules", "reading", "storing"), RIGHTS)
def test_rules_say_who_may_store(app_with: Maker, tmp_path: Path, rules: Any, reading: int, storing: int) -> None:
    token, line = new_token("a")
    (tmp_path / "tokens").write_text(line)
    settings: dict[str, Any] = {"auth": ("bearer",), "auth_tokens_file": tmp_path / "tokens"}
    if rules is not None:
        (tmp_path / "rules").write_text(json.dumps(rules))
        settings["access_rules"] = tmp_path / "rules"
    client = app_with(**settings).test_client()
    login = {"Authorization": f"Bearer {token}"}
    assert post(client, [file()], **login).status_code == storing
    assert client.get("/aetitle/", headers=login).status_code == reading
    refused = post_head(client, {"Content-Length": "9"})
    assert refused.status_code == 401


@pytest.mark.parametrize("rights", ["store", [], ["write"], [["read"]], {"read": True}])
def test_other_words_stop_the_start(app_with: Maker, tmp_path: Path, rights: Any) -> None:
    (tmp_path / "tokens").write_text(new_token("a")[1])
    (tmp_path / "rules").write_text(json.dumps([{"name": "a", "rights": rights}]))
    with pytest.raises(SettingsError, match="rule 1: rights is a list"):
        app_with(auth=("bearer",), auth_tokens_file=tmp_path / "tokens", access_rules=tmp_path / "rules")


AE_TITLES: list[Any] = [
    ({}, DATASTORE),
    ({"datastores": [DATASTORE, "b" * 32]}, DATASTORE),
    ({"datastores": ["b" * 32]}, "b" * 32),
    ({"store": "c" * 32}, "c" * 32),
    ({"datastores": ["b" * 32, "c" * 32], "store": "c" * 32}, "c" * 32),
    ({"datastores": ["b" * 32, "c" * 32]}, None),
]


@pytest.mark.parametrize(("members", "target"), AE_TITLES)
def test_ae_titles_have_a_data_store(app_with: Maker, forwarder: Recorded, members: Any, target: str | None) -> None:
    client = app_with(ae_titles=parse_ae_titles(json.dumps({"ward": members}))).test_client()
    answer = post(client, [file()], "/ward/studies")
    assert answer.status_code == (200 if target else 403)
    assert [entry.manifest.sender.datastore_id for entry in forwarder.entries] == ([target] if target else [])


@pytest.mark.parametrize(
    "text",
    [
        '{"x": {"store": "b"}}',
        '{"x": {"store": 1}}',
        f'{{"x": {{"datastores": ["{"a" * 32}"], "store": "{"b" * 32}"}}}}',
    ],
)
def test_a_data_store_that_cannot_be_stops_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="store"):
        parse_ae_titles(text)


LOOPBACK = {
    "HOST": "127.0.0.1",
    "STORE": "true",
    "STORE_DATASTORE_ID": DATASTORE,
    "DATABASE_URL": "sqlite://",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({}, ""),
        ({"STORE_DATASTORE_ID": ""}, "names a data store"),
        ({"STORE_DATASTORE_ID": "", "AE_TITLES": f'{{"x": {{"store": "{DATASTORE}"}}}}'}, ""),
        ({"STORE_DATASTORE_ID": "A" * 32}, "is not the ID of a data store"),
        ({"HOST": "192.0.2.1"}, "without a login"),
        ({"TRUSTED_PROXY": "127.0.0.1"}, "without a login"),
        ({"PUBLIC_URL": "https://dicom.example.org"}, "without a login"),
        ({"PUBLIC_URL": "http://localhost:8080"}, ""),
        ({"HOST": "192.0.2.1", "AUTH": "bearer", "AUTH_TOKENS_FILE": "/tokens"}, ""),
    ],
)
def test_settings_that_would_let_others_store(environment: dict[str, str], problem: str) -> None:
    if not problem:
        assert Settings.from_env({**LOOPBACK, **environment}).store
        return
    with pytest.raises(SettingsError, match=problem):
        Settings.from_env({**LOOPBACK, **environment})


def test_pages_may_post(app_with: Maker) -> None:
    client = app_with(cors_origins=("https://viewer.example.org",)).test_client()
    asked = {
        "Origin": "https://viewer.example.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = client.options("/aetitle/studies", headers=asked)
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "content-type"
    refused = client.post("/aetitle/studies", data=b"x", content_type="text/plain", headers={"Origin": asked["Origin"]})
    assert refused.headers["Access-Control-Allow-Origin"] == asked["Origin"]


def test_every_instance_is_audited(client: FlaskClient, events: list[Event]) -> None:
    post(client, [file(ONE), file(TWO, study="1.9.9"), b"not DICOM", file("1.2.3.100.1.3")])
    assert {(one.study_instance_uid, one.reason, one.stored) for one in events} == {
        (STUDY, 0, ((SECONDARY_CAPTURE, ONE), (SECONDARY_CAPTURE, "1.2.3.100.1.3"))),
        ("1.9.9", 0, ((SECONDARY_CAPTURE, TWO),)),
        ("", FailureReason.CANNOT_UNDERSTAND, (("", ""),)),
    }
    assert all(one.kind is EventKind.STORE and one.status == 202 for one in events)
    assert {one.outcome for one in events if one.reason} == {4}


def test_a_refused_request_is_audited(client: FlaskClient, events: list[Event]) -> None:
    client.post("/aetitle/studies", data=b"x", content_type="text/plain")
    (event,) = events
    assert (event.kind, event.status, event.stored, event.outcome) == (EventKind.STORE, 415, (), 4)


def test_many_instances_are_audited_in_several_messages(client: FlaskClient, events: list[Event]) -> None:
    post(client, [file(f"1.2.3.{number}", size=2) for number in range(450)])
    assert sorted(len(one.stored) for one in events) == [50, 200, 200]


def test_capabilities_say_what_is_taken(client: FlaskClient) -> None:
    described = client.options("/aetitle/studies", headers={"Accept": "application/json"})
    resources = {one["path"]: one for one in described.get_json()["resources"]}
    for path in ("/studies", "/studies/{study}"):
        assert "POST" in resources[path]["methods"]
        assert resources[path]["bodies"][:2] == ['multipart/related; type="application/dicom"', "application/dicom"]
        assert "application/dicom+xml" in resources[path]["receipts"]
    assert "bodies" not in resources["/studies/{study}/series"]
    assert b'<representation mediaType="application/dicom"/>' in client.options("/aetitle/studies").data
