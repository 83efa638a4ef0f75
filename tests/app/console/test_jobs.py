"""The page of jobs: what each caller sees of the queues, what actions do, and what happens while a part is away."""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from ahi.workers.pool import FetcherPool
from app.ae_titles import parse_ae_titles
from app.console.job_actions import MOST_NAMES
from app.factory import create_app
from app.lazy_writer import LazyWriter
from app.services import Services
from app.settings import Settings
from db.engine import Database
from dicomweb.errors import Conflict, NotFound, UpstreamBusy
from index.follow.holds import FAILURES
from index.follow.progress import FollowerProgress
from index.writing.ledger import now
from index.writing.runs import cancel_run, note_begin, note_end, note_progress
from index.writing.writer import IndexWriter
from store.forward.waiting import Cancelled, WaitingEntry, WaitingPage, WaitingState
from store.outcome import FailureReason, Outcome, ReceivedInstance, Sender
from store.spool.layout import outcomes_beside
from store.spool.spool import Entry, Spool
from tests.app.auth.users import ANNA, write_users
from tests.servers import Sqlite

BROWSER = {"Accept": "text/html"}
JOBS = "/console/jobs"
STORE, OTHER_STORE = "d" * 32, "e" * 32
RUN = "f" * 32
TITLES = f'{{"research": {{"datastores": ["{OTHER_STORE}"]}}}}'


class Queue:
    """A forwarder whose queue a test fills."""

    def __init__(self) -> None:
        self.waits: list[WaitingEntry] = []
        self.notified: list[str] = []
        self.cancelled: list[str] = []
        self.answer: Cancelled | Exception = Cancelled.NOW
        self.is_away = False

    def store(self, entry: Entry) -> list[Outcome]:
        raise NotImplementedError

    def notify(self, entry: Entry) -> None:
        self.notified.append(entry.name)

    def waiting(self, first: int, most: int, ae_titles: frozenset[str] | None = None) -> WaitingPage:
        if self.is_away:
            raise UpstreamBusy("the process that stores does not answer")
        found = [one for one in self.waits if ae_titles is None or one.sender.ae_title in ae_titles]
        return WaitingPage(tuple(found[first : first + most]), len(found), 12.5)

    def cancel(self, name: str) -> Cancelled:
        if isinstance(self.answer, Exception):
            raise self.answer
        self.cancelled.append(name)
        return self.answer


