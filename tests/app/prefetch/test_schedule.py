"""The PREFETCH rules: what they say, when they are due, and which studies they name."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import insert

from app.prefetch.schedule import PrefetchRule, parse_schedule
from db.engine import Database
from db.schema import issuer, patient, study
from tests.servers import engine_of

TODAY = date(2026, 3, 10)
START = datetime(2026, 3, 10, 12, 0)


@pytest.mark.parametrize(
    ("text", "moment", "due"),
    [
        ("priors:730d@02:00", START, datetime(2026, 3, 11, 2)),
        ("recent:2d@22:30", START, datetime(2026, 3, 10, 22, 30)),
        ("recent:2d@12:00", START, datetime(2026, 3, 11, 12)),
        ("priors:1d@15m", START, START),
        ("priors:1d@15m", START + timedelta(minutes=1), START + timedelta(minutes=15)),
        ("priors:1d@15m", START + timedelta(minutes=31), START + timedelta(minutes=45)),
    ],
)
def test_a_rule_is_due_at_its_time(text: str, moment: datetime, due: datetime) -> None:
    assert PrefetchRule.from_text(text).next_after(moment, start=START) == due


@pytest.mark.parametrize(
    "text", ["priors", "priors:2d", "all:2d@02:00", "priors:2d@25:00", "priors:2d@0m", "priors:-1d@1m"]
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the settings say which variable it is
        parse_schedule(f"recent:2d@22:00, {text}")


@pytest.fixture
def database(index_url: str) -> Database:
    """Patients a and b; the names of studies are those of the patient and of the day before today."""
    studies = {"a": (0, 3, 30, 400), "b": (3, 1)}
    keys = count(1)
    with engine_of(index_url) as engine, engine.begin() as connection:
        connection.execute(insert(issuer).values(issuer_pkey=1, issuerofpatientid=""))
        for number, (name, days) in enumerate(studies.items(), 1):
            connection.execute(insert(patient).values(patient_pkey=number, issuer_pkey=1, patientid=name))
            for day in days:
                connection.execute(
                    insert(study).values(
                        study_pkey=next(keys),
                        patient_pkey=number,
                        studyinstanceuid=f"{name}{day}",
                        studydate=TODAY - timedelta(days=day),
                    )
                )
    return Database(index_url)


@pytest.mark.parametrize(
    ("text", "studies"),
    [
        ("priors:365d@02:00", ["a3", "a30"]),
        ("priors:2d@02:00", []),
        ("recent:0d@02:00", ["a0"]),
        ("recent:2d@02:00", ["a0", "b1"]),
        ("recent:3d@02:00", ["a0", "b1", "b3", "a3"]),
    ],
)
def test_a_rule_names_the_newest_first(database: Database, text: str, studies: list[str]) -> None:
    found = PrefetchRule.from_text(text).studies(database, TODAY)
    database.close()
    assert found == studies


def test_the_index_is_asked_for_a_bounded_number(new_index: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_index()
    with engine_of(url) as engine, engine.begin() as connection:
        connection.execute(insert(issuer).values(issuer_pkey=1, issuerofpatientid=""))
        connection.execute(insert(patient).values(patient_pkey=1, issuer_pkey=1, patientid="a"))
        rows = [{"patient_pkey": 1, "studyinstanceuid": f"1.{number}", "studydate": TODAY} for number in range(20)]
        connection.execute(insert(study), rows)
    monkeypatch.setattr("app.prefetch.schedule.MOST_STUDIES", 7)
    database = Database(url)
    assert len(PrefetchRule.from_text("recent:1d@02:00").studies(database, TODAY)) == 7
    database.close()
