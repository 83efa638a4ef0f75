"""UIDs of a path are checked for their form (PS3.5 Section 9.1); what AHI imports in their place is looked for."""

import pytest

from dicomweb.errors import BadRequest, NotFound
from dicomweb.uids import absent, is_well_formed, parse_uid

WELL_FORMED = ["1.2.3", "1", "1.02.3", "9" * 64]
IMPORTED = ["05fa52f0e599f17b8186ff18fcdf2b55", "2b6a5c4e-9f1d-4c3a-8f57-0d7c5a1b2e3f", "ID_1", "1.2.a", "1..2", "1."]


@pytest.mark.parametrize("uid", WELL_FORMED + IMPORTED)
def test_what_may_name_an_object_is_taken(uid: str) -> None:
    assert parse_uid(uid, "the study") == uid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.2 ",
        ".1",
        "..",
        "-1",
        "1" * 65,
        "1.2\n",
        "१.२",
        "1.2%00",
        "' OR 1",
        "1/2",
        "DOE^JOHN",
        "1.2*",
        "é",
        "1\\2",
    ],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    assert not is_well_formed(text)
    with pytest.raises(BadRequest, match="the study"):
        parse_uid(text, "the study")


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
