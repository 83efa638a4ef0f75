"""A cache in memory stays within its bound, however often a value is put again."""

from ahi.cache.lru import LRUCache


def test_what_was_not_used_for_longest_is_let_go() -> None:
    kept: LRUCache[str, int] = LRUCache(100)
    for number, key in enumerate("abc"):
        kept.put(key, number, 40)
        assert kept.get("a") == 0
    assert [kept.get(key) for key in "abc"] == [0, None, 2]


def test_the_last_one_stays_however_large_it_is() -> None:
    kept: LRUCache[str, int] = LRUCache(100)
    kept.put("a", 1, 50)
    kept.put("b", 2, 500)
    assert (kept.get("a"), kept.get("b")) == (None, 2)


def test_what_is_put_again_counts_once() -> None:
    kept: LRUCache[str, int] = LRUCache(100)
    for number in range(10):
        kept.put("a", number, 60)
    kept.put("b", 1, 40)
    assert (kept.get("a"), kept.get("b")) == (9, 1)
    kept.put("a", 10, 61)
    assert (kept.get("a"), kept.get("b")) == (10, None)
