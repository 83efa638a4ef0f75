"""UIDs of a path are checked for their form (PS3.5 Section 9.1); what AHI imports in their place is looked for."""

import re
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb.errors import BadRequest, NotFound
from dicomweb.uids import absent, file_name, is_well_formed, parse_uid, resource_path

WELL_FORMED = ["1.2.3", "1", "1.02.3", "9" * 64]
IMPORTED = [
    *("05fa52f0e599f17b8186ff18fcdf2b55", "2b6a5c4e-9f1d-4c3a-8f57-0d7c5a1b2e3f", "ID_1", "1.2.a", "1..2", "1.", ".1"),
    *("1" * 65, "1.2." + "3" * 252, "a word", "DOE^JOHN", "é", "१.२", "-1", "1.2*", "1.2%00", "' OR 1", "<1>&?#"),
]


@pytest.mark.parametrize("uid", WELL_FORMED + IMPORTED)
def test_what_may_name_an_object_is_taken(uid: str) -> None:
    assert parse_uid(uid, "the study") == uid


@pytest.mark.parametrize(
    "text",
    ["", "1.2 ", " 1.2", " ", ".", "..", ". .", "1" * 257, "1.2\n", "1\0", "1/2", "../1", "1\\2", "1\ufffd", "1\ud800"],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    assert not is_well_formed(text)
    with pytest.raises(BadRequest, match="the study"):
        parse_uid(text, "the study")


@pytest.mark.parametrize("uid", WELL_FORMED + IMPORTED)
def test_a_uid_is_one_segment_of_a_path(uid: str) -> None:
    path = resource_path(uid, "1.2", uid)
    assert path.isascii() and path.isprintable() and not set(path) & set(' "<>?#')
    parts = urlsplit(f"http://host{path}/metadata").path.split("/")
    assert [unquote(part) for part in parts] == ["", "studies", uid, "series", "1.2", "instances", uid, "metadata"]


def test_what_is_not_found_is_ill_formed_or_not_there() -> None:
    assert all(map(is_well_formed, WELL_FORMED))
    assert not any(map(is_well_formed, IMPORTED))
    assert isinstance(absent("no such series", "1.2", "1.3"), NotFound)
    assert isinstance(absent("no such study", "1.2", None), NotFound)
    for uids in [("ID_1", None), ("1.2", "ID_1")]:
        error = absent("no such series", *uids)
        assert isinstance(error, BadRequest)
        assert "no such series" in str(error)
        assert "ID_1" not in str(error)


NAMES = st.one_of(st.text(max_size=300), st.text("0123456789.", max_size=300), st.text("aA./\\ \0:", max_size=9))


@given(st.lists(NAMES, unique=True, max_size=20))
def test_no_two_have_the_same_file_name_on_any_system(uids: list[str]) -> None:
    names = [file_name(uid) for uid in uids]
    assert len({name.casefold() for name in names}) == len(uids)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) and not name.endswith(".") for name in names)


@pytest.mark.parametrize("uid", ["1.2.840.10008", "0", "9" * 64])
def test_a_uid_is_its_own_file_name(uid: str) -> None:
    assert file_name(uid) == uid
