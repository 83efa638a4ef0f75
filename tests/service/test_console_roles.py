"""What each role sees and does in the console, signed in with Chromium; the API refuses the same callers the same."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import bcrypt
import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, expect

from app.console.job_actions import _ACTIONS
from db.index_jobs import find_failed, find_runs
from index.follow.holds import FAILURES
from index.writing.runs import note_begin
from tests.servers import OpenDatabase
from tests.service.browser import barriers, chromium
from tests.service.console import WAIT_MILLISECONDS, image, index_writer, origin, payload, put_aside, spooled
from tests.service.storing import Storing, storing
from tests.store.dicom_files import encoded
from tests.waiting import wait_for

RULES: list[dict[str, Any]] = [
    {"name": "reader", "rights": ["read"]},
    {"name": "sender", "rights": ["read", "store", "share"]},
    {"name": "operator", "rights": ["read", "share", "operate"]},
    {"name": "deputy", "rights": ["operate"]},
    {"name": "guest.made", "rights": ["read"]},
    {"name": "ct", "rights": ["read", "store", "share"], "filter": {"Modality": "CT"}},
    {"name": "ct-operator", "rights": ["read", "operate"], "filter": {"Modality": "CT"}},
    {"name": "machinist", "rights": ["operate"]},
]
NAMES = [rule["name"] for rule in RULES if "made" not in rule["name"]]
STUDY = "/console/aetitle/studies/1.2.77.1"
PHONE = {"width": 400, "height": 800}
SCRIPT = "/studies?PatientID=<script>window.owned=1</script>"
SignIn = Callable[..., Page]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storing]:
    folder = tmp_path_factory.mktemp("roles")
    hashes = {name: bcrypt.hashpw(name.encode(), bcrypt.gensalt(4)).decode() for name in NAMES}
    (folder / "users").write_text("".join(f"{name}:{value}\n" for name, value in hashes.items()))
    (folder / "rules").write_text(json.dumps(RULES))
    settings = {
        "AUTH": "basic",
        "AUTH_USERS_FILE": str(folder / "users"),
        "ACCESS_RULES": str(folder / "rules"),
        "LINK_SECRET": "s" * 40,
        "AUDIT": "file",
        "AUDIT_FILE": str(folder / "audit"),
    }
    mixed = [encoded(image(1, 1, 1)), encoded(image(1, 2, 1, Modality="MR")), encoded(image(2, 1, 1, Modality="MR"))]
    with storing(folder / "running", **settings) as running:
        assert stored(running, "sender", *mixed) == 200
        yield running


def stored(running: Storing, name: str, *files: bytes) -> int:
    """The status of a store request of this user."""
    head = b"--x\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + content + b"\r\n" for content in files) + b"--x--\r\n"
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    url = f"{running.service.root}/studies"
    return requests.post(url, body, headers=headers, auth=(name, name), timeout=60).status_code


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=WAIT_MILLISECONDS)
    with chromium() as browser:
        yield browser


@pytest.fixture
def sign_in(browser: Browser, running: Storing) -> Iterator[SignIn]:
    """Opens a page of the console, in a new profile, as one of the users."""
    contexts = []

    def open_one(name: str, path: str, *, scripts: bool = True, **options: Any) -> Page:
        contexts.append(browser.new_context(java_script_enabled=scripts, **options))
        page = contexts[-1].new_page()
        page.goto(f"{origin(running)}/console/login")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(name)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_label("Password")).to_have_count(0)
        page.goto(origin(running) + path)
        return page

    yield open_one
    for context in contexts:
        context.close()


def refused(page: Page, running: Storing, path: str) -> bool:
    """Whether a page refuses its reader, and the navigation does not lead there."""
    answer = page.goto(origin(running) + path)
    assert answer is not None
    linked = page.locator(f"nav a[href='{path}']").count()
    return answer.status == 403 and linked == 0 and "You have no right to this" in page.locator("main").inner_text()


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("name", ["reader", "sender", "ct"])
def test_only_operators_see_access_and_audit_trail(sign_in: SignIn, running: Storing, name: str, scripts: bool) -> None:
    page = sign_in(name, "/console/", scripts=scripts)
    for path in ("/console/access", "/console/access/audit"):
        assert refused(page, running, path)
        assert requests.get(origin(running) + path, auth=(name, name), timeout=60).status_code == 403


@pytest.mark.parametrize("scripts", [True, False])
def test_an_operator_makes_and_removes_a_user(sign_in: SignIn, running: Storing, scripts: bool) -> None:
    page = sign_in("operator", "/console/", scripts=scripts, viewport=PHONE)
    page.get_by_role("link", name="Access").click()
    form = page.get_by_role("form", name="Add a user")
    form.get_by_label("Name").fill("guest.made")
    form.get_by_role("button", name="Add a user").click()
    password = page.locator("#secret").input_value()
    assert requests.get(f"{running.service.root}/studies", auth=("guest.made", password), timeout=60).ok
    page.get_by_role("link", name="Remove guest.made").click()
    page.get_by_role("button", name="Remove").click()
    assert "The user guest.made is removed." in page.locator("main").inner_text()
    again = requests.get(f"{running.service.root}/studies", auth=("guest.made", password), timeout=60)
    assert again.status_code == 401
    page.get_by_role("link", name="Remove operator").click()
    page.get_by_role("button", name="Remove").click()  # the browser, or else the service, asks first
    assert requests.get(f"{running.service.root}/studies", auth=("operator", "operator"), timeout=60).ok


def test_an_operator_without_other_rights_makes_nobody_who_has_them(sign_in: SignIn) -> None:
    page = sign_in("deputy", "/console/access", scripts=False)
    form = page.get_by_role("form", name="Add a user")
    form.get_by_label("Name").fill("guest.made")
    form.get_by_role("button", name="Add a user").click()
    assert "would have more rights than you" in page.locator("main").inner_text()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_link_that_is_revoked_opens_nowhere(sign_in: SignIn, running: Storing, scripts: bool) -> None:
    sender = sign_in("sender", STUDY, scripts=scripts)
    sender.get_by_role("button", name="Make a link").click()
    people, root = (sender.get_by_label(name).first.input_value() for name in ("For people", "Service root"))
    ways = (
        people,
        f"{root}/studies",
        f"{root}/studies/1.2.77.1/rendered",
        f"{root}/studies/1.2.77.1/thumbnail",
        f"{root}/studies/1.2.77.1?accept=application/zip",
        people.replace("/studies/", "/look/"),
    )
    assert [requests.get(one, timeout=60).status_code for one in ways] == [200] * len(ways)
    page = sign_in("operator", "/console/access", scripts=scripts)
    page.get_by_role("link", name="basic:sender").first.click()
    page.get_by_role("link", name="Revoke link 1,").click()
    page.get_by_role("button", name="Revoke").click()
    assert "The link of basic:sender is revoked." in page.locator("main").inner_text()
    for one in ways * 3:  # at once, in each process
        assert requests.get(one, timeout=60).status_code == 404, one


@pytest.mark.parametrize("scripts", [True, False])
def test_an_operator_searches_the_audit_trail(sign_in: SignIn, running: Storing, scripts: bool) -> None:
    assert requests.get(f"{running.service.root}{SCRIPT}", auth=("reader", "reader"), timeout=60).ok
    page = sign_in("operator", "/console/access", scripts=scripts)
    page.get_by_role("link", name="Audit trail").click()

    def is_found() -> bool:
        page.get_by_role("textbox", name="User").fill("reader")
        page.get_by_label("Action").select_option("query")
        page.get_by_role("button", name="Search").click()
        return page.locator("tbody tr").count() > 0

    running.service.wait(is_found)
    assert "window.owned=1" in page.locator("tbody").inner_text()
    if scripts:
        assert page.evaluate("() => typeof window.owned") == "undefined"
    assert set(page.locator("tbody td:nth-child(2) strong").all_inner_texts()) == {"basic:reader"}
    page.get_by_label("Study Instance UID").fill("1.2.77.999")
    page.get_by_role("button", name="Search").click()
    assert "Nothing was found." in page.locator("main").inner_text()


@pytest.mark.parametrize(
    "path", ["/console/access", "/console/access/audit", "/console/access/remove?kind=user&key=ct"]
)
def test_pages_for_operators_have_no_barriers_and_fit_a_phone(sign_in: SignIn, path: str) -> None:
    page = sign_in("operator", path, color_scheme="dark")
    assert barriers(page) == []
    phone = sign_in("operator", path, viewport=PHONE)
    assert barriers(phone) == []
    assert phone.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize(("name", "studies"), [("reader", 2), ("sender", 2), ("ct", 1)])
def test_each_sees_what_the_api_shows(sign_in: SignIn, running: Storing, name: str, studies: int) -> None:
    page = sign_in(name, "/console/?accession=")
    shown = page.locator("a.open").evaluate_all("(all) => all.map((one) => one.href.split('/').pop())")
    answer = requests.get(f"{running.service.root}/studies", auth=(name, name), timeout=60).json()
    assert sorted(shown) == sorted(one["0020000D"]["Value"][0] for one in answer)
    assert len(shown) == studies
    page.goto(origin(running) + STUDY)
    assert page.locator(".tile").count() == (1 if name == "ct" else 2)
    loaded = "(all) => Promise.all(all.map((one) => fetch(one.src).then((answer) => answer.status)))"
    assert set(page.locator("img.thumbnail").evaluate_all(loaded)) == {200}


@pytest.mark.parametrize("scripts", [True, False])
def test_who_may_not_store_is_told_so(sign_in: SignIn, running: Storing, scripts: bool) -> None:
    page = sign_in("reader", "/console/", scripts=scripts)
    assert page.get_by_role("link", name="Upload").count() == 0
    answer = page.goto(f"{origin(running)}/console/upload")
    assert answer is not None and answer.status == 403
    assert "You have no right to this" in page.locator("main").inner_text()
    assert stored(running, "reader", encoded(image(3, 1, 1))) == 403


@pytest.mark.parametrize(("name", "shares"), [("reader", False), ("sender", True), ("ct", False)])
def test_who_may_share_has_the_form(sign_in: SignIn, running: Storing, name: str, shares: bool) -> None:
    page = sign_in(name, STUDY)
    assert page.get_by_role("button", name="Make a link").count() == (1 if shares else 0)
    token = json.loads(page.locator("body").get_attribute("hx-headers") or "{}")["X-CSRF-Token"]
    send = (
        "([path, fields]) => fetch(path, {method: 'POST', body: new URLSearchParams(fields)}).then((one) => one.status)"
    )
    status = page.evaluate(send, [f"{STUDY}/link", {"hours": "1", "csrf": token}])
    assert status == (200 if shares else 403)


@pytest.mark.parametrize("scripts", [True, False])
def test_a_session_stores(sign_in: SignIn, running: Storing, scripts: bool) -> None:
    page = sign_in("sender", "/console/upload", scripts=scripts)
    number = 10 + scripts
    sent = [payload("one.dcm", encoded(image(number, 1, 1)))]
    if scripts:
        page.locator("[data-part=files]").set_input_files(sent)
        expect(page.locator("[data-part=sums]")).to_have_text(re.compile("Done: 1 files stored"))
    else:
        page.locator("input[name=files]").set_input_files(sent)
        page.get_by_role("button", name="Send").click()
        assert "1 stored, 0 not stored" in page.locator("main").inner_text()
    page.goto(f"{origin(running)}/console/aetitle/studies/1.2.77.{number}")
    assert page.locator(".tile").count() == 1


@pytest.mark.parametrize("scripts", [True, False])
def test_a_filter_holds_for_what_is_stored(sign_in: SignIn, scripts: bool) -> None:
    page = sign_in("ct", "/console/upload", scripts=scripts)
    sent = [payload("mr.dcm", encoded(image(12, 1, 1, Modality="MR")))]
    if scripts:
        page.locator("[data-part=files]").set_input_files(sent)
        expect(page.locator("[data-part=rows]")).to_contain_text("You may not store this")
    else:
        page.locator("input[name=files]").set_input_files(sent)
        page.get_by_role("button", name="Send").click()
        assert "You may not store this" in page.locator("main").inner_text()


def test_an_upload_whose_session_has_ended_says_so(sign_in: SignIn) -> None:
    page = sign_in("sender", "/console/upload")
    page.context.clear_cookies(name="session")  # as signing out in another window does
    page.locator("[data-part=files]").set_input_files([payload("one.dcm", encoded(image(13, 1, 1)))])
    expect(page.locator("[data-part=why]")).to_contain_text("You are signed out")
    expect(page.get_by_role("button", name="Try again (1)")).to_be_visible()


def test_a_list_whose_session_has_ended_leads_to_the_login(sign_in: SignIn) -> None:
    page = sign_in("reader", "/console/")
    page.context.clear_cookies(name="session")
    page.get_by_label("Name or ID").fill("test")
    expect(page.get_by_label("Password")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_an_operator_has_the_service_checked(sign_in: SignIn, scripts: bool) -> None:
    page = sign_in("operator", "/console/", scripts=scripts)
    page.get_by_role("link", name="Status").click()
    page.get_by_role("button", name="Check now").click()
    if scripts:
        expect(page.get_by_role("region", name="Index against AHI")).to_be_visible()
    else:
        wait_for(lambda: page.reload() is not None and page.get_by_role("button", name="Check now").count() == 1)
    expect(page.locator("main")).to_contain_text(re.compile(r"Checked \d+ s ago"))
    found = page.get_by_role("region", name="Service", exact=True).inner_text()
    assert "readable and complete" in found and "answers in" in found
    assert "image sets in the index" in page.get_by_role("region", name="Index against AHI").inner_text()
    assert "s" * 40 not in page.content(), "settings that are secret are not shown"


@pytest.mark.parametrize("name", ["reader", "sender", "ct"])
def test_who_does_not_operate_sees_no_status(sign_in: SignIn, running: Storing, name: str) -> None:
    page = sign_in(name, "/console/")
    assert page.get_by_role("link", name="Status").count() == 0
    token = json.loads(page.locator("body").get_attribute("hx-headers") or "{}")["X-CSRF-Token"]
    send = (
        "([path, fields]) => fetch(path, {method: 'POST', body: new URLSearchParams(fields)}).then((one) => one.status)"
    )
    assert page.evaluate(send, ["/console/status/check", {"csrf": token}]) == 403
    answer = page.goto(f"{origin(running)}/console/status")
    assert answer is not None and answer.status == 403
    assert "You have no right to this" in page.locator("main").inner_text()
    assert requests.get(f"{origin(running)}/console/status", auth=(name, name), timeout=60).status_code == 403


JOBS = "/console/jobs"
SEND = """([path, fields]) =>
    fetch(path, {method: "POST", body: new URLSearchParams(fields)}).then((one) => one.status)"""


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("name", ["reader", "ct", "operator", "machinist"])
def test_jobs_are_for_operators(sign_in: SignIn, running: Storing, name: str, scripts: bool) -> None:
    operates = name in ("operator", "machinist")
    page = sign_in(name, "/console/upload" if operates else "/console/", scripts=scripts)
    assert page.get_by_role("link", name="Jobs").count() == (1 if operates else 0)
    answer = page.goto(origin(running) + JOBS)
    assert answer is not None and answer.status == (200 if operates else 403)
    told = "Waiting to be stored" if operates else "You have no right to this"
    assert told in page.locator("main").inner_text()


def test_each_action_is_refused_to_those_without_the_right(sign_in: SignIn, running: Storing) -> None:
    kept = put_aside(running, encoded(image(40, 1, 1)))
    page = sign_in("sender", "/console/")
    token = json.loads(page.locator("body").get_attribute("hx-headers") or "{}")["X-CSRF-Token"]
    for action in _ACTIONS:
        assert page.evaluate(SEND, [JOBS, {"action": action, "name": kept, "csrf": token}]) == 403
    assert running.spool.has(kept) and kept in running.spool.refused_names()
    fields, auth = {"action": "remove-refused", "name": kept}, ("operator", "operator")
    assert requests.post(origin(running) + JOBS, fields, auth=auth, timeout=60).status_code == 403
    assert running.spool.has(kept), "a form without a token does nothing"


@pytest.mark.parametrize("name", ["ct-operator", "machinist", "operator"])
def test_studies_are_named_to_those_who_see_them(sign_in: SignIn, running: Storing, name: str) -> None:
    put_aside(running, encoded(image(1, 1, 7)))  # a CT and an MR
    put_aside(running, encoded(image(2, 1, 7)))  # an MR
    put_aside(running, encoded(image(404, 1, 1)))  # in no index
    page = sign_in(name, JOBS)
    source = page.content()
    shown = {number: f"1.2.77.{number}<" in source for number in (1, 2, 404)}
    assert (
        shown
        == {
            "ct-operator": {1: True, 2: False, 404: False},
            "machinist": {1: False, 2: False, 404: False},
            "operator": {1: True, 2: True, 404: True},
        }[name]
    )
    assert ("studies that you may not see" in source) == (name != "operator")


@pytest.mark.parametrize("options", [{"scripts": True}, {"scripts": False, "viewport": PHONE}], ids=["script", "phone"])
def test_an_operator_retries_and_removes_what_was_refused(
    sign_in: SignIn, running: Storing, options: dict[str, Any]
) -> None:
    number = 50 + options["scripts"]
    retried, removed = (put_aside(running, encoded(image(number, 1, one))) for one in (1, 2))
    page = sign_in("operator", JOBS, **options)
    page.evaluate("() => { window.same = true; }")
    button(page, "Try again", retried).click()
    expect(page.get_by_text("Tried again: 1.")).to_be_visible()
    page.locator("summary", has_text=removed).click()
    button(page, "Yes, remove", removed).click()
    expect(page.get_by_text("Removed: 1.")).to_be_visible()
    assert page.evaluate("() => Boolean(window.same)") == options["scripts"], "with scripts, only the lists change"
    running.service.wait(lambda: running_found(running, number) == [f"1.2.77.{number}.1.1"])
    assert not running.spool.has(removed)


@pytest.mark.parametrize("options", [{"scripts": True}, {"scripts": False, "viewport": PHONE}], ids=["script", "phone"])
def test_an_operator_cancels_what_waits(sign_in: SignIn, running: Storing, options: dict[str, Any]) -> None:
    running.datastore.faults("StoreDICOM:503")
    try:
        number = 60 + options["scripts"]
        name = spooled(running, encoded(image(number, 1, 1))).name
        page = sign_in("operator", JOBS, **options)

        def shows() -> bool:
            page.goto(origin(running) + JOBS)
            return page.locator("summary", has_text=name).count() == 1

        running.service.wait(shows)
        page.locator("summary", has_text=name).click()
        button(page, "Yes, cancel", name).click()
        done = re.compile("Cancelled: 1|What cannot be stored now is cancelled then")
        expect(page.get_by_text(done).first).to_be_visible()
        running.service.wait(lambda: not running.spool.has(name))
    finally:
        running.datastore.faults()
    page.goto(origin(running) + JOBS)
    assert page.locator("summary", has_text=name).count() == 0
    assert running_found(running, number) == []


@pytest.mark.parametrize("options", [{"scripts": True}, {"scripts": False, "viewport": PHONE}], ids=["script", "phone"])
def test_an_operator_cancels_runs_and_retries_image_sets_and_loads(
    sign_in: SignIn, running: Storing, open_database: OpenDatabase, options: dict[str, Any]
) -> None:
    datastore_id, run = running.environment["STORE_DATASTORE_ID"], f"{options['scripts']:d}" * 32
    image_set = f"{8 + options['scripts']}" * 32
    writer = index_writer(running)
    note_begin(writer.session, run, "fill", "host", [datastore_id])
    writer.note_failure(datastore_id, image_set, "the metadata cannot be indexed: KeyError", at_least=FAILURES)
    writer.close()
    order = {"studies": [f"1.2.77.40{options['scripts']:d}.1"]}
    url, auth = f"{running.service.root}/prefetch", ("operator", "operator")
    assert requests.post(url, json=order, auth=auth, timeout=60).status_code == 202
    running.service.wait(lambda: not requests.get(url, auth=auth, timeout=60).json()["waiting"])
    page = sign_in("operator", JOBS, **options)
    page.locator("summary", has_text=run).click()
    button(page, "Yes, cancel", run).click()
    expect(page.get_by_text("The run ends within seconds.")).to_be_visible()
    button(page, "Try again", image_set).click()
    expect(page.get_by_text(re.compile("To be tried again by the follower"))).to_be_visible()
    row = page.get_by_role("row").filter(has_text=order["studies"][0])
    row.get_by_role("button", name=re.compile("^Try again")).click()
    expect(page.get_by_text("Tried again: 1.")).to_be_visible()
    database = open_database(running.environment["DATABASE_URL"])
    assert next(one for one in find_runs(database, 0, 20) if one.run == run).cancelled_at
    assert next(one for one in find_failed(database, 0, 20) if one.image_set_id == image_set).attempts == 1


def button(page: Page, label: str, name: str) -> Locator:
    """The button of a job."""
    return page.get_by_role("button", name=f"{label} {name}", exact=True)


def running_found(running: Storing, study: int) -> list[str]:
    """The SOP Instance UIDs of a study in the index, as an operator finds them."""
    url = f"{running.service.root}/studies/1.2.77.{study}/instances"
    answer = requests.get(url, auth=("operator", "operator"), timeout=60)
    return [one["00080018"]["Value"][0] for one in answer.json()] if answer.status_code == 200 else []
