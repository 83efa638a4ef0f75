"""What a request took: its own parts, those of others while it waited for them, and whether all was in the cache."""

import pytest

from runtime.timing import TimedPart, Timing, describe, looked_up, measured, server_timing, start_timing


@pytest.mark.parametrize(
    ("start", "end", "counted"),
    [
        pytest.param(12.0, 13.0, 1.0, id="while it was waited for"),
        pytest.param(9.0, 13.0, 3.0, id="since before"),
        pytest.param(5.0, 9.0, 0.0, id="before"),
        pytest.param(13.0, 15.0, 1.0, id="longer than was waited"),
    ],
)
def test_what_others_did_counts_for_as_long_as_it_was_waited_for(start: float, end: float, counted: float) -> None:
    timing = Timing()
    timing.add(TimedPart("fetchers", 4.0, 14.0, inner=(TimedPart("ahi", start, end),)), since=10.0)
    assert timing.seconds == {"fetchers": 4.0, "ahi": counted}


def test_a_part_is_told_with_what_was_done_and_how_it_ended() -> None:
    told: list[TimedPart] = []
    start_timing().tell = told.append
    with pytest.raises(LookupError), measured("db"):
        describe("SELECT 1")
        raise LookupError
    with measured("ahi", "GetImageFrame"):
        pass
    with measured("db"):
        pass
    assert [(part.name, part.what, part.error) for part in told] == [
        ("db", "SELECT 1", "LookupError"),
        ("ahi", "GetImageFrame", ""),
        ("db", "", ""),
    ]
    assert all(part.end >= part.start for part in told)


@pytest.mark.parametrize(
    ("hits", "told"),
    [([], None), ([True], "hit"), ([True, True], "hit"), ([False, True], "miss"), ([True, False], "miss")],
)
def test_the_cache_was_hit_if_all_was_there(hits: list[bool], told: str | None) -> None:
    start_timing()
    for hit in hits:
        looked_up(hit=hit)
    assert server_timing(0.0123) == ", ".join(["total;dur=12.3", *([f"cache;desc={told}"] if told else [])])


def test_what_others_had_to_do_was_not_in_the_cache() -> None:
    timing = start_timing()
    looked_up(hit=True)
    timing.add(TimedPart("fetchers", 1.0, 2.0), since=1.0)
    assert timing.cached
    timing.add(TimedPart("fetchers", 1.0, 2.0, inner=(TimedPart("render", 1.0, 2.0),)), since=1.0)
    assert not timing.cached
