"""The estimate before a first fill: sums that can be checked by hand."""

from datetime import datetime, timezone

import pytest

from ahi.client.listing_calls import ListedImageSet
from index.estimate import Estimate, Prices, duration

NOW = datetime(2026, 11, 30, tzinfo=timezone.utc)


def image_set(*, is_archived: bool, instances: int) -> ListedImageSet:
    return ListedImageSet("1" * 32, 1, True, NOW, NOW, is_archived, instances)


def test_calls_cost_for_all_and_a_month_in_the_dear_tier_for_what_is_archived() -> None:
    prices = Prices(frequent_gb_month=0.2, archive_gb_month=0.1, thousand_calls=1.0, instance_mb=0.5)
    estimate = Estimate(prices, metadata_per_second=50)
    for _ in range(1000):
        estimate.add(image_set(is_archived=False, instances=100))
    for _ in range(1024):
        estimate.add(image_set(is_archived=True, instances=200))  # 100 MB
        estimate.add(image_set(is_archived=True, instances=1))  # 5 MB at least
    assert (estimate.image_sets, estimate.archived) == (3048, 2048)
    assert estimate.calls_dollars == pytest.approx(3.048)
    assert estimate.archived_mb == pytest.approx(1024 * 105)
    assert estimate.tier_dollars == pytest.approx(105 * 0.1)
    assert estimate.seconds == pytest.approx(3048 / 50)


def test_numbers_time_cost_and_every_assumption_are_said() -> None:
    estimate = Estimate(Prices(), 50)
    for _ in range(1_000):
        estimate.add(image_set(is_archived=True, instances=100))
    text = "\n".join(estimate.lines())
    for said in (
        "1,000 image sets",
        "20 s",
        "50 calls",
        "0.105",
        "0.006",
        "0.005",
        "0.25 MB",
        "5 MB",
        "USD",
        "24.4 GB",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min 0 s"), (90, "1 min 30 s"), (3599, "59 min 59 s"), (20_000, "5 h 33 min")],
)
def test_a_time_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text
