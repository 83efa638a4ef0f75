"""Paths become targets, or say what is wrong with them."""

import pytest

from dicomweb.errors import BadRequest
from wado.target import Target, parse_frame_numbers


@pytest.mark.parametrize(
    ("path", "level"), [(("1.2",), "study"), (("1.2", "1.3"), "series"), (("1.2", "1.3", "1.4"), "instance")]
)
def test_a_target_knows_its_level(path: tuple[str, ...], level: str) -> None:
    assert Target.from_path(*path).level == level


@pytest.mark.parametrize(
    ("path", "name"), [(("DOE/JOHN",), "study"), (("1.2", ".."), "series"), (("1.2", "1.3", "x\ty"), "instance")]
)
def test_the_ill_formed_uid_is_named(path: tuple[str, ...], name: str) -> None:
    with pytest.raises(BadRequest, match=name):
        Target.from_path(*path)


@pytest.mark.parametrize(("text", "numbers"), [("1", (1,)), ("3,1,2", (3, 1, 2)), ("007", (7,))])
def test_frames_keep_the_order_of_the_request(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_frame_numbers(text) == numbers


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1,", ",1", "1,,2", "a", "1.0", "1-3", "1,1", "+1", " 1", "9" * 10, "١"]
)
def test_anything_else_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_frame_numbers(text)
