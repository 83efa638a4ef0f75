"""The time of pages of the web console over an index of a million studies, as the web process takes it.

python -m bench.console [--studies 1000000] [--cache FOLDER] [--repeat 9]
python -m bench.console --traffic [--small]           its cost for image traffic, in frames each second
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from flask.testing import FlaskClient

from ahi.workers.pool import FetcherPool
from app.audit.event import Event, EventKind
from app.audit.message import Source
from app.check_result import OK, CheckResult
from app.factory import create_app
from app.service_status import ServiceStatus
from app.services import Monitoring, Services
from app.settings import Settings
from app.telemetry.history import INTERVAL_SECONDS, Sample
from app.telemetry.request_metrics import RequestMetrics
from bench import traffic
from bench.full_spool import full_spool
from bench.index import DATABASE, index_server
from bench.search import facts, set_indexes
from bench.table import markdown
from bench.workload import Size
from db.engine import Database
from db.share_links import SharedLink
from runtime.outage import Outage
from runtime.shared_metrics import SharedMetrics
from tests.servers import MariaDb, engine_of

AIM_MS = 150
_WEB_PROCESSES, _RESOURCES, _RESULTS = 8, 60, 60
_BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
_MINUTES = 365 * 24 * 60


@dataclass(frozen=True)
class Case:
    """A page, and its path; {braces} stand for values of the index."""

    name: str
    path: str


CASES = (
    Case("work list, newest first", "/console/"),
    Case("work list, 100 rows", "/console/?size=100"),
    Case("work list, page 100", "/console/?page=100"),
    Case("work list, sorted by name", "/console/?sort=name"),
    Case("text: a family name", "/console/?q=smith"),
    Case("text: a name", "/console/?q=smith12 anna"),
    Case("text: an ID", "/console/?q={patient_id}"),
    Case("text: a given name", "/console/?q=anna"),
    Case("text: a name that nobody has", "/console/?q=zebra"),
    Case("text: a name, page 10", "/console/?q=smith&page=10"),
    Case("a given name and a modality", "/console/?name=anna&modality=MR"),
    Case("a week", "/console/?from={from_day}&to={to_day}"),
    Case("a week, sorted by name", "/console/?from={from_day}&to={to_day}&sort=name"),
    Case("a modality", "/console/?modality=MR"),
    Case("a family name and a modality", "/console/?name=smith&modality=CT"),
    Case("a word of the description", "/console/?description=thorax"),
    Case("an accession number", "/console/?accession={accession_number}"),
    Case("a study", "/console/aetitle/studies/{study}"),
    Case("a series", "/console/aetitle/studies/{study}/series/{series}"),
    Case("jobs, 200 requests wait and 200 were refused", "/console/jobs"),
    Case("jobs, page 9", "/console/jobs?waiting=9&refused=9"),
    Case("status, charts of a day", "/console/status?hours=24"),
    Case("access, with 1,000 share links", "/console/access"),
    Case("audit trail", "/console/access/audit"),
    Case("audit trail: a user who is not there", "/console/access/audit?user=nobody"),
    Case("audit trail: a day of all in it", "/console/access/audit?from=2026-03-01&to=2026-03-02&action=query"),
)


def measure(client: FlaskClient, path: str, repeat: int) -> float:
    """The best time of `repeat` requests after one that warms, in milliseconds."""
    times = []
    for _ in range(repeat + 1):
        started = time.perf_counter()
        answer = client.get(path, headers={"Accept": "text/html"})
        answer.get_data()
        times.append((time.perf_counter() - started) * 1000)
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")
    return min(times[1:])


def busy_status() -> ServiceStatus:
    """The status of a service of eight web processes after a day: each counter is used, and a check has ended."""
    requests = RequestMetrics(2 * _WEB_PROCESSES)
    status = ServiceStatus(SharedMetrics(4 * _WEB_PROCESSES), requests, Outage("index"), Outage("AHI"))
    for process in range(2 * _WEB_PROCESSES):
        counted = requests.of_process(process)
        for resource in range(_RESOURCES):
            counted.add(f"/resource/{resource}", 200, 0.01)
    now = time.monotonic()
    for number in range(status.history.most):
        at = now - (status.history.most - number) * INTERVAL_SECONDS
        status.history.add(Sample(at, requests=number, ahi_calls=number, cache_hits=number))
    status.check.publish([CheckResult(f"check {number}", OK, "it is well" * 10) for number in range(_RESULTS)])
    return status


def rows(server: MariaDb, repeat: int) -> Iterator[tuple[str, str, float, str]]:
    """A row for each page: its name, the time in milliseconds, the aim, and whether it is met."""
    set_indexes(server, present=True)
    with engine_of(server.url(DATABASE)) as engine:
        known = facts(engine)
    known = {**known, "from_day": _day(known["monday"]), "to_day": _day(known["sunday"])}
    database = Database(server.url(DATABASE), statement_timeout_seconds=60)
    try:
        with tempfile.TemporaryDirectory() as folder, full_spool(Path(folder) / "spool", known["study"]) as forwarder:
            monitoring = Monitoring(status=busy_status())
            trail = Path(folder) / "audit.xml"
            write_trail(trail)
            settings = Settings(cache_root=Path(folder), audit="file", audit_file=trail, link_secret="s" * 32)
            settings = replace(settings, spool_root=Path(folder) / "spool")
            services = Services.of(settings, database, FetcherPool([]), monitoring, forwarder=forwarder)
            note_links(services)
            client = create_app(services).test_client()
            for case in CASES:
                milliseconds = measure(client, case.path.format(**known), repeat)
                yield case.name, f"{milliseconds:,.1f}", AIM_MS, "met" if milliseconds <= AIM_MS else "missed"
    finally:
        database.close()


def write_trail(path: Path) -> None:
    """Write an audit trail of some hundred MB: a message every minute of a year."""
    event = Event(EventKind.ACCESS, 200, user="basic:anna", study_instance_uid="1.2.3", at=_BEGIN)
    line, moment = Source("bench").xml(event, "P1") + b"\n", _BEGIN.isoformat("T", "milliseconds")[:23].encode()
    before, after = line.split(moment)
    with path.open("wb") as file:
        for minute in range(_MINUTES):
            at = (_BEGIN + timedelta(minutes=minute)).isoformat("T", "milliseconds")[:23].encode()
            file.write(before + at + after)


def note_links(services: Services) -> None:
    """Note 1,000 share links in force."""
    for number in range(1000):
        link = SharedLink(f"{number:032x}", "basic:anna", f"1.2.{number}", number, 2**33)
        services.session_state.share_links.note(link, time.time())


def _day(digits: str) -> str:
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1_000_000)
    parser.add_argument("--cache", type=Path, help="where the data stay for the next run; else they go with this one")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--traffic", action="store_true", help="measure the cost for image traffic instead")
    parser.add_argument("--rounds", type=int, default=traffic.ROUNDS, help="with --traffic: rounds of each service")
    parser.add_argument("--seconds", type=int, default=traffic.SECONDS, help="with --traffic: seconds of a round")
    parser.add_argument("--small", action="store_true", help="with --traffic: small images, to try the command")
    options = parser.parse_args(arguments)
    if options.traffic:
        size = Size.small() if options.small else Size()
        found = traffic.measure(size, options.rounds, options.seconds)
        print(f"\n{markdown(traffic.HEADER, [found.row()])}")
        return
    with index_server(options.studies, options.cache, print) as server:
        print(f"\n{markdown(('page', 'ms', 'aim ms', ''), [*rows(server, options.repeat)])}")


if __name__ == "__main__":
    main()
