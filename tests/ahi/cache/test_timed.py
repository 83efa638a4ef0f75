"""Results of functions are remembered for some seconds, within a bound."""

from typing import Any, cast

import pytest

from ahi.cache.timed import cached_for


def test_remembered_results_have_a_bound() -> None:
    sizes: list[int] = []

    def answer(_key: int, size: int = 9) -> list[int]:
        sizes.append(size)
        return [0] * size

    remembered = cached_for(60.0, answer, 100, len)
    results = cast(Any, remembered).cache
    for number in range(1000):
        assert len(remembered(number % 30)) == 9
        assert sum(1 + len(result) for result in results.values()) == results.currsize <= 100
    assert len(remembered(0, 100)) == 100, "one that is too large for the bound is not remembered"
    assert results.currsize <= 100


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
