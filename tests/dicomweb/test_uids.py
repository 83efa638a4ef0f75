"""UIDs of a path are checked for their form (PS3.5 Section 9.1)."""

import pytest

from dicomweb.errors import BadRequest
from dicomweb.uids import parse_uid


@pytest.mark.parametrize("uid", ["1.2.3", "1", "1.02.3", "9" * 64])
def test_a_uid_is_taken(uid: str) -> None:
    assert parse_uid(uid, "the study") == uid


@pytest.mark.parametrize(
    "text", ["", "1.2.a", "1.2 ", "1..2", ".1", "1.", "1" * 65, "1.2\n", "१.२", "1.2%00", "' OR 1"]
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadRequest, match="the study"):
        parse_uid(text, "the study")
