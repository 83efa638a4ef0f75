"""The time of pages of the web console over an index of a million studies, as the web process takes it.

python -m bench.console [--studies 1000000] [--cache FOLDER] [--repeat 9]
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flask.testing import FlaskClient

from ahi.workers.pool import FetcherPool
from app.factory import create_app
from app.services import Services
from app.settings import Settings
from bench.index import DATABASE, index_server
from bench.search import facts, set_indexes
from bench.table import markdown
from db.engine import Database
from tests.servers import MariaDb, engine_of

AIM_MS = 150


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


def rows(server: MariaDb, repeat: int) -> Iterator[tuple[str, str, float, str]]:
    """A row for each page: its name, the time in milliseconds, the aim, and whether it is met."""
    set_indexes(server, present=True)
    with engine_of(server.url(DATABASE)) as engine:
        known = facts(engine)
    known = {**known, "from_day": _day(known["monday"]), "to_day": _day(known["sunday"])}
    database = Database(server.url(DATABASE), statement_timeout_seconds=60)
    try:
        with tempfile.TemporaryDirectory() as folder:
            services = Services.of(Settings(cache_root=Path(folder)), database, FetcherPool([]))
            client = create_app(services).test_client()
            for case in CASES:
                milliseconds = measure(client, case.path.format(**known), repeat)
                yield case.name, f"{milliseconds:,.1f}", AIM_MS, "met" if milliseconds <= AIM_MS else "missed"
    finally:
        database.close()


def _day(digits: str) -> str:
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1_000_000)
    parser.add_argument("--cache", type=Path, help="where the data stay for the next run; else they go with this one")
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args(arguments)
    with index_server(options.studies, options.cache, print) as server:
        print(f"\n{markdown(('page', 'ms', 'aim ms', ''), [*rows(server, options.repeat)])}")


if __name__ == "__main__":
    main()
