"""The work list: from the fields of its form to rows."""

from collections.abc import Iterator
from datetime import date
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.console import study_filter, study_list
from app.console.study_filter import COLUMNS, PAGE_SIZES, Period, StudyFilter
from app.console.study_list import StudyPage, find_studies
from db.engine import Database
from db.scope import EVERYTHING
from dicomweb.errors import BadRequest
from qido.image_sets.archive import Archive
from tests.qido.archive import SAMPLE, index_alone, write
from tests.servers import Sqlite

TODAY = date(2024, 1, 12)
NEWEST_FIRST = ["1.2.2", "1.2.4", "1.2.1", "1.2.5", "1.2.3"]


@pytest.fixture(scope="module")
def archive(sqlite: Sqlite) -> Iterator[Archive]:
    url = sqlite.new_index()
    write(url, SAMPLE)
    database = Database(url)
    yield index_alone(database)
    database.close()


def page_of(archive: Archive, **parameters: str) -> StudyPage:
    renamed = {name.rstrip("_"): value for name, value in parameters.items()}
    return find_studies(archive, EVERYTHING, StudyFilter.from_parameters(renamed), TODAY)


def uids(page: StudyPage) -> list[str]:
    return [row.study_instance_uid for row in page.rows]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, NEWEST_FIRST),
        ({"q": "doe"}, ["1.2.2", "1.2.1"]),
        ({"q": "doe john"}, ["1.2.1"]),
        ({"q": "john doe"}, ["1.2.1"]),
        ({"q": "Doe, John"}, ["1.2.1"]),
        ({"q": "P4"}, ["1.2.4"]),
        ({"q": "P"}, ["1.2.4", "1.2.1", "1.2.5"]),
        ({"q": "p1"}, ["1.2.2"]),
        ({"q": "*jane*"}, ["1.2.2"]),
        ({"q": "jane"}, ["1.2.2"]),
        ({"name": "jane"}, ["1.2.2"]),
        ({"name": "JOERG"}, ["1.2.5"]),
        ({"q": "joerg doering"}, ["1.2.5"]),
        ({"q": "ta yam"}, ["1.2.4"]),
        ({"q": "太郎"}, ["1.2.4"]),
        ({"name": "jane", "q": "doe"}, ["1.2.2"]),
        ({"name": "yamada", "q": "doe"}, []),
        ({"from_": "2024-01-10", "to": "2024-01-10", "q": "john"}, ["1.2.1"]),
        ({"name": "jane", "q": "P1"}, []),
        ({"name": "jane", "id": "p1"}, ["1.2.2"]),
        ({"name": "jane*"}, []),
        ({"q": "joe"}, []),
        ({"q": "ane"}, []),
        ({"q": "jane", "date": "today"}, ["1.2.2"]),
        ({"q": "jane", "to": "2023-12-31"}, []),
        ({"q": "山田"}, ["1.2.4"]),
        ({"q": "doring"}, ["1.2.5"]),
        ({"q": "nobody"}, []),
        ({"q": "doe\\yamada"}, []),
        ({"name": "yamada", "q": "P"}, ["1.2.4"]),
        ({"id": "P1"}, ["1.2.1"]),
        ({"birth": "1970-01-31"}, ["1.2.1"]),
        ({"accession": "ACC"}, ["1.2.2", "1.2.4", "1.2.1", "1.2.3"]),
        ({"description": "thorax"}, ["1.2.1"]),
        ({"description": "CAFE"}, ["1.2.1"]),
        ({"modality": "ct"}, ["1.2.4", "1.2.1"]),
        ({"modality": "mr, us"}, ["1.2.2", "1.2.5"]),
        ({"date": "today"}, ["1.2.2"]),
        ({"date": "yesterday"}, []),
        ({"date": "week"}, ["1.2.2", "1.2.4", "1.2.1"]),
        ({"date": "month"}, ["1.2.2", "1.2.4", "1.2.1", "1.2.5"]),
        ({"date": "range", "from_": "2024-01-10", "to": "2024-01-10"}, ["1.2.4", "1.2.1"]),
        ({"from_": "2024-01-11"}, ["1.2.2"]),
        ({"to": "2023-12-31"}, ["1.2.5"]),
        ({"date": "range"}, NEWEST_FIRST),
    ],
)
def test_a_filter_finds_the_studies_that_fit(archive: Archive, parameters: dict[str, str], expected: list[str]) -> None:
    page = page_of(archive, **parameters)
    assert sorted(uids(page)) == sorted(expected)
    assert (page.number, page.exact, page.has_next) == (len(expected), True, False)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("text", ["", "p"])
def test_every_column_sorts_both_ways(archive: Archive, column: str, text: str) -> None:
    up, down = (page_of(archive, sort=sign + column, q=text) for sign in ("", "-"))
    assert up.sorted and down.sorted
    values = [_value(row, column) for row in up.rows if _value(row, column)]
    assert values == sorted(values)
    known = [_value(row, column) for row in down.rows if _value(row, column)]
    assert known == sorted(values, reverse=True)


def _value(row: Any, column: str) -> str:
    attributes = {"name": row.name.main.lower(), "id": row.patient_id, "birth": row.birth_date, "date": row.date}
    attributes |= {"accession": row.accession, "description": row.description}
    return str(attributes[column])


