"""Deleted image sets are noted with a date. AHI is asked again, less and less often, until it has them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from ahi.cache.cache import Cache
from ahi.cache.entry import FORMAT
from ahi.image_sets import deleted
from ahi.image_sets.deleted import DeletedImageSets
from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.deletion_recheck import MAX_PER_ROUND, DeletionRecheck
from ahi.workers.pool import FetcherPool
from dicomweb.errors import UpstreamBusy


def _key(number: int) -> ImageSetKey:
    return ImageSetKey("d" * 32, f"{number:032}")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path, 2**24)


def test_a_note_keeps_its_first_date_and_is_known_after_a_restart(cache: Cache, tmp_path: Path) -> None:
    ours = DeletedImageSets(cache)
    ours.note(_key(1))
    (noted_at,) = ours.noted().values()
    ours.note(_key(1))
    later = DeletedImageSets(Cache(tmp_path, 2**24))
    assert later.noted() == {_key(1): noted_at}
    later.forget(_key(1))
    assert later.noted() == {}
    assert not later.has(_key(1))


def test_only_the_latest_are_told_of(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deleted, "MAX_NOTED", 3)
    noted, now = DeletedImageSets(cache), iter(range(100))
    monkeypatch.setattr("ahi.image_sets.deleted.time.time", lambda: float(next(now)))
    for number in range(5):
        noted.note(_key(number))
    assert set(noted.noted()) == {_key(2), _key(3), _key(4)}
    noted.forget(_key(4))
    assert set(noted.noted()) == {_key(1), _key(2), _key(3)}


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _other(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_empty, _other, _folder])
def test_a_damaged_note_hides_nothing(cache: Cache, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    DeletedImageSets(cache).note(_key(1))
    DeletedImageSets(cache).note(_key(2))
    folder = tmp_path / FORMAT / "deleted"
    damage(next(path for path in folder.iterdir() if path.name.endswith("1")))
    os.utime(folder)
    assert set(DeletedImageSets(cache).noted()) == {_key(2)}
    DeletedImageSets(cache).note(_key(1))
    assert set(DeletedImageSets(cache).noted()) == {_key(1), _key(2)}


def test_a_file_in_the_place_of_the_folder_hides_nothing(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / FORMAT).mkdir(exist_ok=True)
    (tmp_path / FORMAT / "deleted").touch()
    deleted = DeletedImageSets(cache)
    assert deleted.noted() == {}
    deleted.note(_key(1))
    assert set(DeletedImageSets(cache).noted()) == {_key(1)}


class Asked(FetcherPool):
    """AHI as the watch sees it: it has what is in `there`, or is busy."""

    def __init__(self) -> None:
        super().__init__([])
        self.there: set[ImageSetKey] = set()
        self.busy = False
        self.keys: list[ImageSetKey] = []

    def run(self, _route: str, _job: Any, *arguments: Any, **_none: Any) -> Any:  # type: ignore[override]
        self.keys.append(cast(ImageSetKey, arguments[0]))
        if self.busy:
            raise UpstreamBusy("throttled")
        return arguments[0] in self.there


class Watched:
    """A watch, and a clock that stands still until it is told to go on."""

    def __init__(self, cache: Cache) -> None:
        self.deleted, self.asked = DeletedImageSets(cache), Asked()
        self.now = 0.0
        self._watch = DeletionRecheck(self.deleted, self.asked, lambda: self.now)

    def asked_in(self, seconds: int) -> list[float]:
        """When AHI was asked, in rounds of a second."""
        times = []
        for _ in range(seconds):
            before = len(self.asked.keys)
            self._watch.round()
            times += [self.now] * (len(self.asked.keys) - before)
            self.now += 1
        return times


@pytest.fixture
def watched(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched = Watched(cache)
    monkeypatch.setattr("ahi.image_sets.deleted.time.time", lambda: watched.now)
    return watched


def test_ahi_is_asked_again_less_and_less_often(watched: Watched) -> None:
    watched.deleted.note(_key(1))
    assert watched.asked_in(100) == [0, 5, 10, 20, 40, 80]
    last = watched.asked_in(100_000)[-3:]
    assert [later - earlier for earlier, later in zip(last, last[1:], strict=False)] == [3600, 3600]


def test_what_ahi_has_again_is_forgotten(watched: Watched) -> None:
    for number in range(3):
        watched.deleted.note(_key(number))
    watched.asked_in(4)
    watched.asked.there = {_key(1)}
    watched.asked_in(3)
    assert set(watched.deleted.noted()) == {_key(0), _key(2)}


def test_many_are_asked_for_a_few_at_a_time(watched: Watched) -> None:
    for number in range(3 * MAX_PER_ROUND):
        watched.deleted.note(_key(number))
    assert watched.asked_in(3) == [*[0] * MAX_PER_ROUND, *[1] * MAX_PER_ROUND, *[2] * MAX_PER_ROUND]
    assert len(set(watched.asked.keys)) == 3 * MAX_PER_ROUND


def test_nobody_is_asked_again_at_once_while_ahi_is_busy(watched: Watched) -> None:
    for number in range(MAX_PER_ROUND):
        watched.deleted.note(_key(number))
    watched.asked.busy = True
    assert watched.asked_in(60) == [0, 30]
    assert set(watched.deleted.noted()) == {_key(number) for number in range(MAX_PER_ROUND)}
