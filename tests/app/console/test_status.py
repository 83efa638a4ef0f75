"""The status page: what it tells, to whom, and that it waits for nothing."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from app.check_result import ERROR, OK, WARNING, CheckResult
from app.console import status_charts
from app.console.status import INDEX_CHECKS
from app.console.status_charts import HEIGHT, WIDTH, draw, path, quantile, round_up, written
from app.factory import create_app
from app.service_status import ServiceStatus
from app.services import Monitoring, Services
from app.telemetry.history import INTERVAL_SECONDS, Sample
from app.telemetry.replacements import ProcessKind, Reason
from app.telemetry.request_metrics import BUCKETS_SECONDS, RequestMetrics
from runtime.outage import Outage
from runtime.shared_metrics import Metric, SharedMetrics
from tests.app.auth.users import ANNA, write_users
from tests.bare_services import bare_services

BROWSER = {"Accept": "text/html"}
PAGE = "/console/status"
SECRETS = {
    "link_secret": "link-secret-0123456789-0123456789-0123",
    "session_secret": "session-secret-0123456789-0123456789",
    "database_url": "mysql+pymysql://user:pass-word@db.example/index",
    "index_write_url": "mysql+pymysql://writer:other-word@db.example/index",
}
Clients = Callable[..., FlaskClient]


@pytest.fixture
def status() -> ServiceStatus:
    return ServiceStatus(SharedMetrics(2), RequestMetrics(1), Outage("index"), Outage("AHI"), Outage("traces"))


@pytest.fixture
def client_of(status: ServiceStatus, tmp_path: Path) -> Clients:
    """Makes clients of a service with these settings and this status."""

    def make(**settings: Any) -> FlaskClient:
        services: Services = bare_services(cache_root=tmp_path, **settings)
        return create_app(replace(services, monitoring=Monitoring(status=status))).test_client()

    return make


def rows(text: str) -> dict[str, list[str]]:
    """The cells of all rows by the first one, without markup."""
    found = [
        [re.sub(r"<[^>]*>", " ", cell).strip() for cell in re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    ]
    return {cells[0]: cells[1:] for cells in found if cells}


def ask(client: FlaskClient, **headers: str) -> int:
    """Ask for a check with the form of the page; the status."""
    token = re.findall(r'name="csrf" value="(\w+)"', client.get(PAGE, headers={**BROWSER, **headers}).text)[0]
    return client.post(f"{PAGE}/check?hours=24", data={"csrf": token}, headers={**BROWSER, **headers}).status_code


def test_every_part_is_told_from_what_the_processes_noted(client_of: Clients, status: ServiceStatus) -> None:
    counted = [status.counters.process_metrics(number) for number in range(2)]
    for one in counted:
        one.add(Metric.JOBS_DONE, 700)
        one.set(Metric.CLIENT_CONNECTIONS, 3)
    status.replacements.count(ProcessKind.WEB, Reason.HUNG)
    found = rows(client_of(web_processes=2, frame_fetchers=3).get(PAGE, headers=BROWSER).text)
    assert found["Service"][1] == "2 web processes, 6 open connections of clients"
    assert found["Metadata index"] == ["Good", "sqlite, 0 of 17 connections in use"]
    assert found["Fetchers"][1].startswith("3 processes, 0 jobs run") and "1,400 done" in found["Fetchers"][1]
    assert found["Replaced processes"] == ["Look at it", "web: 1 hung"]
    assert found["Audit trail"] == ["Off", "accesses are not recorded"]
    assert "Store requests" not in found


def test_an_outage_is_told_with_its_length(client_of: Clients, status: ServiceStatus) -> None:
    client = client_of()
    for outage in (status.index_outage, status.ahi_outage, status.traces_outage):
        assert outage
        outage.begins("gone")
    found = rows(client.get(PAGE, headers=BROWSER).text)
    for name in ("Metadata index", "AWS HealthImaging", "Traces"):
        assert re.fullmatch(r"Does not answer for \d+ s", found[name][0])


@pytest.mark.parametrize(
    ("metric", "row", "state"),
    [
        (Metric.SPOOL_UNREADABLE, "Store requests", "The spool cannot be read"),
        (Metric.SPOOL_AGE_SECONDS, "Store requests", "Look at it"),
        (Metric.SPOOL_REFUSED, "Store requests", "Look at it"),
        (Metric.AUDIT_FAILING, "Audit trail", "Cannot be written"),
    ],
)
def test_trouble_of_any_process_is_told(
    client_of: Clients, status: ServiceStatus, metric: Metric, row: str, state: str
) -> None:
    client = client_of(store=True, audit="stdout")
    assert rows(client.get(PAGE, headers=BROWSER).text)[row][0] == "Good"
    status.counters.process_metrics(1).set(metric, 10_000)
    assert rows(client.get(PAGE, headers=BROWSER).text)[row][0] == state


def test_a_cache_whose_disk_is_full_or_gone_is_told(client_of: Clients, tmp_path: Path) -> None:
    full = client_of(cache_min_free_bytes=2**62).get(PAGE, headers=BROWSER)
    assert rows(full.text)["Cache"][0] == "The disk is full"
    gone = client_of()
    tmp_path.rmdir()
    assert rows(gone.get(PAGE, headers=BROWSER).text)["Cache"][0] == "The folder cannot be read"


def test_no_setting_that_is_secret_is_shown(client_of: Clients) -> None:
    client = client_of(**SECRETS, aws_default_region="us-east-1")
    text = client.get(PAGE, headers=BROWSER).text
    assert [value for value in (*SECRETS.values(), "pass-word", "other-word") if value in text] == []


@pytest.mark.parametrize("rights", [["read", "store", "share", "delete"], ["read", "operate"]])
def test_operators_alone_see_it_and_ask_for_a_check(
    client_of: Clients, status: ServiceStatus, tmp_path: Path, rights: list[str]
) -> None:
    (tmp_path / "rules").write_text(f'[{{"name": "anna", "rights": {rights!r}}}]'.replace("'", '"'))
    client = client_of(auth=("basic",), auth_users_file=write_users(tmp_path), access_rules=tmp_path / "rules")
    may = "operate" in rights
    headers = {**BROWSER, **ANNA}
    assert client.get(PAGE, headers=BROWSER).status_code == 303
    assert client.get(PAGE, headers=headers).status_code == (200 if may else 403)
    work_list = client.get("/console/", headers=headers).text
    assert ('href="/console/status"' in work_list) == may
    token = re.findall(r'"X-CSRF-Token": "(\w+)"', work_list)[0]
    asked = client.post(f"{PAGE}/check", data={"csrf": token}, headers=headers)
    assert asked.status_code == (303 if may else 403)
    assert status.check.is_asked() == may


def test_a_forged_form_starts_no_check(client_of: Clients, status: ServiceStatus) -> None:
    client = client_of()
    assert client.post(f"{PAGE}/check", data={"csrf": "0" * 64}, headers=BROWSER).status_code == 403
    assert client.get(f"{PAGE}/check", headers=BROWSER).status_code == 405
    assert not status.check.is_asked()


def test_a_check_from_the_click_to_its_results(client_of: Clients, status: ServiceStatus) -> None:
    client, board = client_of(), status.check
    assert "has not been checked since its start" in client.get(PAGE, headers=BROWSER).text
    assert ask(client) == 303
    text = client.get(PAGE, headers=BROWSER).text
    assert "The check runs" in text and " disabled>" in text and "every 2s" in text
    board.note_begin()
    board.publish(
        [
            CheckResult("cache", WARNING, "<b>full</b>", "make room"),
            CheckResult("follower", ERROR, "never ran", "run it"),
            CheckResult("AHI", OK, "answers"),
        ]
    )
    board.note_end()
    text = client.get(PAGE, headers=BROWSER).text
    assert re.search(r"Checked \d+ s ago\. Errors: 1\. Warnings: 1", text) and "every 30s" in text
    service, index = text.partition("Index against AHI</h3>")[::2]
    assert "&lt;b&gt;full&lt;/b&gt;" in service and "make room" in service and "never ran" not in service
    assert "never ran" in index and "<b>full" not in text
    ask(client)
    board.note_begin()
    board.note_end()
    text = client.get(PAGE, headers=BROWSER).text
    assert "ended without a result" in text and "never ran" in text


def test_htmx_gets_the_changing_part_alone(client_of: Clients, status: ServiceStatus) -> None:
    client = client_of()
    answer = client.get(f"{PAGE}?hours=1", headers={**BROWSER, "HX-Request": "true"})
    assert "<html" not in answer.text and answer.text.lstrip().startswith('<div id="status"')
    assert "HX-Request" in answer.headers["Vary"]
    status.check.note_begin()
    status.check.publish([CheckResult("AHI", OK, "answers")])
    status.check.note_end()
    answer = client.get(PAGE, headers={**BROWSER, "HX-Request": "true"})
    assert "all is well" in answer.text.partition('id="messages"')[2], "a screen reader says it"


@pytest.mark.parametrize(("hours", "code"), [("1", 200), ("6", 200), ("24", 200), ("2", 400), ("", 400), ("x", 400)])
def test_charts_have_the_ranges_that_are_offered(client_of: Clients, hours: str, code: int) -> None:
    client = client_of()
    assert client.get(f"{PAGE}?hours={hours}", headers=BROWSER).status_code == code


def test_charts_show_what_was_counted(client_of: Clients, status: ServiceStatus) -> None:
    now = time.monotonic()
    for number in range(20):
        at, hits, misses = now - (20 - number) * INTERVAL_SECONDS, number * 75, number * 25
        sample = Sample(at, requests=number * 60, ahi_calls=number * 300, cache_hits=hits, cache_misses=misses)
        status.history.add(sample)
    text = client_of().get(f"{PAGE}?hours=1", headers=BROWSER).text
    assert text.count('role="img"') == 4 and " style=" not in text
    numbers = [found for found in re.findall(r'<td class="number">(.*?)</td>', text)]
    assert {"2", "10", "75"} <= set(numbers)
    assert not [one for one in numbers if one.startswith("-")]


def test_the_names_of_index_checks_are_those_of_the_check() -> None:
    root = Path(__file__).parents[3] / "app" / "commands"
    source = "".join(file.read_text() for file in root.glob("check*.py"))
    assert [name for name in INDEX_CHECKS if f'"{name}"' not in source] == []


SAMPLES = st.lists(
    st.builds(
        Sample,
        st.integers(0, 10**5),
        *(st.integers(0, 2**40),) * 6,
        st.tuples(*(st.integers(0, 2**40),) * (len(BUCKETS_SECONDS) + 1)),
    ),
    max_size=20,
)


@settings(max_examples=60)
@given(samples=SAMPLES, hours=st.sampled_from([1, 6, 24]))
def test_lines_stay_within_their_chart_whatever_was_reset(samples: list[Sample], hours: int) -> None:
    ordered = sorted(samples, key=lambda sample: sample.at)
    for chart in draw(ordered, 1e5, hours * 3600.0):
        assert len(chart.rows) <= 14
        assert not [value for row in chart.rows for value in row.values if value.startswith("-")]
        for line in chart.lines:
            for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", line.path):
                assert 0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT


@pytest.mark.parametrize(
    ("numbers", "half", "most"),
    [
        ((), None, None),
        ((0, 10), 0.0075, 0.00975),
        ((10, 0, 10), 0.005, 0.0235),
        ((*(0,) * 12, 4), 30.0, 30.0),
        ((1,), 0.0025, 0.00475),
    ],
)
def test_a_share_of_requests_is_found_in_its_bucket(
    numbers: tuple[int, ...], half: float | None, most: float | None
) -> None:
    by_bucket = (*numbers, *(0,) * (len(BUCKETS_SECONDS) + 1 - len(numbers)))
    for share, expected in ((0.5, half), (0.95, most)):
        found = quantile(by_bucket, share)
        assert found == (None if expected is None else pytest.approx(expected))


@given(by_bucket=st.tuples(*(st.integers(0, 2**50),) * (len(BUCKETS_SECONDS) + 1)))
def test_a_larger_share_takes_longer(by_bucket: tuple[int, ...]) -> None:
    half, most = quantile(by_bucket, 0.5), quantile(by_bucket, 0.95)
    assert (half is None) == (sum(by_bucket) == 0)
    if half is not None and most is not None:
        assert 0 < half <= most <= BUCKETS_SECONDS[-1]


def test_a_line_breaks_where_nothing_is_known() -> None:
    points = [(-1.0, 1.0), (-0.5, 0.0), (-0.4, None), (-0.2, 2.0), (-0.1, None)]
    assert path(points, 2.0) == "M0.0,50.0 L300.0,100.0 M480.0,0.0 h0"
    assert path([], 1.0) == ""


@given(value=st.floats(0, 1e12))
def test_a_scale_ends_at_a_round_number_above_all_values(value: float) -> None:
    top = round_up(value)
    assert top >= value and top >= 1 and (top <= 2.5 * value or top == 1)
    assert f"{top:.0f}".rstrip("0") in ("1", "2", "5")


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.0, "0"), (0.123, "0.12"), (12.34, "12.3"), (1234.5, "1,234"), (5.0, "5")]
)
def test_numbers_have_the_digits_that_tell_something(value: float | None, text: str) -> None:
    assert written(value) == text


def test_every_chart_has_its_texts(client_of: Clients) -> None:
    names = [name for measure in status_charts.MEASURES for name in (measure.heading, *measure.lines)]
    assert len(names) == len(set(names)) and all(name.startswith("status_") for name in names)
