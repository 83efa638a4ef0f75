"""No answer is given past the audit trail: every route of the application, those of tomorrow too."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response
from werkzeug.routing import Rule

from ahi.workers.pool import FetcherPool
from app.audit.event import UNIDENTIFIED, Event, EventKind
from app.audit.middleware import call_at_end
from app.audit.queue import AuditQueue
from app.auth.links import Link, Links
from app.factory import create_app
from app.services import Monitoring, Services
from app.settings import Settings
from tests.app.auth.users import ANNA, write_users
from tests.qido.archive import Series, Study, image, write
from tests.servers import OpenDatabase, Sqlite

WITHOUT_PATIENT_DATA = {"/", "/health", "/live", "/prefetch"}
"""What follows the service root in routes that tell nothing of patients. Think twice before a route is added here."""

OF_CONSOLE_WITHOUT_PATIENT_DATA = ("/console/static/", "/console/login", "/console/upload", "/console/status")

STUDIES = (Study("1.1", series=(Series("1.1.1", {"modality": "CT"}, (image("1.1.1.1", 1),)),)),)
SECRET = "s" * 32


class Told:
    """A trail that keeps what it is told, and refuses on demand."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.away = False

    def write(self, event: Event) -> None:
        if self.away:
            raise OSError
        self.events.append(event)


@pytest.fixture(scope="module")
def index(sqlite: Sqlite) -> str:
    url = sqlite.new_index()
    write(url, STUDIES)
    return url


@pytest.fixture
def told() -> Told:
    return Told()


Maker = Callable[..., Flask]


@pytest.fixture
def app_with(index: str, tmp_path: Path, told: Told, open_database: OpenDatabase) -> Maker:
    def make(**settings: Any) -> Flask:
        audit_queue = AuditQueue(told.write, refuse=True)
        monitoring = Monitoring(audit_queue=audit_queue)
        configured = Settings(cache_root=tmp_path, **settings)
        return create_app(Services.of(configured, open_database(index), FetcherPool([]), monitoring))

    return make


@pytest.fixture
def users(tmp_path: Path) -> Path:
    return write_users(tmp_path)


def routes(app: Flask) -> list[tuple[Rule, str]]:
    """Every route with what follows the service root in it."""
    found = [
        (rule, re.sub(r"^(/dcm4chee-arc/aets/\w+/rs|/link/<link>|/aetitle)", "", rule.rule))
        for rule in app.url_map.iter_rules()
    ]
    return [(rule, below) for rule, below in found if not below.startswith(OF_CONSOLE_WITHOUT_PATIENT_DATA)]


def path_of(rule: Rule) -> str:
    link = Links(SECRET).token(Link("1.1", 2**33))
    known = {"link": link, "study": "1.1", "series": "1.1.1", "instance": "1.1.1.1", "tag_path": "00282000"}
    return re.sub(r"<(?:path:)?(\w+)>", lambda name: known.get(name[1], "1"), rule.rule)


def test_every_route_that_may_give_patient_data_is_audited(app_with: Maker, told: Told) -> None:
    app, audited = app_with(dcm4chee_paths=True, link_secret=SECRET), 0
    for rule, below in routes(app):
        for method in sorted((rule.methods or set()) - {"OPTIONS"}):
            told.events.clear()
            answer = app.test_client().open(path_of(rule), method=method)
            expected = 1 if below not in WITHOUT_PATIENT_DATA or answer.status_code == 403 else 0
            assert len(told.events) == expected, (method, rule.rule, answer.status)
            if expected and answer.status_code != 403:
                (event,) = told.events
                assert (event.resource, event.status) == (below, answer.status_code)
                assert event.study_instance_uid == ("1.1" if "<study>" in below else "")
                audited += 1
    assert audited > 100


def test_every_route_is_closed_while_nothing_can_be_audited(app_with: Maker, told: Told) -> None:
    app = app_with()
    told.away = True
    for rule, below in routes(app):
        if below in WITHOUT_PATIENT_DATA or rule.rule.startswith("/link/"):
            continue
        method = "GET" if "GET" in (rule.methods or ()) else "POST"
        answer = app.test_client().open(path_of(rule), method=method)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5"), rule.rule
        assert "audit" in answer.get_json(force=True)["detail"]
        assert "X-Request-ID" in answer.headers
    assert app.test_client().get("/aetitle/live").status_code == 200


def test_a_search_is_told_as_it_was_asked_but_for_its_token(app_with: Maker, told: Told) -> None:
    client = app_with().test_client()
    client.get(
        "/aetitle/studies/1.1/series?PatientName=M%C3%BCller&access%5Ftoken=secret&x=y", headers={"X-Request-ID": "r"}
    )
    (event,) = told.events
    assert (event.kind, event.query) == (EventKind.QUERY, "/studies/1.1/series?PatientName=M%C3%BCller&x=y")
    assert (event.user, event.client, event.ae_title, event.request_id) == ("anonymous", "127.0.0.1", "aetitle", "r")


def test_the_token_of_a_link_is_not_told(app_with: Maker, told: Told) -> None:
    link = Links(SECRET).token(Link("1.1", 2**33))
    app_with(link_secret=SECRET).test_client().get(f"/link/{link}/studies?limit=1")
    (event,) = told.events
    assert (event.query, event.user) == ("/studies?limit=1", "link")
    assert link not in repr(event)


