"""What matches is gathered, or the newest studies are looked at: the answer is the same, on every database."""

from collections.abc import Callable, Iterator
from datetime import date, time, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest

from db.engine import Database
from dicomweb.dicom_json import encode
from dicomweb.errors import NotFound
from qido.encode import data_sets as results
from qido.execute import index_search
from qido.parse.attributes import MODALITIES_IN_STUDY, STUDY_SERIES, STUDY_UID, UIDS, Level
from qido.parse.query import Query, parse_query
from qido.plan import statements
from tests.qido.archive import Series, Study, image, index_alone, write

DAY = date(2024, 1, 1)
MODALITIES = ("CT", "MR", "CT ", "None", None, "SR", "OPT", "SR\\PR")

ARCHIVE = [
    Study(
        f"1.{n}",
        {"patientid": f"P{n % 9}", "patientname": f"DOE{n % 9}^JOHN" if n % 9 else "ROE^JANE"},
        {
            "studydate": None if n % 11 == 0 else DAY + timedelta(days=n * 7 % 13),
            "studytime": None if n % 5 == 0 else time(n % 24),
            "studydescription": "Head" if n % 3 else "None",
        },
        tuple(
            Series(
                f"1.{n}.{m}",
                {"modality": MODALITIES[n * m % len(MODALITIES)], "seriesnumber": str(9 - m)},
                tuple(image(f"1.{n}.{m}.{k}", 4 - k, rows=512 if k else 256) for k in range(1 + n % 3)),
            )
            for m in range(n % 5)
        ),
    )
    for n in range(60)
]


@pytest.fixture(scope="module")
def database(new_tables: Callable[[], str]) -> Iterator[Database]:
    url = new_tables()
    write(url, ARCHIVE)
    database = Database(url)
    yield database
    database.close()


SEARCHES = [
    "PatientName=DOE*",
    "PatientID=P3",
    "PatientID=P3&ModalitiesInStudy=CT",
    "StudyInstanceUID=1.3,1.4,1.17,1.22,1.5,1.33",
    "ModalitiesInStudy=CT",
    "ModalitiesInStudy=CT,OPT&StudyDate=20240103-20240109",
    'ModalitiesInStudy=""&emptyvaluematching=true',
    "StudyDescription=*ea*&PatientName=*^JOHN",
    "StudyDate=20240103-&StudyTime=0800-",
    "StudyDate=20240105",
    "PatientName=DOE1*&orderby=-StudyDescription",
    "StudyDate=20990101",
]
OF_SERIES = ["Modality=CT", "Modality=MR&PatientName=DOE*", "SeriesNumber=7", "Modality=OPT&ModalitiesInStudy=SR"]


def asked(level: Level, text: str, *path: str) -> Query:
    return parse_query(parse_qsl(text, keep_blank_values=True), level, *path, max_results=1000)


@pytest.mark.parametrize("page", ["limit=7&offset=5&count=true", "limit=5&offset=900", ""])
@pytest.mark.parametrize(
    ("level", "text"),
    [(level, text) for level in (Level.STUDY, Level.SERIES, Level.INSTANCE) for text in SEARCHES]
    + [(level, text) for level in (Level.SERIES, Level.INSTANCE) for text in OF_SERIES]
    + [(Level.INSTANCE, "Rows=256&Modality=CT"), (Level.PATIENT, "PatientName=DOE*")],
)
def test_whichever_way_the_page_is_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch, level: Level, text: str, page: str
) -> None:
    monkeypatch.setattr(statements, "_WINDOWS", (10, 30))
    query = asked(level, f"{text}&{page}")
    assert index_search.find(index_alone(database), query, few=1) == index_search.find(
        index_alone(database), query, few=10_000
    )


@pytest.mark.parametrize("text", ["", "Modality=CT", "limit=2&offset=1&count=true", "Modality=XX"])
@pytest.mark.parametrize("study", ["1.4", "1.9"])
def test_the_series_of_a_study_are_the_same_too(database: Database, study: str, text: str) -> None:
    query = asked(Level.SERIES, text, study)
    assert index_search.find(index_alone(database), query, few=1) == index_search.find(index_alone(database), query)


