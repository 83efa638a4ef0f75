"""Statements are made without a database."""

from urllib.parse import parse_qsl

import pytest
from sqlalchemy import Dialect
from sqlalchemy.dialects import mysql, postgresql, sqlite

from qido.parse.attributes import ATTRIBUTES, Level, Matching, SearchAttribute
from qido.parse.query import parse_query
from qido.plan import statements

VALUES = {
    Matching.UID: "8.7.6.5",
    Matching.DATE: "18761005",
    Matching.TIME: "070605",
    Matching.NUMBER: "87654321",
}


DIALECTS: list[Dialect] = [mysql.dialect(), postgresql.dialect(), sqlite.dialect()]  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda of: of.name)
@pytest.mark.parametrize(
    "attribute", [of for of in ATTRIBUTES if of.matching is not Matching.NONE], ids=lambda of: of.keyword
)
def test_what_a_client_sent_is_a_bound_parameter(attribute: SearchAttribute, dialect: Dialect) -> None:
    for text in ("q'uux*", "q'uux") if attribute.matching not in VALUES else (VALUES[attribute.matching],):
        parameters = ((attribute.tag, text), ("limit", "8765"), ("offset", "9876"))
        query = parse_query(parameters, Level.INSTANCE, "1.2345.6", max_results=10_000)
        for statement in (
            statements.collect_and_sort(query, 9),
            statements.sort_all(query),
            statements.count_further(query, 5),
        ):
            sql = str(statement.compile(dialect=dialect))
            assert attribute.column in sql or "modality" in sql
            assert not any(sent in sql for sent in ("uux", "876", "8.7.6", "07:06", "1.2345", "9876"))


def test_matches_are_looked_for_in_no_table_that_is_not_needed() -> None:
    query = parse_query([("StudyDate", "20240101")], Level.STUDY, max_results=10)
    assert "JOIN" not in str(statements.sort_all(query))
    query = parse_query([("PatientID", "P1")], Level.STUDY, max_results=10)
    assert str(statements.sort_all(query)).count("JOIN") == 1
    for level, joins in ((Level.STUDY, 0), (Level.SERIES, 1), (Level.INSTANCE, 3)):
        query = parse_query([("ModalitiesInStudy", "CT")], level, max_results=10)
        assert str(statements.count_further(query, 5)).count("JOIN") == joins


OF_CT = "ModalitiesInStudy=CT&limit=25"


@pytest.mark.parametrize(
    ("level", "text", "found", "expected"),
    [
        pytest.param(Level.STUDY, "", [], [], id="the newest studies themselves"),
        pytest.param(Level.SERIES, "limit=25", [0], [26], id="each study has a series, so 26 are enough"),
        pytest.param(Level.STUDY, OF_CT, [0, 0, 0], [200, 2_000, 20_000], id="few first, then more"),
        pytest.param(Level.STUDY, OF_CT, [6, 20, 25], [200, 1_300, 2_600, 5_200], id="as common"),
        pytest.param(Level.STUDY, OF_CT, [25, 25, 25], [200, 400, 800, 1_600], id="nearly a page"),
        pytest.param(Level.STUDY, "PatientID=1&offset=3000&limit=25", [0], [20_000], id="a page beyond the few"),
        pytest.param(
            Level.STUDY, "PatientID=1&offset=1000&limit=25", [1_010], [2_000, 4_000], id="with what is before"
        ),
        pytest.param(Level.STUDY, "PatientID=1&offset=30000&limit=25", [], [], id="a page beyond both"),
        pytest.param(Level.STUDY, "PatientID=1&orderby=StudyID", [], [], id="another order"),
        pytest.param(Level.PATIENT, "PatientID=1", [], [], id="patients"),
    ],
)
def test_how_many_of_the_newest_studies_are_looked_at(
    level: Level, text: str, found: list[int], expected: list[int]
) -> None:
    query = parse_query(parse_qsl(text), level, max_results=100)
    windows = [statements.next_window(query)]
    for number in found:
        windows.append(statements.next_window(query, windows[-1] or 0, number))
    assert [window for window in windows if window] == expected