def test_the_client_is_the_one_that_a_trusted_proxy_names(app_with: Maker, told: Told) -> None:
    networks = Settings.from_env({"TRUSTED_PROXY": "127.0.0.1"}).trusted_proxy
    headers = {"X-Forwarded-For": "192.0.2.7"}
    app_with(trusted_proxy=networks).test_client().get("/aetitle/studies", headers=headers)
    app_with().test_client().get("/aetitle/studies", headers=headers)
    assert [event.client for event in told.events] == ["192.0.2.7", "127.0.0.1"]


def test_who_is_refused_is_told(app_with: Maker, users: Path, told: Told, tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("[]")
    app = app_with(auth=("basic",), auth_users_file=users, access_rules=tmp_path / "rules")
    app.test_client().get("/aetitle/studies")
    app.test_client().get("/aetitle/studies", headers={"Authorization": "Basic " + "eDp5"})
    app.test_client().get("/aetitle/studies/1.1", headers=ANNA)
    told_of = [(event.kind, event.status, event.outcome, event.user) for event in told.events]
    assert told_of == [
        (EventKind.LOGIN, 401, 4, UNIDENTIFIED),
        (EventKind.LOGIN, 401, 4, UNIDENTIFIED),
        (EventKind.ALERT, 403, 4, "basic:anna"),
    ]


@pytest.mark.parametrize(
    ("path", "study", "frames"),
    [
        ("/studies/DOE%5EJOHN/metadata", "", ""),
        ("/studies/1.1/series/x/instances/1/frames/1,2", "1.1", "1,2"),
        ("/studies/1.1/series/1.2/instances/1.3/frames/DOE", "1.1", ""),
        ("/wado?requestType=WADO&studyUID=1.1&seriesUID=1.2&objectUID=1.3&frameNumber=7", "1.1", "7"),
        ("/wado?requestType=WADO&studyUID=DOE%5EJOHN&patientID=MRN-12", "", ""),
    ],
)
def test_what_is_named_is_told_if_it_is_a_uid(app_with: Maker, told: Told, path: str, study: str, frames: str) -> None:
    app_with().test_client().get(f"/aetitle{path}")
    (event,) = told.events
    assert (event.kind, event.study_instance_uid, event.frames) == (EventKind.ACCESS, study, frames)
    assert "DOE" not in repr(event)
    assert "MRN" not in repr(event)  # a random request ID has hexadecimal digits only


@pytest.mark.parametrize(("taken", "cut"), [(2, False), (1, True), (0, True)])
def test_the_end_of_an_answer_is_told_and_whether_it_was_cut(taken: int, *, cut: bool) -> None:
    closed, told_of = [], list[bool]()

    def pieces() -> Iterator[bytes]:
        try:
            yield b"1"
            yield b"2"
        finally:
            closed.append(True)

    response = Response(pieces())
    call_at_end(response, told_of.append)
    iterator = response.iter_encoded()
    read = [next(iterator) for _ in range(taken)]
    if not cut:
        assert list(iterator) == []
    response.close()
    assert (read, told_of) == ([b"1", b"2"][:taken], [cut])
    assert closed == [True] * bool(taken)


def test_a_preflight_is_no_access(app_with: Maker, told: Told) -> None:
    app_with().test_client().options("/aetitle/studies", headers={"Access-Control-Request-Method": "GET"})
    app_with().test_client().options("/aetitle/studies")
    app_with().test_client().get("/aetitle/nothing")
    assert told.events == []


def test_a_change_of_access_says_what_was_changed(app_with: Maker, users: Path, told: Told, tmp_path: Path) -> None:
    (tmp_path / "rules").write_text('[{"name": "anna", "rights": ["read", "operate"]}]')
    app = app_with(auth=("basic",), auth_users_file=users, access_rules=tmp_path / "rules")
    client, headers = app.test_client(), {**ANNA, "Accept": "text/html"}
    token = re.findall(r'"X-CSRF-Token": "(\w+)"', client.get("/console/access", headers=headers).text)[0]
    told.events.clear()
    client.post("/console/access/users", data={"csrf": token, "name": "carl", "password": ""}, headers=headers)
    client.post("/console/access/remove", data={"csrf": token, "kind": "user", "key": "anna"}, headers=headers)
    client.get("/console/access/audit?user=anna&patient=P1&before=1-2", headers=headers)
    assert [(one.kind, one.status, one.subject) for one in told.events] == [
        (EventKind.CHANGE, 200, "add user basic:carl"),
        (EventKind.CHANGE, 409, "remove user basic:anna"),
        (EventKind.TRAIL, 200, "user=anna&patient=P1"),
    ]
    assert {one.user for one in told.events} == {"basic:anna"} and "carl" in users.read_text()


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_what_is_done_with_jobs_is_told_with_its_outcome(app_with: Maker, told: Told, headers: dict[str, str]) -> None:
    client = app_with().test_client()
    accepts = {"Accept": "text/html", **headers}
    token = re.findall(r'"X-CSRF-Token": "(\w+)"', client.get("/console/jobs", headers={"Accept": "text/html"}).text)[0]
    told.events.clear()
    job = "a" * 32 + "/" + "b" * 32
    for action, name in [("retry-refused", "x"), ("retry-image-set", job), ("fly", "x"), ("retry-refused", "Doe^John")]:
        client.post("/console/jobs", data={"csrf": token, "action": action, "name": name}, headers=accepts)
    assert [(one.kind, one.status, one.subject) for one in told.events] == [
        (EventKind.OPERATION, 200, "retry-refused x"),
        (EventKind.ALERT, 403, f"retry-image-set {job}"),
        (EventKind.ACCESS, 400, ""),
        (EventKind.ACCESS, 400, ""),
    ]
    assert "Doe" not in repr(told.events)
