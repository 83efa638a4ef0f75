"""In own tables, an index of the database finds IDs, and beginnings of names and descriptions, in every database."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, Engine, select, text

from db.index_kind import IndexKind, note_kind
from qido.parse.attributes import BY_TAG, SearchAttribute
from qido.parse.conditions import Equal, Like, Match
from qido.plan.sql_conditions import any_of
from qido.plan.tables import key_of, table_of
from tests.servers import engine_of

NAME, PATIENT_ID, DESCRIPTION = BY_TAG["00100010"], BY_TAG["00100020"], BY_TAG["00081030"]


@pytest.fixture(scope="module")
def engine(new_index: Callable[..., str]) -> Iterator[Engine]:
    with engine_of(new_index(IndexKind.OWN)) as engine:
        note_kind(engine.dialect, IndexKind.OWN)
        with engine.begin() as connection:
            fill(connection)
        yield engine


def fill(connection: Connection) -> None:
    """As many patients and studies as make a database look for an index."""
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 900)"
    name = {"sqlite": "'=doe' || x || '^j='"}.get(connection.dialect.name, "CONCAT('=doe', x, '^j=')")
    connection.execute(text("INSERT INTO issuer (issuer_pkey, issuerofpatientid) VALUES (1, '')"))
    patients = f"SELECT x, 1, 'a', x, {name}, {name} FROM n"  # noqa: S608 - names of ours
    into = "INSERT INTO patient (patient_pkey, issuer_pkey, datastoreid, identity, patientid, patientname_folded)"
    connection.execute(text(f"{into} {numbers} {patients}"))
    into = "INSERT INTO study (study_pkey, patient_pkey, datastoreid, studyinstanceuid, studydescription_folded)"
    connection.execute(text(f"{into} {numbers} SELECT x, x, 'a', {name}, {name} FROM n"))  # noqa: S608


def plan(connection: Connection, attribute: SearchAttribute, match: Match) -> str:
    statement = select(key_of(table_of(attribute))).where(any_of(attribute, (match,)))
    compiled = statement.compile(connection, compile_kwargs={"render_postcompile": True})
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    values = compiled.construct_params()
    processed = {
        name: compiled._bind_processors.get(name, lambda value: value)(value) for name, value in values.items()
    }
    parameters = tuple(processed[name] for name in compiled.positiontup or ()) if compiled.positional else processed
    rows = connection.exec_driver_sql(f"{explain} {compiled}", parameters)
    return "\n".join(str(tuple(row)) for row in rows)


@pytest.mark.parametrize(
    ("attribute", "match", "index"),
    [
        (NAME, Like("Doe12*"), "patient_name"),
        (NAME, Like("DOE12^*"), "patient_name"),
        (NAME, Equal("doe77^J"), "patient_name"),
        (PATIENT_ID, Equal("=doe7^j="), "patient_id"),
        (PATIENT_ID, Like("=doe71*"), "patient_id"),
        (DESCRIPTION, Like("=Doe71*"), "study_description"),
        (DESCRIPTION, Equal("=Doe71^J="), "study_description"),
    ],
)
def test_an_index_finds_it(engine: Engine, attribute: SearchAttribute, match: Match, index: str) -> None:
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET enable_seqscan = off"))
        assert index in plan(connection, attribute, match)
