"""The history is bounded, in order, the same for readers in other processes, and never negative."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from app.telemetry.history import INTERVAL_SECONDS, History, Sample, Sampler
from app.telemetry.request_metrics import BUCKETS_SECONDS, RequestMetrics
from runtime.shared_metrics import Metric, SharedMetrics

NUMBERS = st.integers(0, 2**63)
COUNTERS = st.builds(
    Sample,
    st.floats(0, 1e9),
    *(NUMBERS,) * 6,
    st.tuples(*(NUMBERS,) * (len(BUCKETS_SECONDS) + 1)),
)


def history(samples: int, most: int) -> History:
    """A history with this many samples, one each second from 0 on."""
    made = History(most)
    for number in range(samples):
        made.add(Sample(float(number), requests=number))
    return made


@given(samples=st.integers(0, 60), most=st.integers(1, 20), since=st.integers(-5, 70), wanted=st.integers(1, 30))
def test_what_is_read_is_bounded_and_in_order(samples: int, most: int, since: int, wanted: int) -> None:
    made = history(samples, most)
    read = made.read(since, wanted)
    times = [sample.at for sample in read]
    there = range(max(0, samples - most), samples)
    assert times == sorted(set(times)) and set(times) <= set(map(float, there))
    assert len(read) <= min(wanted + 2, most)
    assert [sample.requests for sample in read] == times
    assert len([at for at in times if at < since]) <= 1
    if any(number >= since for number in there) and wanted >= samples:
        assert set(times) >= {float(number) for number in there if number >= since}


@given(sample=COUNTERS)
def test_a_sample_comes_back_as_it_was(sample: Sample) -> None:
    made = History(2)
    made.add(sample)
    assert made.read(0.0, 5) == [sample]


@settings(max_examples=50)
@given(first=COUNTERS, last=COUNTERS)
def test_nothing_is_negative_after_a_reset(first: Sample, last: Sample) -> None:
    counted = last.since(first)
    numbers = (counted.requests, counted.failures, counted.ahi_calls, counted.ahi_retries, counted.cache_hits)
    assert min(*numbers, counted.cache_misses, *counted.by_bucket) >= 0
    assert counted.requests == max(0, last.requests - first.requests)


def test_its_memory_does_not_grow() -> None:
    made = history(10_000, 100)
    assert [sample.at for sample in made.read(0.0, 1000)] == [float(number) for number in range(9900, 10_000)]


def test_other_processes_read_it() -> None:
    made = history(3, 10)
    child = os.fork()
    if not child:
        made.add(Sample(3.0, requests=7))
        os._exit(0)
    os.waitpid(child, 0)
    assert made.read(3.0, 10)[-1] == Sample(3.0, requests=7)


def test_the_sums_of_all_processes_are_noted_when_they_are_due() -> None:
    counters, requests, made, now = SharedMetrics(2), RequestMetrics(2), History(), [100.0]
    sampler = Sampler(counters, requests, made, lambda: now[0])
    sampler.sample_when_due()
    for process in range(2):
        counters.process_metrics(process).add(Metric.CACHE_HITS, 5)
        counters.process_metrics(process).add(Metric.AHI_GET_IMAGE_FRAME)
        counters.process_metrics(process).add(Metric.AHI_STORE_DICOM)
        requests.of_process(process).add("/studies", 200, 0.001)
        requests.of_process(process).add("/other", 503, 99.0)
    for seconds in (1.0, INTERVAL_SECONDS - 2, 1.0, 1.0):
        now[0] += seconds
        sampler.sample_when_due()
    first, second = made.read(0.0, 10)
    counted = second.since(first)
    assert (counted.requests, counted.failures, counted.ahi_calls, counted.cache_hits) == (4, 2, 4, 10)
    assert (counted.by_bucket[0], counted.by_bucket[-1]) == (2, 2)
    assert second.at - first.at == INTERVAL_SECONDS
