"""A rate of the last minute."""

import pytest

from runtime.recent_rate import RecentRate


@pytest.mark.parametrize(
    ("counts", "now", "rate"),
    [
        pytest.param([], 30.0, 0.0, id="nothing"),
        pytest.param([(0.0, 5), (0.5, 5)], 0.5, 10.0, id="less than a second"),
        pytest.param([(1.0, 10), (9.0, 10)], 10.0, 2.0, id="since the start"),
        pytest.param([(1.0, 1000), (100.0, 30), (119.0, 30)], 120.0, 1.0, id="the last minute"),
        pytest.param([(1.0, 7)], 500.0, 0.0, id="long ago"),
        pytest.param([(5.0, 7), (65.0, 60)], 66.0, 1.0, id="the same place again"),
    ],
)
def test_the_rate_is_that_of_the_last_minute(counts: list[tuple[float, int]], now: float, rate: float) -> None:
    clock = [0.0]
    measured = RecentRate(lambda: clock[0])
    for at, number in counts:
        clock[0] = at
        measured.add(number)
    clock[0] = now
    assert measured.per_second == pytest.approx(rate)
