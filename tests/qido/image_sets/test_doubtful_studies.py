"""A search among many doubtful rows looks at as many of them as it can check, and not at all."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from sqlalchemy import Executable, Row

from ahi.retrieval.studies import Studies
from db.engine import Database
from db.scope import EVERYTHING, Scope
from qido.image_sets.doubtful_studies import find_doubts
from qido.image_sets.doubts import LEFT_OUT, UNCHECKED
from qido.image_sets.index_checks import IndexChecks
from qido.parse.attributes import Level
from qido.parse.query import parse_query
from tests.qido.archive import Series, Study, index_alone, write

NAMELESS = 600
MOST = 20


class Counting(Database):
    """Counts the rows that it has given."""

    given = 0

    def rows(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        found = super().rows(statement, parameters)
        self.given += len(found)
        return found


@pytest.fixture(scope="module")
def database(new_index: Callable[[], str]) -> Iterator[Counting]:
    """Studies without an ID of the patient: all have the same row of a patient, which is in doubt."""
    url = new_index()
    write(
        url,
        [
            Study(
                f"1.2.{number}",
                {"patientid": "None", "patientname": "Last^One"},
                {"accessionnumber": "FEW" if number < MOST else "MANY"},
                (Series(f"1.2.{number}.1", datastores=("store",)),),
            )
            for number in range(NAMELESS)
        ],
    )
    database = Counting(url)
    yield database
    database.close()


@pytest.mark.parametrize("scope", [EVERYTHING, Scope(frozenset({"store"}))], ids=["everything", "a data store"])
@pytest.mark.parametrize(("accession_number", "all_checked"), [("FEW", True), ("MANY", False)])
def test_what_cannot_be_checked_is_told_or_left_out(
    database: Counting, scope: Scope, accession_number: str, all_checked: bool
) -> None:
    archive = index_alone(database)
    archive = replace(archive, max_image_sets=MOST, checks=IndexChecks(database, cast(Studies, None)))
    query = parse_query([("AccessionNumber", accession_number)], Level.STUDY, max_results=10, scope=scope)
    database.given = 0
    doubts = find_doubts(archive, query)
    assert doubts and len(doubts.blank) == 1
    warning = UNCHECKED if scope is EVERYTHING else LEFT_OUT
    assert doubts.warnings == (() if all_checked else (warning,))
    if scope is EVERYTHING:
        assert len(doubts.hidden.studies) == MOST
        assert database.given < 5 * MOST  # without that bound, all 580 doubtful rows and more
    else:
        assert len(doubts.hidden.studies) == (MOST if all_checked else NAMELESS - MOST)
