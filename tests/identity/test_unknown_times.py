"""The writer of AWS's tables loses times with a fraction: image sets decide whether a study is of a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app.ae_titles import parse_ae_titles
from app.factory import create_app
from app.services import Services
from app.settings import Settings
from datastore.index.filler import IndexFiller
from db.engine import Database
from qido.image_sets.doubts import AT_ANY_TIME
from tests.identity.archive import STORES, HereFetchers, ImageSet, Memory, Patient

TIMES = {
    "1.1": "101500",  # the index has it
    "1.2": "101500.25",  # lost, and asked for
    "1.3": "111111.5",  # lost, and another time
    "1.4": None,  # there is none
    "1.5": "120000",  # the index has it
    "1.6": "235959.5",
}
IMAGE_SETS = [
    ImageSet(number, STORES[number % 2], Patient(f"P{number}", "A^B"), study, f"{study}.1", "CT", "Knee",
             ((f"{study}.1.1", number),), study_time=time)
    for number, (study, time) in enumerate(TIMES.items(), start=1)
]  # fmt: skip
FIRST = {one.study for one in IMAGE_SETS if one.store == STORES[0]}
TITLES = parse_ae_titles(f'{{"first": {{"datastores": ["{STORES[0]}"]}}}}')


@pytest.fixture(params=["mariadb", "postgresql", "sqlite"])
def index(request: pytest.FixtureRequest) -> Iterator[Database]:
    url = request.getfixturevalue(request.param).new_index()
    filler = IndexFiller(url)
    for one in IMAGE_SETS:
        filler.put(one.store, one.metadata())
    filler.close()
    database = Database(url)
    yield database
    database.close()


def client(index: Database, folder: Path, most: int) -> FlaskClient:
    made = Settings(cache_root=folder, dcm4chee_paths=False, ae_titles=TITLES, search_max_image_sets=most)
    memory = Memory({one.key: one for one in IMAGE_SETS})
    return create_app(Services.of(made, index, HereFetchers(memory, folder))).test_client()


CASES = [
    ("StudyTime=101500", {"1.1", "1.2"}),
    ("StudyTime=10", {"1.1", "1.2"}),
    ("StudyTime=101500.25", {"1.2"}),
    ("StudyTime=101500.3", set()),
    ("StudyTime=11-", {"1.3", "1.5", "1.6"}),
    ("StudyTime=2300-1016", {"1.1", "1.2", "1.6"}),
    ("StudyDate=20240101-20240102&StudyTime=1100-", {"1.3", "1.5", "1.6"}),
    ("StudyDate=20231231-20240102&StudyTime=1100-1200", {*TIMES}),  # all day
    ("emptyvaluematching=true&StudyTime=%22%22", {"1.4"}),
    ("StudyTime=101500&PatientID=P2", {"1.2"}),
    ("StudyTime=11-&ModalitiesInStudy=CT&limit=2&orderby=StudyInstanceUID", {"1.3", "1.5"}),
]


@pytest.mark.parametrize(("text", "studies"), CASES)
def test_a_lost_time_is_that_of_the_image_set(index: Database, tmp_path: Path, text: str, studies: set[str]) -> None:
    searching = client(index, tmp_path, 100)
    for root in ("aetitle", "first"):
        expected = studies & FIRST if root == "first" else studies
        found = searching.get(f"/{root}/studies?{text}")
        if "limit" in text and root == "first":
            continue
        assert {one["0020000D"]["Value"][0] for one in found.get_json(force=True)} == expected, (root, text)
        assert AT_ANY_TIME not in found.headers.get("Warning", "")
        series = searching.get(f"/{root}/series?{text}").get_json(force=True)
        assert {one["0020000D"]["Value"][0] for one in series} == expected, (root, text)
        if "limit" not in text:
            counted = searching.get(f"/{root}/studies/count?{text}").get_json()
            assert counted == {"count": len(expected)}, (root, text)


@pytest.mark.parametrize(("text", "studies"), CASES[:2])
def test_one_study_is_asked_for_its_time(index: Database, tmp_path: Path, text: str, studies: set[str]) -> None:
    searching = client(index, tmp_path, 1)
    for study in TIMES:
        found = searching.get(f"/aetitle/studies?StudyInstanceUID={study}&{text}").get_json(force=True)
        assert bool(found) is (study in studies)
        of_series = searching.get(f"/aetitle/series?SeriesInstanceUID={study}.1&{text}").get_json(force=True)
        assert bool(of_series) is (study in studies)


def test_what_is_beyond_the_bound_may_be_at_another_time(index: Database, tmp_path: Path) -> None:
    """It is found all the same, with a warning, and so is what the index knows."""
    for root, known in (("aetitle", {"1.1", "1.2"}), ("first", {"1.2"})):
        found = client(index, tmp_path / root, 1).get(f"/{root}/studies?StudyTime=101500")
        studies = {one["0020000D"]["Value"][0] for one in found.get_json(force=True)}
        assert known <= studies
        assert studies - known or root == "first", "callers with some data stores have their results compared, too"
        assert "1.5" not in studies
        assert AT_ANY_TIME in found.headers["Warning"]
