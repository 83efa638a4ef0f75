"""The time of searches in an index of a million studies: in AWS's tables without and with our indexes, and in own ones.

python -m bench.search [--studies 1000000] [--cache FOLDER] [--repeat 9] [--only SEARCH ...] [--indexed]
"""

import argparse
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from bench.index import DATA_STORES, DATABASE, index_server
from bench.own_index import OWN_DATABASE, make_own
from bench.plans import Statement, recorded, summary
from bench.table import markdown
from db.engine import Database
from db.indexes import WANTED, create_statements, missing_indexes
from db.scope import EVERYTHING, Scope
from tests.qido.archive import client
from tests.servers import MariaDb, engine_of

_PATIENCE_SECONDS = 60
_AS_CREATED, _WITH_INDEXES, _OWN = "as created", "with indexes", "own tables"
_WAYS = (_AS_CREATED, _WITH_INDEXES, _OWN)
_FINDS = re.compile(r"\bLIMIT\b")


@dataclass(frozen=True)
class Case:
    """A search, its aim in milliseconds, and its path; {braces} stand for values of the index."""

    name: str
    aim_ms: float
    path: str
    scope: Scope = EVERYTHING


_MOST, _FEW = (Scope(frozenset({name})) for name in DATA_STORES)  # data stores with 9 and 1 of 10 studies

CASES = (
    Case("PatientID", 5, "/studies?PatientID={patient_id}"),
    Case("AccessionNumber", 5, "/studies?AccessionNumber={accession_number}"),
    Case("StudyInstanceUID", 5, "/studies?StudyInstanceUID={study}"),
    Case("series of a study", 5, "/studies/{study}/series"),
    Case("instances of a series", 5, "/studies/{study}/series/{series}/instances"),
    Case("first page, newest first", 10, "/studies?limit=25"),
    Case("name prefix", 20, "/studies?PatientName=SMITH12*&limit=25"),
    Case("a week", 50, "/studies?StudyDate={monday}-{sunday}&limit=25"),
    Case("a modality", 50, "/studies?ModalitiesInStudy=MR&limit=25"),
    Case("a rare modality", 50, "/studies?ModalitiesInStudy=OPT&limit=25"),
    Case("series of a modality", 50, "/series?Modality=MR&limit=25"),
    Case("series of a rare modality", 50, "/series?Modality=OPT&limit=25"),
    Case("a modality in a week", 50, "/studies?ModalitiesInStudy=MR&StudyDate={monday}-{sunday}&limit=25"),
    Case("a rare modality in a week", 50, "/studies?ModalitiesInStudy=OPT&StudyDate={monday}-{sunday}&limit=25"),
    Case("a common name and a modality", 50, "/studies?PatientName=SMITH*&ModalitiesInStudy=CT&limit=25"),
    Case("a common name in a week", 50, "/studies?PatientName=SMITH*&StudyDate={monday}-{sunday}&limit=25"),
    Case("a word of the description", 50, "/studies?StudyDescription=*thorax*&limit=25"),
    Case("the 401st page", 50, "/studies?limit=25&offset=10000"),
    Case("patients, first page", 50, "/patients?limit=25"),
    Case("series, first page", 50, "/series?limit=25"),
    Case("instances, first page", 50, "/instances?limit=25"),
    Case("first page of a data store", 0, "/studies?limit=25", _MOST),
    Case("first page of a smaller one", 0, "/studies?limit=25", _FEW),
    Case("PatientID in a data store", 0, "/studies?PatientID={patient_id}", _MOST),
    Case("a modality in a data store", 0, "/studies?ModalitiesInStudy=MR&limit=25", _MOST),
    Case("a word that no description has", 0, "/studies?StudyDescription=*zebra*&limit=25"),
)

_FACTS = """
SELECT patientid AS patient_id, accessionnumber AS accession_number, studyinstanceuid AS study,
    seriesinstanceuid AS series,
    DATE_FORMAT(studydate, '%Y%m%d') AS monday, DATE_FORMAT(studydate + INTERVAL 6 DAY, '%Y%m%d') AS sunday
FROM study JOIN patient USING (patient_pkey) JOIN series USING (study_pkey)
WHERE study_pkey > (SELECT MAX(study_pkey) / 2 FROM study) AND accessionnumber <> 'None' AND patientid <> 'NO_PID'
    AND studydate IS NOT NULL ORDER BY study_pkey, series_pkey LIMIT 1
"""