@pytest.mark.parametrize("text", ["limit=20", "PatientID=P3&includefield=StudyDescription,InstitutionName,ContentTime"])
@pytest.mark.parametrize("level", list(Level))
def test_results_are_written_as_their_data_sets_would_be(database: Database, level: Level, text: str) -> None:
    query = asked(level, text)
    found = index_search.find(index_alone(database), query)
    assert found.results
    data_sets = results.data_sets(query, found, "http://host/x")
    assert list(results.encoded(query, found, "http://host/x")) == list(map(encode, data_sets))


@pytest.mark.parametrize("few", [1, 10_000])
@pytest.mark.parametrize("level", list(Level))
@pytest.mark.slow
def test_pages_are_the_whole_without_repeats(database: Database, level: Level, few: int) -> None:
    narrowed = "PatientName=DOE*"
    whole = index_search.find(index_alone(database), asked(level, narrowed), few).results
    pages = [
        index_search.find(index_alone(database), asked(level, f"{narrowed}&limit=4&offset={at}"), few)
        for at in range(0, len(whole), 4)
    ]
    assert [result for page in pages for result in page.results] == list(whole)
    assert [page.additional for page in pages] == [max(0, len(whole) - at - 4) for at in range(0, len(whole), 4)]


@pytest.mark.parametrize("few", [1, 10_000])
def test_below_a_study_that_is_not_there_nothing_is_found(database: Database, few: int) -> None:
    for offset in (0, 5):
        with pytest.raises(NotFound):
            index_search.find(index_alone(database), asked(Level.SERIES, f"Modality=CT&offset={offset}", "9.9.9"), few)


@pytest.mark.parametrize("few", [1, 10_000])
def test_a_study_has_the_modalities_of_its_series_whatever_the_level(database: Database, few: int) -> None:
    """Studies come with them, those of lower levels are gathered afterwards."""

    def modalities(level: Level) -> dict[object, tuple[Any, Any]]:
        query = asked(level, "PatientName=DOE*&includefield=ModalitiesInStudy,NumberOfStudyRelatedSeries")
        found = [result.values for result in index_search.find(index_alone(database), query, few).results]
        return {values[STUDY_UID]: (values[MODALITIES_IN_STUDY], values[STUDY_SERIES]) for values in found}

    of_studies = modalities(Level.STUDY)
    assert modalities(Level.SERIES) == {uid: found for uid, found in of_studies.items() if found[1] != (0,)}
    assert {("CT", "OPT", "PR", "SR"), ()} < {found for found, _ in of_studies.values()}


def test_what_was_too_much_to_gather_is_not_counted_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are more results than the bound: so much is known from the first statement."""
    monkeypatch.setattr(index_search, "COUNT_BOUND", 10)
    query = asked(Level.STUDY, "PatientName=DOE*&limit=5")
    assert index_search.find(index_alone(database), query, few=15).additional == 10


ODD_UIDS = ("None", "['1.2']", "['1.2", "[]", "NULL", "0")


@pytest.fixture(scope="module")
def odd(new_tables: Callable[[], str]) -> Iterator[Database]:
    """UIDs that are words of Python, and rows that have none; a text that looks like a list."""
    url = new_tables()
    text = {"studydescription": r"['\ud800']"}
    of_uid = [Study(uid, {}, text, (Series(uid, {}, (image(uid, 1),)),)) for uid in ODD_UIDS]
    blank = Study("1.2", {}, {}, (Series("1.2.3", {}, (image(" ", 1),)), Series("", {}, (image("1.2.4", 1),))))
    write(url, [*of_uid, blank, Study("", {}, {}, (Series("1.3.4", {}, (image("1.3.5", 1),)),))])
    database = Database(url)
    yield database
    database.close()


@pytest.mark.parametrize(("level", "also"), [(Level.STUDY, ["1.2"]), (Level.SERIES, ["1.2.3"]), (Level.INSTANCE, [])])
@pytest.mark.parametrize("few", [1, 10_000])
def test_no_row_spoils_a_search(odd: Database, level: Level, also: list[str], few: int) -> None:
    query, uid = asked(level, "includefield=all"), UIDS[level - Level.STUDY]
    found = index_search.find(index_alone(odd), query, few)
    assert sorted(str(one.values[uid][0]) for one in found.results) == sorted([*ODD_UIDS, *also])
    assert len(list(results.encoded(query, found, "http://host/aetitle"))) == len(found.results)
    for wanted in ODD_UIDS:
        (one,) = index_search.find(index_alone(odd), asked(level, f"{uid.keyword}={wanted}"), few).results
        assert one.values[uid] == (wanted,)
