"""Lists and numbers of headers and parameters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb.texts import MOST_DIGITS, parse_decimal, split_list
from tests.growth import grows_linearly


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", [""]),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (",a,,", ["", "a", "", ""]),
        ('a="x,y",b', ['a="x,y"', "b"]),
        ('a="x\\",y",b', ['a="x\\",y"', "b"]),
        ('a="x,y', ['a="x', "y"]),
        ('"x","y,z', ['"x"', '"y', "z"]),
        ('"\\",a"', ['"\\",a"']),
        ('"\\",a', ['"\\"', "a"]),
    ],
)
def test_lists_are_split_at_commas_outside_of_quoted_strings(text: str, entries: list[str]) -> None:
    assert list(split_list(text)) == entries


@given(st.lists(st.text('ab\\;=, "', max_size=12), max_size=5))
def test_what_is_quoted_is_one_entry(values: list[str]) -> None:
    quoted = ['"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values]
    assert list(split_list(",".join(quoted))) == (quoted or [""])
    assert list(split_list(";".join(quoted), ";")) == (quoted or [""])


@given(st.text('a,"\\', max_size=30))
def test_nothing_is_lost(text: str) -> None:
    assert ",".join(split_list(text)) == text


@pytest.mark.parametrize("unit", ['"', '\\"', '",', ',"', "\\", '"\\', '"\\",', "a"])
@pytest.mark.parametrize("start", ["", '"', 'a="'])
def test_the_time_for_a_list_grows_with_its_length(start: str, unit: str) -> None:
    grows_linearly(lambda length: lambda: list(split_list(start + unit * (length // len(unit)))), 2**15)


@pytest.mark.parametrize("text", ["0", "-1", "+1.5", ".5", "5.", "1e3", "1E-3", " 7 ", "0" * MOST_DIGITS])
def test_decimals_are_read(text: str) -> None:
    assert parse_decimal(text) == float(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "nan",
        "inf",
        "-Infinity",
        "1e999",
        "1_0",
        "\u0661",
        "\uff11",
        "0x1",
        "1 1",
        "1" * (MOST_DIGITS + 1),
        "1" * 30_000,
    ],
)
def test_what_is_no_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        parse_decimal(text)
