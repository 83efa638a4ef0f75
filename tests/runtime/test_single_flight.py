"""Slow work is done once for all who need it, and holds nobody up for longer than they like."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from runtime.single_flight import SingleFlight, ended


def test_all_who_come_meanwhile_have_one_run() -> None:
    go_on, runs = threading.Event(), list[int]()

    def work() -> int:
        runs.append(1)
        go_on.wait(60)
        return len(runs)

    flight = SingleFlight(work)
    with ThreadPoolExecutor(16) as threads:
        flights = set(threads.map(lambda _: flight.latest(0), range(64)))
    (only,) = flights
    assert not ended(only, 0.01)
    go_on.set()
    assert only.result(60) == 1


def test_a_result_is_taken_again_while_it_is_young_enough() -> None:
    results = iter(range(9))
    flight = SingleFlight(lambda: next(results))
    assert flight.latest(60).result(60) == 0
    assert flight.latest(60).result(60) == 0
    assert flight.latest(0).result(60) == 1
    time.sleep(0.02)
    assert flight.latest(0.01).result(60) == 2


def test_what_goes_wrong_is_told_and_tried_again() -> None:
    flight = SingleFlight(lambda: list[int]()[0])
    for _ in range(2):
        with pytest.raises(IndexError):
            flight.latest(0).result(60)
