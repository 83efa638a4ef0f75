"""Parameters become a frozen value, without a request or a database."""

from datetime import date, datetime, time

import pytest

from dicomweb.errors import BadRequest
from qido.parse.attributes import ATTRIBUTES, BY_TAG, Level, Matching, SearchAttribute
from qido.parse.conditions import AnyOf, Between, Condition, Empty, Equal, Like, Period
from qido.parse.query import Query, parse_query

STUDY_DATE, STUDY_TIME = BY_TAG["00080020"], BY_TAG["00080030"]
NAME, MODALITY, NUMBER = BY_TAG["00100010"], BY_TAG["00080060"], BY_TAG["00200011"]


def parsed(*parameters: tuple[str, str], level: Level = Level.SERIES) -> Query:
    return parse_query(parameters, level, max_results=1000)


@pytest.mark.parametrize(
    ("name", "value", "condition"),
    [
        ("PatientName", "DOE^J*", AnyOf(NAME, (Like("DOE^J*"),))),
        ("PatientName", " DOE^J ", AnyOf(NAME, (Equal("DOE^J"),))),
        ("PatientName", "D**E", AnyOf(NAME, (Like("D*E"),))),
        ("Modality", "CT,M?", AnyOf(MODALITY, (Equal("CT"), Like("M?")))),
        ("00200011", "+07", AnyOf(NUMBER, (Equal(7),))),
        ("StudyDate", "20240131", AnyOf(STUDY_DATE, (Between(date(2024, 1, 31), date(2024, 1, 31)),))),
        ("StudyDate", "20240101-", AnyOf(STUDY_DATE, (Between(date(2024, 1, 1), None),))),
        ("StudyDate", "-20240131", AnyOf(STUDY_DATE, (Between(None, date(2024, 1, 31)),))),
        ("StudyTime", "10", AnyOf(STUDY_TIME, (Between(time(10), time(10, 59, 59, 999999)),))),
        ("StudyTime", "1011-", AnyOf(STUDY_TIME, (Between(time(10, 11), None),))),
        ("StudyTime", "-101112.5", AnyOf(STUDY_TIME, (Between(None, time(10, 11, 12, 599999)),))),
    ],
)
def test_a_key_becomes_a_condition(name: str, value: str, condition: Condition) -> None:
    assert parsed((name, value)).conditions == (condition,)


@pytest.mark.parametrize(
    ("dates", "times", "first", "last"),
    [
        ("20240101-20240103", "10-11", datetime(2024, 1, 1, 10), datetime(2024, 1, 3, 11, 59, 59, 999999)),
        ("20240101-20240103", "10-", datetime(2024, 1, 1, 10), datetime(2024, 1, 3, 23, 59, 59, 999999)),
        ("20240101-", "10-", datetime(2024, 1, 1, 10), None),
        ("-20240103", "-10", None, datetime(2024, 1, 3, 10, 59, 59, 999999)),
    ],
)
def test_ranges_of_dates_and_times_become_one_of_instants(
    dates: str, times: str, first: datetime | None, last: datetime | None
) -> None:
    """PS3.4 Section C.2.2.2.5."""
    assert parsed(("StudyTime", times), ("StudyDate", dates)).conditions == (
        Period(STUDY_DATE, STUDY_TIME, first, last),
    )


def test_an_empty_value_is_asked_for_by_two_quotes() -> None:
    """PS3.18 Section 8.3.4.3."""
    query = parsed(("emptyvaluematching", "true"), ("PatientName", '""'))
    assert query.conditions == (AnyOf(NAME, (Empty(),)),)


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda attribute: attribute.keyword)
def test_every_attribute_is_found_by_keyword_and_by_tag_in_either_case(attribute: SearchAttribute) -> None:
    """PS3.18 Section 8.3.4.1."""
    names = (attribute.keyword, attribute.keyword.lower(), attribute.tag, attribute.tag.lower())
    answers = [parsed(("includefield", name), level=Level.INSTANCE) for name in names]
    assert all(attribute in query.returned for query in answers)


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda attribute: attribute.keyword)
def test_every_attribute_that_can_be_matched_accepts_a_value(attribute: SearchAttribute) -> None:
    values = {Matching.UID: "1.2", Matching.DATE: "20240101", Matching.TIME: "10", Matching.NUMBER: "1"}
    query = parsed((attribute.tag, values.get(attribute.matching, "A")), level=Level.INSTANCE)
    assert bool(query.conditions) is (attribute.matching is not Matching.NONE)
    assert bool(query.warnings) is (attribute.matching is Matching.NONE)


@pytest.mark.parametrize("text", ["9" * 30_000, "0" * 30_000 + "7" * 11, "2147483647"])
def test_a_limit_may_have_any_number_of_digits(text: str) -> None:
    query = parsed(("limit", text), ("offset", text))
    assert (query.limit, query.offset) == (1000, 2**31 - 1)


def test_zeros_are_of_no_account() -> None:
    query = parsed(("limit", "0" * 30_000 + "7"), ("offset", "0" * 30_000))
    assert (query.limit, query.offset) == (7, 0)


@pytest.mark.parametrize("text", ["\u0661", "\uff11", "1_0", "+1", "-1", "1.0", "0x1", "\xb2"])
def test_other_numbers_are_no_limit(text: str) -> None:
    with pytest.raises(BadRequest):
        parsed(("limit", text))


def test_the_last_limit_counts_and_the_maximum_holds() -> None:
    assert parsed(("limit", "5"), ("limit", "7"), ("offset", "3")).limit == 7
    assert parsed(("limit", "1001")).limit == 1000
    assert parsed().limit == 1000


@pytest.mark.parametrize("name", ["", ".", "00081115.", ".00100010", "nonsense"])
def test_a_name_that_names_no_attribute_is_ignored(name: str) -> None:
    """One attribute of the dictionary has no keyword; a parameter without a name is not it."""
    assert parsed((name, "x")) == parsed()
