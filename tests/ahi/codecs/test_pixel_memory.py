"""The pixels of a process never exceed the bound. Threads get their shares in order, and none waits for ever."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random

import pytest

from ahi.codecs.pixel_memory import SMALL_BYTES, PixelMemory
from dicomweb.errors import UpstreamBusy

MOST = 10 * SMALL_BYTES
LARGE = 6 * SMALL_BYTES


class Seen:
    """How many bytes are worked on now, and the most there were at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = self.most = 0

    @contextmanager
    def of(self, size_bytes: int) -> Iterator[None]:
        with self._lock:
            self._now += size_bytes
            self.most = max(self.most, self._now)
        yield
        with self._lock:
            self._now -= size_bytes


def test_threads_never_have_more_than_the_bound() -> None:
    memory, seen, random = PixelMemory(MOST), Seen(), Random(1)  # noqa: S311 - chance that repeats
    sizes = [random.randrange(SMALL_BYTES + 1, MOST) for _ in range(200)]

    def work(size_bytes: int) -> None:
        with memory.taking(size_bytes), seen.of(size_bytes):
            time.sleep(0.001)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(work, sizes))
    assert max(sizes) <= seen.most <= MOST
    with memory.taking(MOST):  # all of it was given back
        pass


def test_a_frame_beyond_the_bound_has_all_of_it() -> None:
    memory = PixelMemory(MOST, patience_seconds=0.1)

    def large() -> None:
        with memory.taking(SMALL_BYTES + 1):
            pass

    with ThreadPoolExecutor(1) as other:
        with memory.taking(100 * MOST), pytest.raises(UpstreamBusy):
            other.submit(large).result()
        other.submit(large).result()


def test_small_frames_wait_for_nobody_and_a_thread_does_not_wait_for_itself() -> None:
    memory = PixelMemory(MOST, patience_seconds=0.1)
    with memory.taking(LARGE), memory.taking(LARGE), ThreadPoolExecutor(1) as other:

        def small() -> bool:
            with memory.taking(SMALL_BYTES):
                return True

        assert other.submit(small).result()


def test_who_waits_in_vain_is_told_and_those_behind_go_on() -> None:
    memory, held, done = PixelMemory(MOST, patience_seconds=0.5), threading.Event(), threading.Event()

    def hold(size_bytes: int) -> None:
        with memory.taking(size_bytes):
            held.set()
            done.wait(60)

    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(hold, LARGE)
        assert held.wait(60)
        second = threads.submit(hold, LARGE)
        with pytest.raises(UpstreamBusy) as busy:
            second.result()
        assert busy.value.retry_after_seconds > 0
        third = threads.submit(hold, MOST - LARGE)  # there is room, if the second one waits no longer
        done.set()
        first.result()
        third.result()


def test_memory_is_given_back_when_work_fails() -> None:
    memory = PixelMemory(MOST, patience_seconds=0.1)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), memory.taking(MOST):
            raise ZeroDivisionError