@dataclass(frozen=True)
class SearchResult:
    """The best of several runs, the number of results, and the plan of the database."""

    milliseconds: float
    results: int
    statements: tuple[Statement, ...]


def measure(http: FlaskClient, path: str, repeat: int) -> SearchResult:
    """Request `repeat` times after one that warms, or once if that was slow; the time is that of the whole request.

    The best run is the time of the search; other load on the machine makes the others slower. A search that takes too
    long is cancelled, and counts as infinitely slow.
    """
    started = time.perf_counter()
    with recorded() as statements:
        first = http.get(f"/aetitle{path}")
    if first.status_code == 503:
        return SearchResult(math.inf, 0, tuple(statements))
    if first.status_code != 200:
        raise RuntimeError(f"{path}: {first.status_code} {first.text}")
    times = []
    for _ in range(repeat if time.perf_counter() - started < 1 else 1):
        started = time.perf_counter()
        http.get(f"/aetitle{path}").get_data()
        times.append((time.perf_counter() - started) * 1000)
    return SearchResult(min(times), len(first.get_json()), tuple(statements))


def measure_all(url: str, known: Mapping[str, str], repeat: int, cases: Sequence[Case]) -> list[SearchResult]:
    """Measure searches on the index at `url`; `known` has values of it."""
    database = Database(url, statement_timeout_seconds=_PATIENCE_SECONDS)
    try:
        return [measure(client(database, scope=case.scope), case.path.format(**known), repeat) for case in cases]
    finally:
        database.close()


def facts(engine: Engine) -> dict[str, str]:
    """Values that are in the index, for the paths of `CASES`."""
    with engine.connect() as connection:
        return connection.execute(text(_FACTS)).one()._asdict()


def set_indexes(server: MariaDb, present: bool) -> None:
    """Create or drop our indexes."""
    database = Database(server.url(DATABASE))
    missing = missing_indexes(database)
    database.close()
    there = [wanted for wanted in WANTED if wanted not in missing]
    drop = [f"DROP INDEX {wanted.name} ON {wanted.table}" for wanted in there]
    tables = ", ".join(dict.fromkeys(wanted.table for wanted in WANTED))
    server.execute(
        f"USE {DATABASE}", *(create_statements("mysql", missing) if present else drop), f"ANALYZE TABLE {tables}"
    )


def compare(server: MariaDb, repeat: int, cases: Sequence[Case], ways: Sequence[str]) -> Iterator[str]:
    """The times and plans of searches in these ways."""
    with engine_of(server.url(DATABASE)) as engine:
        known = facts(engine)
    found: list[list[SearchResult]] = []
    plans: list[list[str]] = []
    for way in ways:
        url = server.url(OWN_DATABASE if way == _OWN else DATABASE)
        if way != _OWN:
            set_indexes(server, present=way == _WITH_INDEXES)
        with engine_of(url) as engine:
            found.append(measure_all(url, known, repeat, cases))
            plans.append([_plan(engine, measured) for measured in found[-1]])
    times = [
        (case.name, case.aim_ms or "-", *(one.milliseconds for one in of), of[-1].results, len(of[-1].statements))
        for case, *of in zip(cases, *found, strict=True)
    ]
    yield markdown(("search", "aim ms", *(f"{name}, ms" for name in ways), "results", "statements"), times)
    shown = [(case.name, *of) for case, *of in zip(cases, *plans, strict=True)]
    yield markdown(("search", *(f"plan {name}" for name in ways)), shown)


def _plan(engine: Engine, measured: SearchResult) -> str:
    """The plan of the statement that finds the page; the other statements look up by key."""
    finding = [found for found in measured.statements if _FINDS.search(found.sql)]
    return " / ".join(summary(engine, statement) for statement in finding)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1_000_000)
    parser.add_argument("--cache", type=Path, help="where the data stay for the next run; else they go with this one")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES], help="these searches, by name")
    parser.add_argument("--indexed", action="store_true", help="not without our indexes")
    options = parser.parse_args(arguments)
    cases = [case for case in CASES if not options.only or case.name in options.only]
    ways = _WAYS[1:] if options.indexed else _WAYS
    with index_server(options.studies, options.cache, print) as server:
        make_own(server, print)
        for table in compare(server, options.repeat, cases, ways):
            print(f"\n{table}")


if __name__ == "__main__":
    main()
