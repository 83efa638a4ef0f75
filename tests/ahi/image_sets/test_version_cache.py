"""A version is used while it is fresh, longer only while AHI does not answer, and never after its deletion."""

import time
from pathlib import Path

import pytest

from ahi.cache.cache import Cache
from ahi.image_sets.deleted import MAX_NOTED, DeletedImageSets
from ahi.image_sets.image_set import ImageSetKey, ImageSetProperties
from ahi.image_sets.version_cache import PATIENCE_SECONDS, VersionCache
from dicomweb.errors import NotFound, UpstreamBusy, UpstreamFailed
from runtime.changes import Changes

KEY, OTHER = ImageSetKey("d" * 32, "1" * 32), ImageSetKey("d" * 32, "2" * 32)
ONE, TWO = ImageSetProperties("1", True, 5.0), ImageSetProperties("2", True, 6.0)


class Ahi:
    """Tells versions, or raises; how long it was to be asked each time."""

    def __init__(self) -> None:
        self.tells: ImageSetProperties | Exception = ONE
        self.asked: list[float | None] = []

    def __call__(self, patience_seconds: float | None) -> ImageSetProperties:
        self.asked.append(patience_seconds)
        if isinstance(self.tells, Exception):
            raise self.tells
        return self.tells


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path, 2**24)


def test_a_fresh_version_is_not_asked_for_again(cache: Cache) -> None:
    ahi, versions = Ahi(), VersionCache(60, unchecked_seconds=60, cache=cache)
    assert [versions.latest(KEY, ahi).properties for _ in range(3)] == [ONE] * 3
    assert ahi.asked == [None]


def test_a_version_that_was_changed_since_is_asked_for(cache: Cache) -> None:
    changes = Changes()
    ahi, versions = Ahi(), VersionCache(60, unchecked_seconds=60, cache=cache, changes=changes)
    versions.latest(KEY, ahi)
    ahi.tells = TWO
    changes.note(KEY.image_set_id)
    assert [versions.latest(KEY, ahi).properties for _ in range(2)] == [TWO] * 2
    assert len(ahi.asked) == 2


def test_a_version_that_is_no_longer_fresh_is_asked_for(cache: Cache) -> None:
    ahi, versions = Ahi(), VersionCache(0, unchecked_seconds=60, cache=cache)
    versions.latest(KEY, ahi)
    ahi.tells = TWO
    found = versions.latest(KEY, ahi)
    assert (found.properties, found.unchecked) == (TWO, False)


def test_the_last_version_does_while_ahi_is_busy_and_that_is_not_asked_again_at_once(cache: Cache) -> None:
    ahi, versions = Ahi(), VersionCache(0, unchecked_seconds=60, cache=cache)
    checked_at = versions.latest(KEY, ahi).checked_at
    versions.latest(OTHER, ahi)
    ahi.tells = UpstreamBusy("throttled")
    found = [versions.latest(key, ahi) for key in (KEY, KEY, OTHER)]
    assert [(one.properties, one.unchecked) for one in found] == [(ONE, True)] * 3
    assert found[0].checked_at == checked_at
    assert ahi.asked == [None, None, PATIENCE_SECONDS]


def test_another_process_and_the_next_one_know_the_last_version(cache: Cache) -> None:
    ahi = Ahi()
    VersionCache(0, unchecked_seconds=60, cache=cache).latest(KEY, ahi)
    ahi.tells = UpstreamBusy("down")
    found = VersionCache(0, unchecked_seconds=60, cache=cache).latest(KEY, ahi)
    assert (found.properties, found.unchecked) == (ONE, True)
    assert 0 <= time.monotonic() - found.checked_at < 30


@pytest.mark.parametrize("unchecked_seconds", [0, 0.05])
def test_a_version_does_no_longer_than_it_may(cache: Cache, unchecked_seconds: float) -> None:
    ahi, versions = Ahi(), VersionCache(0, unchecked_seconds=unchecked_seconds, cache=cache)
    versions.latest(KEY, ahi)
    ahi.tells = UpstreamBusy("throttled")
    time.sleep(0.1)
    with pytest.raises(UpstreamBusy):
        versions.latest(KEY, ahi)


def test_a_refusal_is_no_outage(cache: Cache) -> None:
    ahi, versions = Ahi(), VersionCache(0, unchecked_seconds=60, cache=cache)
    versions.latest(KEY, ahi)
    ahi.tells = UpstreamFailed("the right is missing")
    with pytest.raises(UpstreamFailed):
        versions.latest(KEY, ahi)


def test_what_was_deleted_is_not_served_unchecked(cache: Cache) -> None:
    ahi, versions = Ahi(), VersionCache(0, unchecked_seconds=60, cache=cache)
    for key in (KEY, OTHER):
        versions.latest(key, ahi)
    ahi.tells = NotFound("gone")
    with pytest.raises(NotFound):
        versions.latest(KEY, ahi)
    ahi.tells = UpstreamBusy("throttled")
    with pytest.raises(UpstreamBusy):
        versions.latest(KEY, ahi)
    DeletedImageSets(cache).note(OTHER)
    with pytest.raises(NotFound):
        versions.latest(OTHER, ahi)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[1]", b"null", b'{"a": 1}', b'["1", true, 0, "x"]'])
def test_what_the_cache_holds_of_it_may_be_anything(cache: Cache, content: bytes) -> None:
    ahi, versions = Ahi(), VersionCache(0, unchecked_seconds=60, cache=cache)
    cache.put(f"versions/{KEY.datastore_id}/{KEY.image_set_id}", content)
    assert versions.latest(KEY, ahi).properties == ONE


def test_a_deletion_keeps_the_date_of_its_first_note_in_all_processes(cache: Cache) -> None:
    ours, theirs = DeletedImageSets(cache), DeletedImageSets(cache)
    began = time.time()
    ours.note(KEY)
    noted = theirs.noted()[KEY]
    assert began - 1 <= noted <= time.time() + 1
    ours.note(KEY)
    ours.note(OTHER)
    assert DeletedImageSets(cache).noted()[KEY] == noted
    theirs.forget(KEY)
    assert ours.noted().keys() == {OTHER}
    assert ours.image_set_ids() == {OTHER.image_set_id}


def test_identifiers_that_are_none_leave_the_folder_alone(cache: Cache) -> None:
    deleted = DeletedImageSets(cache)
    odd = [ImageSetKey("../x", "a/b"), ImageSetKey("", ".."), ImageSetKey("a+b", "c%2Fd"), ImageSetKey("ü", "\0")]
    for key in odd:
        deleted.note(key)
    assert deleted.noted().keys() == set(odd)
    assert {path.parent.name for path in cache.root.rglob("*") if path.is_file()} == {"deleted"}


def test_the_latest_deletions_are_told_when_there_are_too_many(cache: Cache) -> None:
    deleted = DeletedImageSets(cache)
    for number in range(MAX_NOTED + 5):
        deleted.note(ImageSetKey("d", f"{number:032}"))
    assert len(deleted.noted()) == MAX_NOTED
    assert ImageSetKey("d", f"{0:032}") not in deleted.noted()
