"""Numbers of metadata in a column of whole numbers: as text or as numbers, and in no time."""

import time

import pytest

from index.writing.values import _integer

WHOLE = [
    pytest.param("7", 7, id="text"),
    pytest.param("-2147483648", -(2**31), id="the least"),
    pytest.param("2147483647 ", 2**31 - 1, id="the greatest, padded"),
    pytest.param(2147483647, 2**31 - 1, id="a number"),
    pytest.param("1.0", 1, id="no fraction"),
    pytest.param("2147483648", None, id="beyond"),
    pytest.param(float("nan"), None, id="no number"),
    pytest.param(float("inf"), None, id="infinite"),
    pytest.param("1e308", None, id="huge"),
    pytest.param(["3", "4"], 3, id="the first of several"),
    pytest.param("three", None, id="words"),
]


@pytest.mark.parametrize(("value", "number"), WHOLE)
def test_a_number_is_read_in_no_time(value: object, number: int | None) -> None:
    began = time.monotonic()
    assert _integer(value, 0, []) == number
    assert time.monotonic() - began < 5  # it took minutes where the number was looked for in a range
