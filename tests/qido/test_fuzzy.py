"""Fuzzy semantic matching of names (PS3.18 Section 8.3.4.2, PS3.4 Section C.2.2.2.1), as doc/conformance.md has it."""

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from db.engine import Database
from tests.qido.archive import Study, client, write

NAMES = (
    "Meyer^Jörg",
    "MAIER^Sophie",
    "Meier-Schmidt^Anna Lena",
    "Schmitt^Karl^^Dr.",
    "Robert^Rupert",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "None",
    "O'Brien^Sean",
    "Müller^Ärztin",
    "Moler^Ann",
)


@pytest.fixture(scope="module")
def names(new_tables: Callable[[], str]) -> Iterator[FlaskClient]:
    url = new_tables()
    patients = ({"patientid": f"P{n}", "patientname": name} for n, name in enumerate(NAMES))
    write(url, [Study(f"1.{n}", patient) for n, patient in enumerate(patients)])
    database = Database(url)
    yield client(database)
    database.close()


def found(names: FlaskClient, value: str, fuzzy: str = "true") -> set[int]:
    response = names.get(f"/aetitle/studies?fuzzymatching={fuzzy}&PatientName={quote(value)}")
    assert response.status_code == 200, response.get_data(as_text=True)
    assert "Warning" not in response.headers
    return {int(result["0020000D"]["Value"][0].partition(".")[2]) for result in response.get_json(force=True)}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("meyer", {0, 1, 2}),  # by sound
        ("Mayr", {0, 1, 2}),
        ("Mei", {2}),  # by the beginning
        ("jorg", {0}),  # whatever the accents
        ("JÖRG", {0}),
        ("jorg meyer", {0}),  # in any order
        ("Meyer, Jörg", {0}),
        ("Meyer^J*", {0}),
        ("*smid*", {2, 3}),
        ("schmidt lena", {2}),  # words within a component
        ("rupert", {4}),
        ("rubbert", {4}),
        ("山", {5}),  # in any group, in scripts without classes by the beginning only
        ("田", set()),
        ("やまだ tarou", {5}),
        ("muller", {8, 9}),
        ("o'br", {7}),
        ("none", set()),
        ("*e?er*", {0, 2}),  # literally
        ("meyer sophie anna", set()),
        ("x.*", set()),
        ("(", set()),
    ],
)
def test_a_name_is_found_by_beginnings_and_sounds(names: FlaskClient, value: str, expected: set[int]) -> None:
    assert found(names, value) == expected


@pytest.mark.parametrize("value", ["meyer*", "*er*", "M?*", "Meyer^Jörg", "=山田*", "*Schmidt*", "*^S*"])
def test_fuzzy_matching_loses_nothing(names: FlaskClient, value: str) -> None:
    assert found(names, value, fuzzy="false") <= found(names, value)


def test_only_names_are_matched_so(names: FlaskClient) -> None:
    response = names.get("/aetitle/studies?fuzzymatching=true&PatientID=p")
    assert response.get_json(force=True) == []
