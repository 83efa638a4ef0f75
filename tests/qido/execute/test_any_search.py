"""Searches for what at least one of several queries finds, against what each of them finds."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from db.engine import Database
from qido.execute import any_search
from qido.execute.any_search import search_any
from qido.parse.attributes import STUDY_UID, Level
from qido.parse.query import Query, parse_query
from tests.qido.archive import index_alone

JOHN, JANE, CT = [("PatientName", "doe^john")], [("PatientID", "p1")], [("ModalitiesInStudy", "CT")]
NEWEST_FIRST = ["1.2.2", "1.2.4", "1.2.1", "1.2.5", "1.2.3"]


def queries(*alternatives: Sequence[tuple[str, str]], order: str = "", **page: int) -> list[Query]:
    pairs = [("limit", str(page.get("limit", 10))), ("offset", str(page.get("offset", 0))), ("orderby", order)]
    return [parse_query([*keys, *pairs], Level.STUDY, max_results=100) for keys in alternatives]


def found(database: Database, asked: Sequence[Query]) -> list[str]:
    page = search_any(index_alone(database), asked).page
    return [str(one.values[STUDY_UID][0]) for one in page.results]


@pytest.mark.parametrize(
    ("alternatives", "expected"),
    [
        ([JOHN], ["1.2.1"]),
        ([JOHN, JANE], ["1.2.2", "1.2.1"]),
        ([JANE, JOHN], ["1.2.2", "1.2.1"]),
        ([JOHN, CT], ["1.2.4", "1.2.1"]),
        ([JOHN, JOHN, JOHN], ["1.2.1"]),
        ([[], JOHN], NEWEST_FIRST),
        ([[("PatientID", "nobody")], [("PatientName", "nobody")]], []),
    ],
)
def test_each_study_is_found_once_with_the_newest_first(
    sample: Database, alternatives: list[list[tuple[str, str]]], expected: list[str]
) -> None:
    assert found(sample, queries(*alternatives)) == expected
    counted = search_any(index_alone(sample), queries(*alternatives))
    assert (counted.number, counted.exact) == (len(expected), True)


def test_pages_are_parts_of_the_whole(sample: Database) -> None:
    whole = found(sample, queries([], CT))
    pages = [found(sample, queries([], CT, limit=2, offset=offset)) for offset in (0, 2, 4, 6)]
    assert [uid for page in pages for uid in page] == whole == NEWEST_FIRST
    assert pages[-1] == []


def test_the_order_of_the_queries_holds(sample: Database) -> None:
    assert found(sample, queries(JOHN, JANE, order="AccessionNumber")) == ["1.2.1", "1.2.2"]
    assert found(sample, queries(JOHN, JANE, order="-AccessionNumber")) == ["1.2.2", "1.2.1"]


def test_results_have_the_attributes_of_the_queries_and_no_others(sample: Database) -> None:
    asked = [replace(one, returned=(STUDY_UID,)) for one in queries(JOHN, JANE)]
    results = search_any(index_alone(sample), asked).page.results
    assert [set(one.values) for one in results] == [{STUDY_UID}, {STUDY_UID}]


@pytest.mark.parametrize("alternatives", [[[]], [[], CT]])
def test_a_number_that_is_not_counted_to_its_end_is_a_lower_bound(
    sample: Database, monkeypatch: pytest.MonkeyPatch, alternatives: list[list[tuple[str, str]]]
) -> None:
    monkeypatch.setattr(any_search, "COUNT_BOUND", 2)
    counted = search_any(index_alone(sample), queries(*alternatives, limit=1))
    assert not counted.exact and 1 < counted.number <= len(NEWEST_FIRST)
