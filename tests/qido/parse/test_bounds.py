"""What a search may ask for is bounded, and the answer names the bound; a thousand UIDs are within all of them."""

from collections.abc import Callable
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from qido.parse import bounds
from qido.parse.bounds import BOUNDS, Bound

LISTS = "multiplevaluematching=true&"


def values(keyword: str, value: str) -> Callable[[int], str]:
    return lambda number: f"{LISTS}{keyword}=" + "%5C".join([value] * number)


AT: dict[Bound, Callable[[int], str]] = {  # a search that has so many of it
    bounds.QUERY_BYTES: lambda number: "x=".ljust(number, "y"),
    bounds.PARAMETERS: lambda number: "&".join(["x="] * number),
    bounds.KEYS: lambda number: "&".join(f"0009{at:04X}=a" for at in range(0x1001, 0x1001 + number)),
    bounds.VALUES: values("PatientID", "a"),
    bounds.PATTERNS: values("PatientID", "a*"),
    bounds.WORDS: lambda number: "fuzzymatching=true&PatientName=" + "+".join(f"x{at}" for at in range(number)),
    bounds.CHARACTERS: lambda number: "PatientID=" + "a" * number,
    bounds.INCLUDED: lambda number: "includefield=" + ",".join(["StudyDescription"] * number),
    bounds.ORDERED: lambda number: "orderby=" + ",".join(["StudyID"] * number),
    bounds.DEPTH: lambda number: "includefield=" + ".".join(["00081111"] * number),
}


def test_every_bound_is_tried() -> None:
    assert set(AT) == set(BOUNDS)


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.what[:30])
def test_what_is_at_a_bound_is_answered_and_what_is_beyond_is_not(archive: FlaskClient, bound: Bound) -> None:
    assert archive.get(f"/aetitle/studies?{AT[bound](bound.most)}").status_code == 200
    answer = archive.get(f"/aetitle/studies?{AT[bound](bound.most + 1)}")
    assert answer.status_code == 400
    assert str(bound.most) in answer.get_data(as_text=True)


@pytest.mark.parametrize("keyword", ["PatientName", "StudyDescription", "AccessionNumber", "ModalitiesInStudy"])
@pytest.mark.parametrize("pattern", ["*{}*", "{}^*", "?{}"])
@pytest.mark.parametrize("level", ["patients", "studies", "series", "instances"])
@pytest.mark.slow
def test_every_database_takes_what_is_within_the_bounds(
    archive: FlaskClient, keyword: str, pattern: str, level: str
) -> None:
    texts = "\\".join(pattern.format(number) for number in range(bounds.PATTERNS.most))
    answer = archive.get(f"/aetitle/{level}?{LISTS}{keyword}={quote(texts)}")
    expected = 400 if keyword == "ModalitiesInStudy" and level == "patients" and answer.status_code == 400 else 200
    assert answer.status_code == expected, answer.get_data(as_text=True)


@pytest.mark.parametrize("level", ["studies", "series", "instances"])
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_thousand_uids_are_answered(archive: FlaskClient, level: str, keyword: str) -> None:
    uids = ",".join(f"1.2.840.113619.2.55.{number}" for number in range(1000))
    if keyword == "SeriesInstanceUID" and level == "studies":
        pytest.skip("a key of a lower level is ignored")
    answer = archive.get(f"/aetitle/{level}?{keyword}={uids}")
    assert (answer.status_code, answer.get_json()) == (200, [])
