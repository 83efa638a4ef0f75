"""Statements are made once for a shape, which holds nothing that a client wrote."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import pytest
from sqlalchemy.dialects import mysql

from qido.parse.attributes import Level
from qido.parse.query import Query, parse_query
from qido.plan import result_columns, statement_cache, statements


def query(text: str, level: Level = Level.STUDY, study: str | None = None) -> Query:
    return parse_query(parse_qsl(text, keep_blank_values=True), level, study, max_results=100)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(query("PatientID=P1"), query("PatientID=P2"), id="ID"),
        pytest.param(query("StudyInstanceUID=1.2,1.3"), query("StudyInstanceUID=1.4,1.5"), id="UID list"),
        pytest.param(query("StudyInstanceUID=1.2"), query("StudyInstanceUID=1.4,1.5,1.6"), id="number of values"),
        pytest.param(query("ModalitiesInStudy=CT"), query("ModalitiesInStudy=MR"), id="code"),
        pytest.param(query("", Level.SERIES, "1.2"), query("", Level.SERIES, "1.3"), id="path"),
        pytest.param(query("PatientID=P1&what=1"), query("PatientID=P2&x=2&00091002=X"), id="warnings"),
    ],
)
def test_queries_of_one_shape_have_one_statement(one: Query, other: Query) -> None:
    (statement, values), (again, others) = (
        statement_cache.collect_and_sort(one, 9),
        statement_cache.collect_and_sort(other, 9),
    )
    assert statement is again
    assert values.keys() == others.keys()
    assert values != others
    assert statement_cache.columns(one) is statement_cache.columns(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("PatientID=P1", "AccessionNumber=P1", id="attribute"),
        pytest.param("PatientID=P1", "PatientID=P1&limit=7", id="page"),
        pytest.param("PatientID=P1", "PatientID=P1&orderby=StudyID", id="order"),
        pytest.param("PatientID=P1", "PatientID=P*", id="pattern"),
        pytest.param("PatientID=P1", "PatientID=NO_PID", id="text for absent"),
        pytest.param("PatientID=P1", "PatientID=P1&StudyDate=20240101", id="date"),
    ],
)
def test_queries_of_different_shapes_have_different_statements(one: str, other: str) -> None:
    assert (
        statement_cache.collect_and_sort(query(one), 9)[0] is not statement_cache.collect_and_sort(query(other), 9)[0]
    )


def test_what_ids_name_is_asked_for_with_one_statement_whatever_the_page() -> None:
    one, other = query("PatientID=P1&limit=5"), query("PatientID=P2&limit=7&offset=3&count=true")
    named, values = statement_cache.by_identifier(one, 9) or (None, {})
    again, others = statement_cache.by_identifier(other, 9) or (None, {})
    assert named is not None
    assert named is again
    assert values != others
    assert "P1" not in named.statement.compile(dialect=mysql.dialect()).params.values()


@pytest.mark.parametrize(
    ("text", "level", "study"),
    [
        pytest.param("ModalitiesInStudy=CT", Level.STUDY, None, id="what many have"),
        pytest.param("PatientID=P*", Level.STUDY, None, id="pattern"),
        pytest.param("PatientID=P1&StudyDate=20240101-", Level.STUDY, None, id="not IDs alone"),
        pytest.param("PatientID=P1&orderby=StudyID", Level.STUDY, None, id="order of texts"),
        pytest.param("", Level.INSTANCE, "1.2", id="instances, hundreds of them"),
    ],
)
def test_other_searches_are_put_in_order_by_the_database(text: str, level: Level, study: str | None) -> None:
    assert statement_cache.by_identifier(query(text, level, study), 9) is None


@pytest.mark.parametrize(
    "text", ["PatientID=quux", "StudyInstanceUID=8.7.6,8.7.5&AccessionNumber=qu'ux", "PatientID=None"]
)
def test_a_statement_made_once_is_that_of_the_query(text: str) -> None:
    statement, values = statement_cache.collect_and_sort(query(text), 9)
    made = statement.compile(dialect=mysql.dialect())
    usual = statements.collect_and_sort(query(text), 9).compile(dialect=mysql.dialect())
    assert flat(made.construct_params(values)) == flat(usual.params)
    assert not any("qu" in str(value) or "8.7" in str(value) for value in made.params.values())


def flat(parameters: Mapping[str, Any]) -> set[Any]:
    """The values, those of lists each."""
    return {one for value in parameters.values() for one in (value if isinstance(value, list) else [value])}


def test_columns_are_those_of_the_level_and_of_what_is_asked_for() -> None:
    other = query("PatientID=P1&StudyDescription=a")
    assert statement_cache.columns(query("PatientID=P1")) is not statement_cache.columns(other)
    asked = query("PatientID=P1", Level.SERIES)
    assert str(statement_cache.columns(asked)) == str(result_columns.columns(asked))
