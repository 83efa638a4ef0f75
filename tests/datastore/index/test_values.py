"""The value that a column of AWS's tables holds, as the AWS index writer makes it."""

from datetime import date, time
from typing import Any

import pytest
from sqlalchemy import Column

from datastore.index.values import convert
from db.schema import instance, patient, series, study

NAME, COMMENTS, BIRTH_DATE = patient.c.patientname, patient.c.patientcomments, patient.c.patientbirthdate
IMAGE_TYPE, WINDOW, NUMBER = instance.c.imagetype, instance.c.windowcenter, instance.c.instancenumber
STUDY_TIME, SERIES_NUMBER, OBSERVED = study.c.studytime, series.c.seriesnumber, instance.c.observationtime


@pytest.mark.parametrize(
    ("column", "value", "held"),
    [
        pytest.param(NAME, "DOE^JANE", "DOE^JANE", id="text"),
        pytest.param(NAME, None, "None", id="an empty value"),
        pytest.param(NAME, "山田^太郎", "山田^太郎", id="not ASCII"),
        pytest.param(NAME, "X" * 70, "X" * 64, id="longer than the column"),
        pytest.param(NAME, "A\0B", "AB", id="NUL"),
        pytest.param(NAME, "A\ud800B", "A?B", id="half of a surrogate pair"),
        pytest.param(COMMENTS, "X" * 20_000, "X" * 16_000, id="longer than a text"),
        pytest.param(SERIES_NUMBER, "2 ", "2 ", id="padding of a text"),
        pytest.param(SERIES_NUMBER, "", "", id="an empty text"),
        pytest.param(SERIES_NUMBER, 7, "7", id="a number as text"),
        pytest.param(IMAGE_TYPE, ["ORIGINAL", "PRIMARY"], "['ORIGINAL', 'PRIMARY']", id="array"),
        pytest.param(IMAGE_TYPE, ["A", "", None], "['A', '', None]", id="array with empty components"),
        pytest.param(WINDOW, ["40"], "['40']", id="array of one"),
        pytest.param(WINDOW, ["40 ", "400"], "['40 ', '400']", id="array with padding"),
        pytest.param(NUMBER, "1 ", 1, id="padding of a number"),
        pytest.param(NUMBER, 12, 12, id="a number"),
        pytest.param(NUMBER, None, None, id="no number"),
        pytest.param(NUMBER, "one", None, id="not a number"),
        pytest.param(NUMBER, "1.5", None, id="not a whole number"),
        pytest.param(NUMBER, float("inf"), None, id="infinity"),
        pytest.param(NUMBER, "99999999999", None, id="a number too large for the column"),
        pytest.param(NUMBER, [3], None, id="array of numbers"),
        pytest.param(NUMBER, [], None, id="empty array"),
        pytest.param(BIRTH_DATE, "20240131", date(2024, 1, 31), id="date"),
        pytest.param(BIRTH_DATE, "20240131 ", None, id="padding of a date"),
        pytest.param(BIRTH_DATE, "2024.01.31", None, id="date with dots"),
        pytest.param(BIRTH_DATE, "202312", date(2023, 1, 2), id="month misread as a date"),
        pytest.param(BIRTH_DATE, "20240230", None, id="no such date"),
        pytest.param(BIRTH_DATE, None, None, id="empty date"),
        pytest.param(BIRTH_DATE, ["20240131"], None, id="array as date"),
        pytest.param(STUDY_TIME, "101112", time(10, 11, 12), id="time"),
        pytest.param(STUDY_TIME, "101112.5", None, id="fraction"),
        pytest.param(STUDY_TIME, "101112.123456", None, id="fraction to the microsecond"),
        pytest.param(STUDY_TIME, "0835", time(8, 3, 5), id="hours and minutes misread"),
        pytest.param(STUDY_TIME, "08", None, id="hours"),
        pytest.param(STUDY_TIME, "08:35:01", None, id="time with colons"),
        pytest.param(STUDY_TIME, "235960", None, id="leap second"),
        pytest.param(STUDY_TIME, "250000", None, id="no such time"),
        pytest.param(STUDY_TIME, "", None, id="empty time"),
        pytest.param(OBSERVED, "20240131101112", None, id="a moment is never converted"),
    ],
)
def test_a_value_becomes(column: Column[Any], value: Any, held: Any) -> None:
    assert convert(column, value) == held