def test_too_many_studies_are_not_sorted(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_list, "SORTED_AT_MOST", 4)
    page = page_of(archive, sort="name")
    assert (uids(page), page.sorted) == (NEWEST_FIRST, False)
    assert page_of(archive, sort="name", date="month").sorted


def test_words_are_looked_for_in_the_newest_studies(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_list, "WORDS_IN_NEWEST", 2)
    page = page_of(archive, q="joerg")
    assert (uids(page), page.newest_alone) == ([], True)
    page = page_of(archive, q="joerg", words="all")
    assert (uids(page), page.newest_alone) == (["1.2.5"], False)
    assert uids(page_of(archive, q="john")) == ["1.2.1"]
    assert uids(page_of(archive, q="doring")) == ["1.2.5"], "the beginning of a name is found in all studies"
    assert uids(page_of(archive, q="joerg", to="2023-12-31")) == ["1.2.5"], "there are fewer in the period"
    monkeypatch.setattr(study_list, "WORDS_IN_NEWEST", 4)
    assert uids(page_of(archive, q="joerg")) == ["1.2.5"], "the next one has no date"


def test_names_that_sound_alike_are_found_if_no_other_is(archive: Archive) -> None:
    page = page_of(archive, q="Jayne Dow")
    assert (set(uids(page)), page.alike) == ({"1.2.2", "1.2.1"}, True)
    page = page_of(archive, q="jane doe")
    assert (uids(page), page.alike) == (["1.2.2"], False)


def test_no_number_of_words_is_too_many(archive: Archive) -> None:
    assert uids(page_of(archive, q=" ".join("abcdefgh" * 16)[:256])) == []


def test_pages_follow_each_other(archive: Archive) -> None:
    pages = [find_studies(archive, EVERYTHING, StudyFilter(page=number, size=2), TODAY) for number in (1, 2, 3, 4)]
    assert [uid for page in pages for uid in uids(page)] == NEWEST_FIRST
    assert [(page.first_row, page.last_row, page.has_next) for page in pages] == [
        (1, 2, True),
        (3, 4, True),
        (5, 5, False),
        (7, 6, False),
    ]
    assert {page.number for page in pages[:3]} == {5}


def test_the_list_of_a_text_ends_early(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_filter, "LAST_ROW_OF_TEXT", 4)
    pages = [
        find_studies(archive, EVERYTHING, StudyFilter(text="*", page=number, size=2), TODAY) for number in (1, 2, 3)
    ]
    assert [(page.has_next, page.ends_early) for page in pages] == [(True, False), (False, True), (False, True)]
    assert uids(pages[1]) == uids(pages[2])


def test_the_list_ends_at_a_row(archive: Archive) -> None:
    assert StudyFilter.from_parameters({"page": "999999999"}).offset == study_filter.LAST_ROW - PAGE_SIZES[0]
    assert uids(page_of(archive, page="999999999")) == []


def test_rows_are_as_people_read_them(archive: Archive) -> None:
    row = page_of(archive, id="P1").rows[0]
    assert (row.name.main, row.patient_id, row.birth_date, row.sex) == ("Doe, John", "P1", "1970-01-31", "M")
    assert (row.date, row.time, row.modalities) == ("2024-01-10", "10:11", "CT SR")
    assert (row.description, row.accession, row.referring.main) == ("Café Thorax", "ACC1", "Müller, Ärztin")
    assert (row.series, row.instances) == (2, 4)
    unknown = page_of(archive, accession="ACC_3").rows[0]
    assert (unknown.name.main, unknown.patient_id, unknown.date, unknown.time) == ("", "", "", "")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"birth": "31.1.1970"}, "birth date"),
        ({"from_": "soon"}, "first day"),
        ({"q": "a\x00b"}, "PatientName"),
        ({"q": "x" * 300}, "256"),
        ({"modality": "\x07"}, "ModalitiesInStudy"),
    ],
)
def test_what_cannot_be_searched_for_is_said(archive: Archive, parameters: dict[str, str], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        page_of(archive, **parameters)


@pytest.mark.parametrize("wrong", [{"sort": "weight"}, {"size": "7"}, {"page": "-1"}, {"page": "x"}, {"date": "never"}])
def test_what_the_form_cannot_send_is_as_if_it_were_not_there(wrong: dict[str, str]) -> None:
    assert StudyFilter.from_parameters(wrong) == StudyFilter()


def test_a_column_that_is_sorted_by_turns_round() -> None:
    usual = StudyFilter(page=3)
    assert (usual.sorted_by("name").sort, usual.sorted_by("name").page) == ("name", 1)
    assert usual.sorted_by("name").sorted_by("name").sort == "-name"
    assert (usual.sorted_by("date").sort, usual.sorted_by("date").sorted_by("date").sort) == ("date", "-date")
    assert StudyFilter(sort="name").sorted_by("date").sort == "-date"


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(str.strip)


@given(
    st.builds(
        StudyFilter,
        text=_TEXTS,
        name=_TEXTS,
        modality=_TEXTS,
        period=st.sampled_from(Period),
        sort=st.sampled_from([sign + name for name in COLUMNS for sign in ("", "-")]),
        page=st.integers(1, 999),
        size=st.sampled_from(PAGE_SIZES),
        pictures=st.booleans(),
        everywhere=st.booleans(),
    )
)
def test_the_url_of_a_filter_means_that_filter(wanted: StudyFilter) -> None:
    sent = dict(parse_qsl(urlencode(wanted.parameters)))
    assert StudyFilter.from_parameters(sent) == wanted
