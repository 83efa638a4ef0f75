"""A token bucket that threads share: never more calls than allowed, and fewer after refusals."""

import threading
import time

from runtime.token_bucket import TokenBucket


def test_the_burst_comes_at_once_and_the_rest_at_the_rate() -> None:
    bucket = TokenBucket(50, 10)
    began = time.monotonic()
    for _ in range(30):
        bucket.take()
    assert time.monotonic() - began > 0.9 * (30 - 10) / 50


def test_threads_share_the_rate() -> None:
    bucket, taken = TokenBucket(100, 1), list[float]()

    def work() -> None:
        for _ in range(10):
            bucket.take()
            taken.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(5)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 50
    assert time.monotonic() - began > 0.9 * 49 / 100


def test_a_call_without_a_token_is_not_made() -> None:
    bucket = TokenBucket(0.001, 2)
    assert [bucket.try_take() for _ in range(3)] == [True, True, False]


def test_calls_that_were_made_without_asking_count() -> None:
    bucket = TokenBucket(0.001, 3)
    bucket.charge(2)
    assert [bucket.try_take() for _ in range(2)] == [True, False]


def test_a_refusal_makes_it_slower_and_many_at_once_count_as_one() -> None:
    bucket = TokenBucket(50, 100)
    for _ in range(20):
        bucket.refused()
    assert 35 < bucket.per_second < 48
    assert not bucket.try_take()


def test_it_recovers() -> None:
    bucket = TokenBucket(1000, 1)
    bucket._rate = 100
    bucket._counted_at -= 10  # ten seconds ago
    bucket.try_take()
    assert 450 < bucket.per_second <= 600
    bucket._counted_at -= 100
    bucket.try_take()
    assert bucket.per_second == 1000
