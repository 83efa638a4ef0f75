"""Whole numbers in metadata, which AHI gives as text, as an integer or as a decimal."""

import time
from typing import Any

import pytest

from index.writing.values import ImageSetRows
from tests.index.writing.made import metadata


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", 1),
        ("+07", 7),
        ("3.0", 3),
        (5, 5),
        (6.0, 6),
        (["8", "9"], 8),
        ("2147483647", 2**31 - 1),
        ("2147483648", None),
        (-(2**31) - 1, None),
        ("1e30", None),
        ("x", None),
        ("", None),
    ],
)
def test_numbers_are_converted_at_once(value: Any, expected: int | None) -> None:
    """A float was looked for in a range of 2^32 numbers one by one, which took minutes."""
    began = time.process_time()
    rows = ImageSetRows.from_metadata(metadata("i" * 32, instances={"1.1": {"InstanceNumber": value}}))
    assert rows.instances["1.1"]["instancenumber"] == expected
    assert time.process_time() - began < 5
