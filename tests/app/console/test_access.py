"""The pages Access and Audit trail: for operators alone, and without secrets."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.ae_titles import parse_ae_titles
from app.audit.event import Event, EventKind
from app.audit.message import Source
from db.share_links import SharedLink
from tests.app.auth.users import ANNA, write_users
from tests.app.console.conftest import Clients

BROWSER = {"Accept": "text/html"}
PAGES = ("/console/access", "/console/access/audit")
EVIL = "<script>document.title='owned'</script>\"'><img src=x onerror=alert(1)>{{7*7}}"
Operator = Callable[..., FlaskClient]


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    return tmp_path / "rules.json"


@pytest.fixture
def operator(client_of: Clients, tmp_path: Path, rules_file: Path) -> Operator:
    """Makes clients of a console that has a user anna, with her rule and others; requests have her login."""

    def make(rule: dict[str, Any] | None = None, *others: dict[str, Any], **settings: Any) -> FlaskClient:
        rule = {"name": "anna", "rights": ["read", "operate"]} if rule is None else rule
        rules_file.write_text(json.dumps([rule, *others]))
        users = settings.pop("auth_users_file", None) or write_users(tmp_path)
        client = client_of(auth=("basic",), auth_users_file=users, access_rules=rules_file, **settings)
        client.environ_base = {**client.environ_base, "HTTP_AUTHORIZATION": ANNA["Authorization"]}
        return client

    return make


def written(path: Path, *events: Event, patient: str | None = None) -> Path:
    with path.open("ab") as file:
        for event in events:
            file.write(Source("here").xml(event, patient) + b"\n")
    return path


def event(kind: EventKind = EventKind.ACCESS, **members: Any) -> Event:
    at = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)
    return replace(Event(kind, 200, user="basic:anna", at=at), **members)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("rights", "status"), [(["operate"], 200), (["read", "store", "share", "delete"], 403)])
def test_only_operators_see_it(operator: Operator, path: str, rights: list[str], status: int) -> None:
    client = operator({"name": "anna", "rights": rights})
    answer = client.get(path, headers=BROWSER)
    assert answer.status_code == status
    assert ("Access rules" in answer.text or "Audit trail" in answer.text) == (status == 200)
    assert ('href="/console/access"' in answer.text) == (status == 200)
    assert client.get(path, headers={"Accept": "application/json"}).status_code == status


def test_ae_titles_and_rules_are_shown_as_they_are_understood(operator: Operator, rules_file: Path) -> None:
    store = "1" * 32
    others = [
        {"group": "research", "ae_titles": ["ct"], "filter": {"Modality": ["MR", "C*"], "StudyDate": "20260101-"}},
        {"claim": {"department": "dental"}, "datastores": [store], "rights": ["read", "share"]},
        {},
    ]
    titles = parse_ae_titles(json.dumps({"ct": {"filter": {"Modality": "CT"}, "store": store}}))
    text = operator(None, *others, ae_titles=titles).get("/console/access", headers=BROWSER).text
    assert str(rules_file) in text and "AE_TITLES" in text
    for shown in (
        "<code>Modality=CT</code>",
        "<code>Modality=MR | C*</code>",
        "<code>StudyDate=2026-01-01-</code>",
        "<code>department=dental</code>",
        f"<code>{store}</code>",
        "<strong>basic:anna</strong>",
        "<strong>research</strong>",
        "read, share",
        "operate, read",
        "whoever signs in",
    ):
        assert shown in text, shown


def test_a_reader_with_a_filter_sees_no_values_of_filters(operator: Operator) -> None:
    rule = {"name": "anna", "rights": ["operate"], "filter": {"PatientID": "P1"}}
    text = operator(rule, {"group": "x", "filter": {"PatientID": "P2"}}).get("/console/access", headers=BROWSER).text
    assert "<code>PatientID=…</code>" in text and "P2" not in text


def test_without_a_login_the_page_says_what_that_means(client_of: Clients) -> None:
    text = client_of().get("/console/access", headers=BROWSER).text
    assert "AUTH is none" in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "There is no audit trail"),
        ({"audit": "stdout"}, "standard output"),
        ({"audit": "syslog", "audit_syslog": "tls://audit.example.org"}, "tls://audit.example.org"),
        ({"audit": "cloudwatch", "audit_log_group": "group1"}, "log group group1"),
    ],
)
def test_a_trail_that_is_elsewhere_is_said_so(client_of: Clients, settings: dict[str, Any], words: str) -> None:
    answer = client_of(**settings).get("/console/access/audit", headers=BROWSER)
    assert words in answer.text and "<form" not in answer.text.partition("<main")[2]


def test_the_trail_is_searched_by_each_field(operator: Operator, tmp_path: Path) -> None:
    trail = written(tmp_path / "audit", event(study_instance_uid="1.2.1"), patient="P1")
    written(trail, event(EventKind.LOGIN, user="basic:bert", status=401))
    client = operator(audit="file", audit_file=trail)

    def rows(query: str) -> int:
        answer = client.get(f"/console/access/audit?{query}", headers=BROWSER)
        assert answer.status_code == 200
        return answer.text.count("<tr>") - answer.text.count("<thead><tr>")

    assert rows("") == 2
    assert rows("user=bert") == rows("action=login") == rows("outcome=4") == 1
    assert rows("study=1.2.1") == rows("patient=P1") == 1
    assert rows("from=2026-11-28&to=2026-12-02T08:00") == 2
    assert rows("from=2026-12-02") == rows("to=2026-11-28T00:00:00") == rows("study=1.2.9&user=bert") == 0


@pytest.mark.parametrize(
    "query",
    [
        "from=soon",
        "to=2026-13-01",
        "action=fly",
        "outcome=5",
        "before=x",
        "before=1-2",
        "from=0001-01-01T00:00",
        "from=0001-01-02&to=9999-12-30",
        "to=9999-12-31",
    ],
)
def test_what_cannot_be_searched_for_is_said_in_words(operator: Operator, tmp_path: Path, query: str) -> None:
    client = operator(audit="file", audit_file=written(tmp_path / "audit", event()))
    answer = client.get(f"/console/access/audit?{query}", headers=BROWSER)
    assert answer.status_code in (200, 400) and "Traceback" not in answer.text
    assert (answer.status_code == 400) == ("This cannot be searched for" in answer.text)


def test_a_trail_that_cannot_be_read_is_no_mistake_of_the_reader(operator: Operator, tmp_path: Path) -> None:
    answer = operator(audit="file", audit_file=tmp_path / "none" / "audit").get(
        "/console/access/audit", headers=BROWSER
    )
    assert answer.status_code == 502 and "No such file" in answer.text


def test_further_steps_keep_the_filter(operator: Operator, tmp_path: Path) -> None:
    trail = written(tmp_path / "audit", *(event() for _ in range(70)))
    client = operator(audit="file", audit_file=trail)
    pages = [client.get("/console/access/audit?user=anna", headers=BROWSER).text]
    further = re.search(r'rel="next" href="([^"]+)"', pages[0])
    assert further and "user=anna" in further[1]
    pages.append(client.get(further[1].replace("&amp;", "&"), headers=BROWSER).text)
    assert [page.count("basic:anna</strong>") for page in pages] == [50, 20]
    assert 'rel="next"' not in pages[1] and "This is the end" in pages[1]


@pytest.mark.parametrize(("limit", "sees"), [({}, True), ({"filter": {"PatientID": "P1"}}, False)])
def test_patient_data_are_for_those_who_may_see_the_study(
    operator: Operator, tmp_path: Path, limit: dict[str, Any], sees: bool
) -> None:
    trail = written(tmp_path / "audit", event(study_instance_uid="1.2.1"), patient="P1")
    written(trail, event(study_instance_uid="1.2.2", user="basic:bert"), patient="OTHER")
    written(trail, event(EventKind.QUERY, query="/studies?PatientName=SECRET", user="basic:carl"))
    written(trail, event(EventKind.TRAIL, subject="patient=OTHER", user="basic:dora"))
    client = operator({"name": "anna", "rights": ["operate"], **limit}, audit="file", audit_file=trail)
    text = client.get("/console/access/audit", headers=BROWSER).text
    assert "1.2.1" in text and "P1" in text
    assert all(user in text for user in ("basic:bert", "basic:carl", "basic:dora"))
    for hidden in ("1.2.2", "OTHER", "SECRET"):
        assert (hidden in text) == sees, hidden
    for query, rows in (
        ("study=1.2.1", 1),
        ("study=1.2.2", int(sees)),
        ("patient=P1", 1),
        ("patient=OTHER", int(sees)),
    ):
        text = client.get(f"/console/access/audit?{query}", headers=BROWSER).text
        assert text.count("<tr>") - text.count("<thead><tr>") == rows, query


def test_markup_in_the_trail_and_in_rules_is_text(operator: Operator, tmp_path: Path) -> None:
    trail = written(
        tmp_path / "audit",
        event(user=EVIL, client=EVIL, ae_title=EVIL, resource=EVIL, study_instance_uid=EVIL, series_instance_uid=EVIL),
        event(EventKind.QUERY, query=EVIL),
        event(EventKind.CHANGE, subject=EVIL),
        patient=EVIL,
    )
    rule = {"group": EVIL, "claim": {EVIL: EVIL}, "ae_titles": [EVIL], "filter": {"PatientID": EVIL}}
    client = operator(None, rule, audit="file", audit_file=trail)
    for path in ("/console/access", f"/console/access/audit?user={EVIL[:20]}", "/console/access/audit"):
        answer = client.get(path, headers=BROWSER)
        main = answer.text.partition("<main")[2]
        assert answer.status_code == 200 and "<script" not in main and "<img" not in main, path
        assert "document.title" in main and "49" not in re.sub(r"[0-9a-f]{32,}", "", main), path


def shared(client: FlaskClient, study: str = "1.2.1") -> str:
    """Make a share link by the form of the study; its root."""
    page = client.get(f"/console/aetitle/studies/{study}", headers=BROWSER).text
    token = re.findall(r'"X-CSRF-Token": "(\w+)"', page)[0]
    made = client.post(
        f"/console/aetitle/studies/{study}/link", data={"csrf": token, "hours": "24"}, headers=BROWSER
    ).text
    return str(re.findall(r'value="(http://localhost/link/[^"]+)"', made)[0])


def revoked(client: FlaskClient, kind: str, key: str) -> int:
    question = client.get(f"/console/access/remove?kind={kind}&key={key}", headers=BROWSER)
    assert "Revoke" in question.text
    token = re.findall(r'"X-CSRF-Token": "(\w+)"', question.text)[0]
    fields = {"csrf": token, "kind": kind, "key": key}
    return client.post("/console/access/remove", data=fields, headers=BROWSER).status_code


SHARES: dict[str, Any] = {"name": "anna", "rights": ["read", "share", "operate"]}


def test_a_share_link_is_listed_without_its_token_and_revoked(operator: Operator) -> None:
    client = operator(SHARES, link_secret="s" * 40)
    assert "No link is in force" in client.get("/console/access", headers=BROWSER).text
    roots = [shared(client, study) for study in ("1.2.1", "1.2.2", "1.2.4")]
    stranger = client.application.test_client()
    paths = ("/studies", "/studies/{0}/series", "/viewer")
    assert stranger.get(f"{roots[0]}/studies").status_code == 200
    text = client.get("/console/access", headers=BROWSER).text
    keys = re.findall(r"kind=link&amp;key=([0-9a-f]{32})", text)
    assert len(keys) == 3 and "/console/aetitle/studies/1.2.1" in text
    assert not [root for root in roots if root.rpartition("/")[2] in text]
    by_study = {study: key for study, key in re.findall(r'studies/([\d.]+)">.*?key=([0-9a-f]{32})', text, re.DOTALL)}
    assert revoked(client, "link", by_study["1.2.1"]) == 200
    for path in paths:
        assert stranger.get(roots[0] + path.format("1.2.1")).status_code == 404
    assert stranger.get(roots[0].replace("/link/", "/console/link/") + "/studies/1.2.1").status_code == 404
    assert stranger.get(f"{roots[1]}/studies").status_code == 200
    assert revoked(client, "link", by_study["1.2.1"]) == revoked(client, "link", "x") == 404
    assert revoked(client, "links", "basic:anna") == 200
    assert {stranger.get(f"{root}/studies").status_code for root in roots} == {404}
    assert "No link is in force" in client.get("/console/access", headers=BROWSER).text


def test_links_come_in_pages_and_by_user(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.console.shared.ROWS_PER_PAGE", 2)
    client = operator(SHARES, link_secret="s" * 40)
    for study in ("1.2.1", "1.2.2", "1.2.4"):
        shared(client, study)
    first = client.get("/console/access?user=basic:anna", headers=BROWSER).text
    assert first.count("kind=link&amp;") == 2 and "3 links" in first and "user=basic%3Aanna&amp;page=2" in first
    second = client.get("/console/access?user=basic:anna&page=2", headers=BROWSER).text
    assert second.count("kind=link&amp;") == 1 and 'rel="prev"' in second and 'rel="next"' not in second
    assert "kind=link&amp;" not in client.get("/console/access?user=nobody", headers=BROWSER).text


def test_a_reader_with_a_filter_sees_no_other_studies_of_links(operator: Operator) -> None:
    limited = {"name": "anna", "rights": ["read", "share", "operate"], "filter": {"PatientID": "P1"}}
    client = operator(limited, link_secret="s" * 40)
    shared(client, "1.2.1")
    services = client.application.extensions["console"].services
    services.session_state.share_links.note(SharedLink("0" * 32, "basic:bert", "1.2.2", 1, 2**33), 1)
    text = client.get("/console/access", headers=BROWSER).text
    assert "1.2.1</a>" in text and "1.2.2" not in text and "a study that you may not see" in text
    assert revoked(client, "link", "0" * 32) == 200


@pytest.mark.parametrize("kind", ["link", "links"])
def test_others_revoke_no_links(operator: Operator, kind: str) -> None:
    client = operator({"name": "anna", "rights": ["read", "share"]}, link_secret="s" * 40)
    root = shared(client)
    page = client.get("/console/", headers=BROWSER).text
    fields = {"csrf": re.findall(r'"X-CSRF-Token": "(\w+)"', page)[0], "kind": kind, "key": "basic:anna"}
    assert client.post("/console/access/remove", data=fields, headers=BROWSER).status_code == 403
    assert client.get("/console/access/remove?kind=links&key=basic:anna", headers=BROWSER).status_code == 403
    assert client.application.test_client().get(f"{root}/studies").status_code == 200
