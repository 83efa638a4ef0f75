"""Results of functions are remembered for some seconds, within a bound."""

import pytest

from ahi.cache.timed import cached_for
from runtime.changes import Changes


def test_remembered_results_have_a_bound() -> None:
    asked: list[int] = []

    def answer(key: int, size: int = 9) -> list[int]:
        asked.append(key)
        return [0] * size

    remembered = cached_for(60.0, answer, 100, len)
    for key in range(30):
        remembered(key)
    for key in range(20, 30):
        remembered(key)
    assert asked == list(range(30)), "ten results of 10 fit into 100"
    remembered(0)
    assert asked[30:] == [0], "the eleventh does not"
    for _ in range(2):
        assert len(remembered(1, 100)) == 100
    assert asked[31:] == [1, 1], "one that is too large for the bound is not remembered"


def test_a_result_that_is_not_current_is_asked_for_again() -> None:
    changes = Changes()
    asked: list[str] = []
    remembered = cached_for(60.0, asked.append, is_current=lambda read_at, name: changes.is_current(name, read_at))
    for name in "aab":
        remembered(name)
    changes.note("a")
    for name in "aab":
        remembered(name)
    assert asked == ["a", "b", "a"]


def test_a_change_during_the_reading_is_not_missed() -> None:
    changes = Changes()
    found: list[str] = []

    def read(name: str) -> int:
        found.append(name)
        if len(found) == 1:
            changes.note(name)
        return len(found)

    remembered = cached_for(60.0, read, is_current=lambda read_at, name: changes.is_current(name, read_at))
    assert [remembered("a") for _ in range(3)] == [1, 2, 2]


def test_a_result_is_asked_for_once_until_its_time_is_over() -> None:
    asked: list[str] = []
    remembered = cached_for(60.0, asked.append)
    for name in "aabab":
        remembered(name)
    assert asked == ["a", "b"]
    at_once = cached_for(0.0, asked.append)
    at_once("c")
    at_once("c")
    assert asked[2:] == ["c", "c"]


def test_errors_are_not_remembered() -> None:
    outcomes = iter((ValueError(), 7))

    def answer() -> int:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    remembered = cached_for(60.0, answer)
    with pytest.raises(ValueError):
        remembered()
    assert [remembered(), remembered()] == [7, 7]
