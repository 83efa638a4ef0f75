"""Frames around a requested one are prefetched in display order, within the budget, once, after a cache miss."""

from collections.abc import Hashable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from ahi.cache.cache import Cache
from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.image_set import Frame, ImageSetKey
from ahi.image_sets.prepared_reader import PreparedImageSet, PreparedInstance
from ahi.retrieval.lookahead import FrameAccess, FrameLookahead, PrefetchBudget, around, nearest
from ahi.workers.pool import FetcherPool
from dicomweb.transfer_syntax import HTJ2K_LOSSLESS_RPCL, JPEG_BASELINE, FrameEncoding

KEY = ImageSetKey("d" * 32, "i" * 32)
PIXELS = PixelFormat(10, 10, 1, 8, 0, "MONOCHROME2")  # 100 bytes a frame
VIDEO = "1.2.840.10008.1.2.4.102"


class Noted(FetcherPool):
    """Fetchers that only note what they are to prefetch: the numbers of frame IDs."""

    def __init__(self) -> None:
        super().__init__([])
        self.wishes: list[tuple[str, list[int]]] = []

    def prefetch(self, scope: str, job: object, routed: Iterable[tuple[str, tuple[Hashable, ...]]]) -> None:
        self.wishes.append((scope, [int(route) for route, _ in routed]))


def _series(instances: int, frames_each: int = 1, syntax: str = HTJ2K_LOSSLESS_RPCL) -> PreparedImageSet:
    def instance(number: int) -> PreparedInstance:
        frames = tuple(Frame(str(number * frames_each + index), None) for index in range(frames_each))
        nowhere = (0, 0)
        uid = f"1.{number}"
        return PreparedInstance(
            uid, "1.2", syntax, (float(number),), PIXELS, frames, nowhere, nowhere, nowhere, nowhere, ()
        )

    return PreparedImageSet("1", "2", tuple(instance(number) for number in range(instances)), memoryview(b""))


def _asked(series: PreparedImageSet, position: int, number: int = 1) -> FrameAccess:
    return FrameAccess(KEY, series, series.instances[position], number, FrameEncoding.NATIVE)


@pytest.fixture
def fetchers() -> Noted:
    return Noted()


@pytest.fixture
def lookahead(fetchers: Noted, tmp_path: Path) -> FrameLookahead:
    return FrameLookahead(fetchers, Cache(tmp_path, 10**6), PrefetchBudget(8, 10**6))


@pytest.mark.parametrize(
    ("position", "count", "order"),
    [
        (0, 100, [1, 2, 3, 4, 5, 6]),
        (50, 100, [51, 52, 53, 49, 54, 55, 56, 48]),
        (99, 100, [98, 97]),
        (1, 3, [2, 0]),
    ],
)
def test_the_window_lies_around_the_frame_and_the_nearest_come_first(
    position: int, count: int, order: list[int]
) -> None:
    assert list(nearest(position, around(position, 8, count))) == order


def test_a_frame_that_was_missing_opens_a_window(lookahead: FrameLookahead, fetchers: Noted) -> None:
    lookahead.note(_asked(_series(100), 50), missed=True)
    assert fetchers.wishes == [(f"{KEY.image_set_id}.native", [51, 52, 53, 49, 54, 55, 56, 48])]


def test_what_is_in_the_cache_is_neither_asked_for_nor_a_reason(
    lookahead: FrameLookahead, fetchers: Noted, tmp_path: Path
) -> None:
    lookahead.note(_asked(_series(100), 50), missed=False)
    assert not fetchers.wishes
    cache = Cache(tmp_path, 10**6)
    for kept in ("51", "49"):
        cache.put(f"frames/{kept}/{kept}.native", b"")
    lookahead.note(_asked(_series(100), 50), missed=True)
    assert fetchers.wishes[0][1] == [52, 53, 54, 55, 56, 48]


def test_the_window_moves_with_the_viewer_and_not_with_every_step(lookahead: FrameLookahead, fetchers: Noted) -> None:
    series = _series(100)
    lookahead.note(_asked(series, 0), missed=True)
    for position in range(1, 21):
        lookahead.note(_asked(series, position), missed=False)
    assert 3 <= len(fetchers.wishes) <= 8
    assert set().union(*(numbers for _, numbers in fetchers.wishes)) >= set(range(1, 24))


def test_who_scrolls_back_is_followed(lookahead: FrameLookahead, fetchers: Noted) -> None:
    series = _series(100)
    lookahead.note(_asked(series, 50), missed=True)
    for position in range(49, 30, -1):
        lookahead.note(_asked(series, position), missed=False)
    assert set().union(*(numbers for _, numbers in fetchers.wishes)) >= set(range(30, 50))


def test_the_frames_of_a_multi_frame_instance_follow_each_other_and_lead_on(
    lookahead: FrameLookahead, fetchers: Noted
) -> None:
    lookahead.note(_asked(_series(2, 4), 0, 3), missed=True)
    assert fetchers.wishes[0][1] == [3, 4, 5, 1, 6, 7, 0]


@pytest.mark.parametrize(
    ("budget", "syntax", "count"),
    [
        (PrefetchBudget(8, 10**6), HTJ2K_LOSSLESS_RPCL, 8),
        (PrefetchBudget(8, 450), HTJ2K_LOSSLESS_RPCL, 4),  # bytes for four frames
        (PrefetchBudget(0, 10**6), HTJ2K_LOSSLESS_RPCL, 0),
        (PrefetchBudget(8, 10**6), VIDEO, 0),
    ],
)
def test_the_budget_bounds_it(budget: PrefetchBudget, syntax: str, count: int, fetchers: Noted, tmp_path: Path) -> None:
    FrameLookahead(fetchers, Cache(tmp_path, 10**6), budget).note(_asked(_series(100, syntax=syntax), 50), missed=True)
    assert sum(len(numbers) for _, numbers in fetchers.wishes) == count


@pytest.mark.parametrize(
    ("form", "count"), [(FrameEncoding.RLE, 2), (FrameEncoding.NATIVE, 4), (FrameEncoding.STORED, 4)]
)
def test_what_was_lossy_is_not_prefetched_in_another_encoding(
    form: FrameEncoding, count: int, lookahead: FrameLookahead, fetchers: Noted
) -> None:
    series = _series(5)
    mixed = [replace(one, transfer_syntax_uid=JPEG_BASELINE) for one in series.instances[:2]]
    series = replace(series, instances=(*mixed, *series.instances[2:]))
    lookahead.note(replace(_asked(series, 2), encoding=form), missed=True)
    assert len(fetchers.wishes[0][1]) == count


def test_a_picture_alone_is_no_reason_and_one_beside_it_is(lookahead: FrameLookahead, fetchers: Noted) -> None:
    series = _series(100)
    for position in (50, 50, 20, 80):  # the same again, and others that are far away
        lookahead.note_rendered(_asked(series, position), missed=True)
    assert not fetchers.wishes
    lookahead.note_rendered(_asked(series, 81), missed=True)
    assert fetchers.wishes[0][1][:3] == [82, 83, 84]


def test_pictures_of_frames_that_are_there_are_no_reason(lookahead: FrameLookahead, fetchers: Noted) -> None:
    series = _series(100)
    for position in range(20):
        lookahead.note_rendered(_asked(series, position), missed=False)
    assert not fetchers.wishes
