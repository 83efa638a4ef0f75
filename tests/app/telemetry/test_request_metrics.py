"""Requests are counted by all processes in one memory, and nothing is lost with a process."""

import os
import threading

from app.telemetry.request_metrics import BUCKETS_SECONDS, OTHER, RequestMetrics, ResourceMetrics


def _of(counts: RequestMetrics, resource: str) -> ResourceMetrics:
    return next(one for one in counts.totals() if one.resource == resource)


def test_a_request_falls_into_its_bucket() -> None:
    counts = RequestMetrics(1)
    mine = counts.of_process(0)
    for seconds in (*BUCKETS_SECONDS, 31.0):
        mine.add("/studies", 200, seconds)
    assert _of(counts, "/studies").by_bucket == (1,) * (len(BUCKETS_SECONDS) + 1)
    assert abs(_of(counts, "/studies").total_seconds - sum(BUCKETS_SECONDS) - 31) < 1e-3


def test_statuses_are_apart_and_a_strange_one_is_counted_too() -> None:
    counts = RequestMetrics(1)
    mine = counts.of_process(0)
    for status in (200, 200, 404, 418):
        mine.add("/studies", status, 0.1)
    assert _of(counts, "/studies").by_status == {200: 2, 404: 1, 0: 1}


def test_processes_add_up_and_their_replacements_go_on() -> None:
    counts = RequestMetrics(2)
    for process in (0, 1, 1):  # the last is the replacement of the one before
        pid = os.fork()
        if not pid:
            counts.of_process(process).add("/studies", 200, 0.1)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    assert _of(counts, "/studies").by_status == {200: 3}


def test_more_resources_than_there_is_room_for_are_counted_together() -> None:
    counts = RequestMetrics(1)
    mine = counts.of_process(0)
    for number in range(200):
        mine.add(f"/{number}", 200, 0.1)
    assert sum(one.by_status[200] for one in counts.totals() if one.by_status) == 200
    assert _of(counts, OTHER).by_status[200] > 50


def test_threads_lose_nothing() -> None:
    counts = RequestMetrics(1)
    mine = counts.of_process(0)
    threads = [
        threading.Thread(target=lambda: [mine.add("/studies", 200, 0.001) for _ in range(500)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _of(counts, "/studies").by_status == {200: 4000}