class Place:
    """A console over an index of its own, a spool, and a queue."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.spool = Spool(folder / "spool")
        self.spool.open()
        self.queue = Queue()
        self.writer = IndexWriter(url)
        self.writer.create_or_migrate()
        self.database = Database(url)

    def client(self, *rules: str, writes: bool = True, **settings: Any) -> FlaskClient:
        """A client; with rules, of a service with a login."""
        if rules:
            (self.folder / "rules").write_text(f"[{','.join(rules)}]")
            users = write_users(self.folder)
            settings |= {"auth": ("basic",), "auth_users_file": users, "access_rules": self.folder / "rules"}
        made = Settings(cache_root=self.folder, spool_root=self.folder / "spool", **settings)
        writer = LazyWriter(lambda: self.writer) if writes else None
        services = Services.of(made, self.database, FetcherPool([]), forwarder=self.queue, index_writer=writer)
        client = create_app(services).test_client()
        client.environ_base["HTTP_ACCEPT"] = "text/html"
        if rules:
            client.environ_base["HTTP_AUTHORIZATION"] = ANNA["Authorization"]
        return client

    def accept(self, number: int, ae_title: str = "aetitle", user: str = "carl") -> Entry:
        """A store request of one instance in the study of this number."""
        body = self.spool.incoming / secrets.token_hex(4)
        body.write_bytes(b"x" * 100)
        instance = ReceivedInstance(0, 100, "1.1", f"1.7.{number}.1.1", f"1.7.{number}", f"1.7.{number}.1", "1.2", "0")
        return self.spool.accept(body, [instance], Sender(user, ae_title, STORE))

    def refuse(self, number: int, ae_title: str = "aetitle", detail: str = "AHI refuses it", user: str = "carl") -> str:
        """A request that was refused; its name."""
        entry = self.accept(number, ae_title, user)
        outcome = Outcome.of(entry.manifest.instances[0], failure=FailureReason.SYNTAX_NOT_SUPPORTED, detail=detail)
        self.spool.refuse(entry, [outcome])
        return entry.name

    def close(self) -> None:
        self.writer.close()
        self.database.close()


@pytest.fixture
def place(tmp_path: Path, sqlite: Sqlite) -> Iterator[Place]:
    made = Place(tmp_path, sqlite.new_database())
    yield made
    made.close()


def waiting(number: int, ae_title: str = "aetitle", **values: Any) -> WaitingEntry:
    state = values.pop("state", WaitingState.GATHERING)
    studies = values.pop("studies", (f"1.7.{number}",))
    sender = Sender("carl", ae_title, STORE)
    name, received_at = f"{number:013d}-{number:016x}", time.time() - 3665
    return WaitingEntry(name, sender, received_at, 5, 3, 2_000_000, studies, state, **values)


def act(client: FlaskClient, action: str, *names: str, headers: dict[str, str] | None = None, page: str = JOBS) -> Any:
    """The answer to a form of the page."""
    token = re.findall(r'"X-CSRF-Token": "(\w+)"', client.get(JOBS).text)[0]
    return client.post(page, data={"csrf": token, "action": action, "name": list(names)}, headers=headers)


def test_what_waits_tells_state_rate_and_error(place: Place) -> None:
    place.queue.waits = [
        waiting(1, state=WaitingState.AGAIN, attempts=4, next_seconds=7.6, error="AWS HealthImaging does not answer"),
        waiting(2, state=WaitingState.SENDING, is_to_be_cancelled=True),
        waiting(3, state=WaitingState.SENDING, studies=tuple(f"1.8.{number}" for number in range(9))),
        waiting(4),
    ]
    text = place.client().get(JOBS).text
    for told in (
        "Next attempt in 8 s",
        "Failed attempts: 4: AWS HealthImaging does not answer",
        "To be cancelled after this attempt",
        "Being stored",
        "Collecting more of the series",
        "3 of 5 left, 2.0 MB",
        "carl to aetitle",
        "12.5 images per second",
        "1 h 1 min ago",
        "and 6 more",
    ):
        assert told in text, told
    assert "1.8.2<" in text and "1.8.3<" not in text


@pytest.mark.parametrize(("page", "first", "last"), [(1, 0, 19), (2, 20, 39), (3, 40, 44)])
def test_lists_come_in_pages(place: Place, page: int, first: int, last: int) -> None:
    place.queue.waits = [waiting(number) for number in range(100, 145)]
    for number in range(500, 545):
        place.refuse(number)
        note_begin(place.writer.session, f"{number}", "fill", f"host-{number}", [STORE])
        place.writer.note_failure(STORE, f"{number}", "no", at_least=FAILURES)
    text = place.client().get(f"{JOBS}?waiting={page}&refused={page}&runs={page}&failed={page}").text
    assert re.findall(r"<code>1\.7\.(1\d\d)<", text) == [f"{number}" for number in range(100 + first, 101 + last)]
    assert re.findall(r"<code>1\.7\.(5\d\d)<", text) == [f"{number}" for number in range(500 + first, 501 + last)]
    assert re.findall(r"<td[^>]*><code>(5\d\d)<", text) == [f"{number}" for number in range(500 + first, 501 + last)]
    assert len(re.findall(r"on host-5\d\d", text)) == last - first + 1
    assert f"{first + 1} to {last + 1} of 45" in text
    assert ("Next page" in text) == (page < 3) and ("Previous page" in text) == (page > 1)


@pytest.mark.parametrize("number", ["0", "-1", "x", "99999999999999999999", "7", "²"])
def test_a_page_that_is_none_is_no_error(place: Place, number: str) -> None:
    place.refuse(1)
    answer = place.client().get(f"{JOBS}?" + "&".join(f"{name}={number}" for name in ("waiting", "refused", "runs")))
    assert answer.status_code == 200


def test_runs_tell_how_they_are(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    session = place.writer.session
    with monkeypatch.context() as earlier:
        for later_seconds, phase in ((300, False), (310, True)):
            earlier.setattr("index.writing.runs.now", lambda ago=later_seconds: now() - timedelta(seconds=ago))
            note_begin(session, f"killed-{phase}", "compare", "killed", [STORE])
    note_begin(session, RUN, "fill", "running", [STORE])
    note_progress(session, RUN, "filling", 250, 1000, begins=True)
    note_begin(session, "done", "repair", "done", [STORE])
    note_end(session, "done", 7, "image sets: 7 written", "")
    note_begin(session, "failed", "nightly", "failed", [STORE])
    note_end(session, "failed", 7, "", "AWS HealthImaging does not answer")
    note_begin(session, "over", "fill", "over", [STORE])
    cancel_run(session, "over")
    note_end(session, "over", 7, "", "")
    note_begin(session, "ending", "fill", "ending", [STORE])
    cancel_run(session, "ending")
    FollowerProgress(session).note_asked(STORE)
    text = place.client().get(JOBS).text
    rows = {name: row for row in text.split("<tr>") for name in re.findall(r"on (\w+)<", row)}
    for name, told in {
        "killed": "Ended without a word",
        "running": "Running",
        "done": "image sets: 7 written",
        "failed": "Failed: AWS HealthImaging does not answer",
        "over": "Cancelled",
        "ending": "Being cancelled",
    }.items():
        assert told in rows[name], name
        assert ("cancel-run" in rows[name]) == (name == "running"), name
    assert "filling: 250 of 1,000" in rows["running"] and 'value="250"' in rows["running"]
    assert f"Data store {STORE}" in text and "last change: never" in text


@pytest.mark.parametrize("htmx", [True, False])
def test_what_was_refused_is_retried_or_removed_and_twice_is_once(place: Place, htmx: bool) -> None:
    retried, removed, kept = (place.refuse(number) for number in (1, 2, 3))
    client = place.client()
    headers = {"HX-Request": "true"} if htmx else {}
    assert "Its transfer syntax cannot be stored: AHI refuses it" in client.get(JOBS).text
    for round_, told in (("first", "Tried again: 1."), ("second", "No longer there: 1.")):
        answer = act(client, "retry-refused", retried, headers=headers)
        assert answer.status_code == 200 and told in answer.text, round_
        assert ("<html" in answer.text) != htmx
    assert place.queue.notified == [retried] and place.spool.names() == [retried]
    for told in ("Removed: 1.", "No longer there: 1."):
        assert told in act(client, "remove-refused", removed, headers=headers).text
    assert place.spool.refused_names() == [kept]


def test_several_are_done_at_once_and_stay_on_their_page(place: Place) -> None:
    names = [place.refuse(number) for number in range(3)]
    place.queue.waits = [waiting(number) for number in range(30)]
    answer = act(place.client(), "retry-refused", *names, "9-9", names[0], page=f"{JOBS}?waiting=2")
    assert "Tried again: 3." in answer.text and "No longer there: 1." in answer.text
    assert place.spool.names() == names and "21 to 30 of 30" in answer.text


@pytest.mark.parametrize(
    ("answer", "status", "told"),
    [
        (Cancelled.NOW, 200, "Cancelled: 1."),
        (Cancelled.AFTER_ATTEMPT, 200, "What cannot be stored now is cancelled then."),
        (NotFound("it waits no longer"), 200, "No longer there: 1."),
        (Conflict("the data store has it already"), 409, "Not done: the data store has it already"),
        (UpstreamBusy("the process that stores does not answer"), 503, "Not done: the process that stores"),
    ],
)
def test_what_waits_is_cancelled_by_the_forwarder(
    place: Place, answer: Cancelled | Exception, status: int, told: str
) -> None:
    name = place.accept(1).name
    place.queue.answer = answer
    client = place.client()
    page = act(client, "cancel-waiting", name)
    assert (page.status_code, told in page.text) == (status, True)
    of_script = act(client, "cancel-waiting", name, headers={"HX-Request": "true"})
    assert (of_script.status_code, told in of_script.text) == (200, True)
    assert place.spool.names() == [name], "the forwarder alone deletes it"


@pytest.mark.parametrize("ending", [None, "ended"])
def test_a_run_is_cancelled_by_its_row(place: Place, ending: str | None) -> None:
    note_begin(place.writer.session, RUN, "fill", "host", [STORE])
    if ending:
        note_end(place.writer.session, RUN, 1, "", "")
    told = "No longer there" if ending else "The run ends within seconds."
    client = place.client()
    assert told in act(client, "cancel-run", RUN).text and told in act(client, "cancel-run", RUN).text
    assert note_progress(place.writer.session, RUN, "", 0, None, begins=False) == (ending is None)
    assert "No longer there" in act(client, "cancel-run", "0" * 32).text


def test_an_image_set_is_tried_again(place: Place) -> None:
    place.writer.note_failure(STORE, "1", "the metadata cannot be indexed: KeyError", at_least=FAILURES)
    place.writer.note_failure(STORE, "2", "away")
    client = place.client()
    text = client.get(JOBS).text
    assert text.count("put aside<") == 1 and text.count("tried again by itself<") == 1
    assert (
        "To be tried again by the follower, or by the next run: 1." in act(client, "retry-image-set", f"{STORE}/1").text
    )
    assert place.writer.recorded(STORE, ["1"])["1"].attempts == 1
    for name in (f"{STORE}/9", f"{STORE}", f"{STORE}/1/2", "/", f"{STORE}/{'1' * 60}"):
        assert "No longer there: 1." in act(client, "retry-image-set", name).text, name


def test_without_a_login_that_writes_the_index_is_only_shown(place: Place) -> None:
    note_begin(place.writer.session, RUN, "fill", "host", [STORE])
    place.writer.note_failure(STORE, "1", "no", at_least=FAILURES)
    client = place.client(writes=False)
    text = client.get(JOBS).text
    assert "on host" in text and "INDEX_WRITE_URL" in text
    assert "cancel-run" not in text and "retry-image-set" not in text
    for action, name in (("cancel-run", RUN), ("retry-image-set", f"{STORE}/1")):
        assert act(client, action, name).status_code == 403
    assert not note_progress(place.writer.session, RUN, "", 0, None, begins=False)


@pytest.mark.parametrize(
    ("action", "names"),
    [
        ("", ["1"]),
        ("fly", ["1"]),
        ("__init__", ["1"]),
        ("retry-refused", []),
        ("retry-refused", ["1"] * (MOST_NAMES + 1)),
        ("retry-refused", ["1" * 101]),
        ("retry-refused", ["../queue/1"]),
        ("retry-refused", ["Doe^Anna"]),
        ("cancel-load", ["\n"]),
    ],
)
def test_other_forms_are_refused(place: Place, action: str, names: list[str]) -> None:
    kept = place.refuse(1)
    assert act(place.client(), action, *names).status_code == 400
    assert place.spool.refused_names() == [kept]


def test_a_form_without_a_token_does_nothing(place: Place) -> None:
    kept = place.refuse(1)
    answer = place.client().post(JOBS, data={"action": "remove-refused", "name": kept})
    assert answer.status_code == 403 and place.spool.refused_names() == [kept]


OPERATES = '"rights": ["read", "operate"]'


def test_an_operator_of_one_ae_title_sees_and_changes_its_jobs_alone(place: Place) -> None:
    place.queue.waits = [waiting(1), waiting(2, "research")]
    ours, theirs = place.refuse(3, "research"), place.refuse(4)
    waits = place.accept(5)
    for run, datastore in (("a" * 32, STORE), ("b" * 32, OTHER_STORE)):
        note_begin(place.writer.session, run, "fill", f"host-{datastore[0]}", [datastore])
        place.writer.note_failure(datastore, "1", f"no {datastore[0]}", at_least=FAILURES)
    titles = parse_ae_titles(TITLES)
    client = place.client(f'{{"name": "anna", "ae_titles": ["research"], {OPERATES}}}', ae_titles=titles)
    text = client.get(JOBS).text
    assert re.findall(r"carl to (\w+)", text) == ["research", "research"]
    assert "on host-e" in text and "on host-d" not in text and "no e" in text and "no d" not in text
    for action, name in (("retry-refused", theirs), ("remove-refused", theirs), ("cancel-waiting", waits.name)):
        assert "No longer there" in act(client, action, name).text
    for action, name in (("cancel-run", "a" * 32), ("retry-image-set", f"{STORE}/1")):
        assert act(client, action, name).status_code == 403
    assert place.spool.refused_names() == [ours, theirs] and place.queue.cancelled == []
    assert "The run ends" in act(client, "cancel-run", "b" * 32).text
    assert "Tried again: 1." in act(client, "retry-refused", ours).text


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ('{"name": "anna", "rights": ["read", "store", "delete", "share"]}', 403),
        ('{"name": "anna"}', 403),
        ('{"name": "bert", "rights": ["read", "operate"]}', 403),
        ('{"name": "anna", "rights": ["operate"]}', 200),
    ],
)
def test_only_operators_see_the_page(place: Place, rule: str, status: int) -> None:
    assert place.client(rule).get(JOBS).status_code == status


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        ('{"name": "anna", "rights": ["read", "operate"]}', {1, 2, 3}),
        ('{"name": "anna", "rights": ["operate"]}', set()),
        ('{"name": "anna", "rights": ["read", "operate"], "filter": {"PatientID": "P1"}}', {1}),
        (f'{{"name": "anna", "rights": ["read", "operate"], "datastores": ["{OTHER_STORE}"]}}', {2}),
    ],
    ids=["all", "no reader", "one patient", "one data store"],
)
def test_studies_are_named_to_those_who_may_read_them(place: Place, rule: str, shown: set[int]) -> None:
    put(place, 1, STORE)
    put(place, 2, OTHER_STORE)
    for number in (1, 2, 3):
        place.refuse(number)
    place.queue.waits = [waiting(1), waiting(2), waiting(3)]
    text = place.client(rule).get(JOBS).text
    assert {number for number in (1, 2, 3) if f"1.7.{number}" in text} == shown
    links = {int(found) for found in re.findall(r'href="/console/aetitle/studies/1\.7\.(\d)"', text)}
    assert links == shown - {3}, "a study that the index lacks has no page"
    assert text.count("studies that you may not see: 1") == 2 * (3 - len(shown))


def put(place: Place, number: int, datastore_id: str) -> None:
    """A study in the index."""
    uid = f"1.7.{number}"
    instances = {f"{uid}.1.9": {"DICOM": {"SOPInstanceUID": f"{uid}.1.9", "SOPClassUID": "1.1"}}}
    series = {f"{uid}.1": {"DICOM": {"SeriesInstanceUID": f"{uid}.1"}, "Instances": instances}}
    metadata = {
        "ImageSetID": f"{number}" * 32,
        "DatastoreID": datastore_id,
        "Patient": {"DICOM": {"PatientID": f"P{number}"}},
        "Study": {"DICOM": {"StudyInstanceUID": uid}, "Series": series},
    }
    place.writer.put(datastore_id, metadata, 1, True, now())


def test_markup_in_names_and_reasons_is_text(place: Place) -> None:
    evil = "</td><script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}"
    place.refuse(1, detail=evil, user=evil)
    place.queue.waits = [waiting(1, studies=(evil,), error=evil, attempts=1, state=WaitingState.AGAIN)]
    note_begin(place.writer.session, RUN, evil[:16], evil, [STORE])
    note_progress(place.writer.session, RUN, evil[:32], 1, 2, begins=True)
    place.writer.note_failure(STORE, "1", evil, at_least=FAILURES)
    text = place.client().get(JOBS).text
    assert "<script>alert" not in text and "<img src=x" not in text and "{{7*7}}" in text
    assert text.count("&lt;script&gt;alert(1)") >= 5


def test_a_part_that_is_away_holds_up_no_other(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    name = place.refuse(1)
    place.queue.is_away = True
    client = place.client()
    answer = client.get(JOBS)
    assert answer.status_code == 200 and "the process that stores does not answer" in answer.text
    assert name in answer.text

    def away(*_: object, **__: object) -> None:
        raise UpstreamBusy("the metadata index does not answer")

    monkeypatch.setattr(Database, "rows", away)
    place.queue.is_away = False
    place.queue.waits = [waiting(7)]
    answer = client.get(JOBS)
    assert answer.status_code == 200 and answer.text.count("the metadata index does not answer") == 2
    assert waiting(7).name in answer.text and "1.7.7<" not in answer.text, "nobody knows whose study it is"
    (place.folder / "spool" / "refused").rename(place.folder / "aside")
    assert "This list cannot be read at the moment: No such file" in client.get(JOBS).text


def test_a_service_that_stores_nothing_has_the_rest(client_of: Callable[..., FlaskClient]) -> None:
    client = client_of()
    client.environ_base["HTTP_ACCEPT"] = "text/html"
    text = client.get(JOBS).text
    assert (
        "takes no store requests" in text and "tables are those of AWS" in text and "Nothing waits to be loaded" in text
    )
    for action in ("cancel-waiting", "retry-refused", "remove-refused", "cancel-run", "cancel-load", "retry-load"):
        assert "No longer there: 1." in act(client, action, "1-1").text


def test_damaged_entries_and_lost_reasons_are_no_error(place: Place) -> None:
    first, second = place.refuse(1), place.refuse(2)
    outcomes_beside(place.spool.layout.refused / first).unlink()
    (place.spool.layout.refused / second).write_bytes(b"{")
    (place.spool.layout.refused / "notes").mkdir()
    text = place.client().get(JOBS).text
    assert "The reason was not kept" in text and first in text and second not in text
