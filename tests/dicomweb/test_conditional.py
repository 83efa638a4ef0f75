"""Conditional requests and byte ranges as RFC 9110 has them."""

import pytest

from dicomweb.conditional import ByteRange, entity_tag, is_known, is_other, parse_range
from dicomweb.errors import RangeNotSatisfiable

TAG = '"abc"'


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (None, False),
        ("", False),
        ("*", True),
        ('"abc"', True),
        ('W/"abc"', True),
        ('"x", "abc"', True),
        ('"x","ab"', False),
        ("abc", False),
        ('"x, abc"', False),
    ],
)
def test_a_representation_is_known_by_its_tag(text: str | None, known: bool) -> None:
    assert is_known(text, TAG) is known


@pytest.mark.parametrize(
    ("text", "other"),
    [
        (None, False),
        ("", False),
        ("*", False),
        ('"abc"', False),
        ('"x", "abc"', False),
        ('"x"', True),
        ('W/"abc"', True),
        ('"x", W/"abc"', True),
        ("abc", True),
    ],
)
def test_another_representation_is_wanted_by_its_tag(text: str | None, other: bool) -> None:
    assert is_other(text, TAG) is other


def test_other_facts_have_another_tag() -> None:
    tags = {entity_tag(*facts) for facts in (("a", "b"), ("ab",), ("a", "c"), (("a", "b"),), ("a", 1), ("a", "1"))}
    assert len(tags) == 6
    assert entity_tag("a", "b") == entity_tag("a", "b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-65535", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("Bytes = 1 - 2", (1, 3)),
    ],
)
def test_a_range_is_cut_out(text: str, expected: tuple[int, int]) -> None:
    assert parse_range(text, None, TAG, 100) == ByteRange(*expected, 100)


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=999999999999999999-"])
def test_a_range_beyond_the_end_cannot_be_had(text: str) -> None:
    with pytest.raises(RangeNotSatisfiable, match="100 bytes"):
        parse_range(text, None, TAG, 100)


@pytest.mark.parametrize(
    "text", [None, "", "bytes", "bytes=-", "bytes=a-b", "bytes=5-2", "bytes=0-1,3-4", "items=0-1", "bytes=٠-١"]
)
def test_what_is_no_single_range_gets_everything(text: str | None) -> None:
    assert parse_range(text, None, TAG, 100) is None


def test_a_range_of_another_representation_gets_everything() -> None:
    assert parse_range("bytes=0-1", '"other"', TAG, 100) is None
    assert parse_range("bytes=0-1", f"W/{TAG}", TAG, 100) is None
    assert parse_range("bytes=0-1", TAG, TAG, 100) == ByteRange(0, 2, 100)
