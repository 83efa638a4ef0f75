"""Lists as the writer of the index has them: each comes back, and nothing else does harm."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qido.execute.column_values import parse_list

lists = st.lists(st.text(st.characters(exclude_categories=())), min_size=1, max_size=5)


@given(lists)
def test_a_list_comes_back(texts: list[str]) -> None:
    """Half of a surrogate pair cannot be sent to a client."""
    assert parse_list(str(texts)) == [re.sub("[\ud800-\udfff]", "\ufffd", text) for text in texts]


@given(lists, st.data())
def test_a_list_that_is_cut_off_has_no_values(texts: list[str], data: st.DataObject) -> None:
    text = str(texts)
    assert parse_list(text[: data.draw(st.integers(2, len(text) - 1))]) == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        pytest.param("['A', None, 'B']", ["A", "B"], id="one is absent"),
        pytest.param("['A', 1, -2.5e3]", ["A", "1", "-2.5e3"], id="numbers"),
        pytest.param("[1, 2]", ["[1, 2]"], id="no list of texts"),
        pytest.param("[]", ["[]"], id="an empty one"),
        pytest.param("['A']]", [], id="something follows"),
        pytest.param("['A' 'B']", [], id="two texts in one"),
        pytest.param(r"['\ud800']", ["\ufffd"], id="half of a surrogate pair"),
        pytest.param(r"['\Uffffffff']", ["\ufffd"], id="beyond the last character"),
        pytest.param(r"['\N{BULLET}']", ["N{BULLET}"], id="an escape that no list has"),
        pytest.param("['A', {[]: 1}]", [], id="no constant of Python"),
        pytest.param("['A', " + "-" * 60_000 + "1]", ["A", "-" * 60_000 + "1"], id="signs"),
        pytest.param("['A', " + "[" * 60_000, [], id="a deep list"),
        pytest.param("['A'" + ", 'A'" * 10_000 + "]", ["A"] * 10_001, id="a long list"),
    ],
)
def test_any_text_is_read(text: str, values: list[str]) -> None:
    assert parse_list(text) == values
