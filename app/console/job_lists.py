"""The jobs of the service, in pages: store requests, runs of the index, loads. Runs in the web processes.

Each list comes from the process or the tables that decide about it, and asks neither AHI nor more than a page.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

from app.console.failure_words import failure_words
from app.console.operator_reach import OperatorReach, SeenStudies
from app.console.texts import Texts
from app.prefetch.tasks import PageQuestion, PrefetchPage, find_tasks
from app.services import Services
from db.following import FollowedSource, followed_sources
from db.index_jobs import FailedImageSet, IndexRun, find_failed, find_runs, has_runs
from db.index_kind import IndexKind
from dicomweb.errors import NotFound, ProxyError
from runtime.shared_metrics import Metric
from store.forward.waiting import MOST_STUDIES, WaitingEntry
from store.outcome import Sender
from store.spool.spool import Spool

T = TypeVar("T")

PAGE_SIZE = 20
_MOST_REASONS = 5
_MOST_LOOKED_AT = 500
"""The refused requests that are looked at to find those of the caller's AE titles."""
_LOST = timedelta(minutes=2)
"""The time without a word after which a run has ended: it was killed."""

SHOWN_STUDIES = 3
"""The studies of a store request that are named."""

_NUMBERS = (
    Metric.SPOOL_ENTRIES,
    Metric.SPOOL_BYTES,
    Metric.SPOOL_AGE_SECONDS,
    Metric.SPOOL_UNKNOWN,
    Metric.SPOOL_UNREADABLE,
)

LISTS = ("waiting", "refused", "runs", "failed", "loads", "failed_loads")
"""The lists of the page; the parameter of each has the number of its page, from 1."""


@dataclass(frozen=True)
class Part(Generic[T]):
    """A page of one list. `problem` says why it cannot be read. `total` is None where it is not known."""

    rows: Sequence[T] = ()
    number: int = 1
    has_next: bool = False
    total: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class RefusedEntry:
    """A store request that was put aside; `refused` is the number of its instances that are not stored."""

    name: str
    sender: Sender
    received_at: float
    instances: int
    refused: int
    size_bytes: int
    studies: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Jobs:
    """All lists, and the numbers of the service. `seen` are the studies of them that the caller may see."""

    stores: bool
    numbers: Mapping[str, int]
    waiting: Part[WaitingEntry]
    stored_per_second: float
    refused: Part[RefusedEntry]
    is_own_index: bool
    runs: Part[IndexRun]
    followed: Sequence[FollowedSource]
    failed: Part[FailedImageSet]
    loads: PrefetchPage
    loading: Part[Any]
    failed_loads: Part[Any]
    seen: SeenStudies = field(default_factory=lambda: SeenStudies({}))
    seen_problem: str = ""


def find_jobs(services: Services, texts: Texts, reach: OperatorReach, pages: Mapping[str, int]) -> Jobs:
    """These pages of all lists. A part that cannot be read has its problem, and holds up no other."""
    waiting, per_second = _waiting(services, reach, pages["waiting"])
    loads, loading, failed_loads = _loads(services, pages["loads"], pages["failed_loads"])
    is_own, runs, followed, failed = _index(services, reach, pages["runs"], pages["failed"])
    jobs = Jobs(
        services.store is not None,
        _numbers(services),
        waiting,
        per_second,
        _refused(services, texts, reach, pages["refused"]),
        is_own,
        runs,
        followed,
        failed,
        loads,
        loading,
        failed_loads,
    )
    try:
        return replace(jobs, seen=reach.seen(set(_studies(jobs))))
    except ProxyError as error:
        return replace(jobs, seen_problem=str(error))


def is_lost(run: IndexRun) -> bool:
    """Whether a run has ended without a word."""
    return run.ended_at is None and datetime.now(timezone.utc).replace(tzinfo=None) - run.seen_at > _LOST


def _studies(jobs: Jobs) -> Iterator[str]:
    for waiting in jobs.waiting.rows:
        yield from waiting.studies[:SHOWN_STUDIES]
    for refused in jobs.refused.rows:
        yield from refused.studies[:SHOWN_STUDIES]
    for image_set in jobs.failed.rows:
        yield from filter(None, [image_set.study_instance_uid])
    running = [jobs.loads.running] if jobs.loads.running else []
    for load in (*running, *jobs.loading.rows, *jobs.failed_loads.rows):
        yield load.task.study_instance_uid


def _numbers(services: Services) -> Mapping[str, int]:
    """What the forwarder counts of the spool, by the name of its metric."""
    metrics = services.monitoring.process_metrics
    return {metric.name: metrics.counters.total(metric) if metrics else 0 for metric in _NUMBERS}


def _waiting(services: Services, reach: OperatorReach, number: int) -> tuple[Part[WaitingEntry], float]:
    if services.store is None:
        return Part(), 0.0
    first = (number - 1) * PAGE_SIZE
    try:
        page = services.store.forwarder.waiting(first, PAGE_SIZE, reach.ae_titles)
    except ProxyError as error:
        return Part(number=number, problem=str(error)), 0.0
    has_next = page.total > first + PAGE_SIZE
    return Part(page.entries, number, has_next, page.total), page.instances_per_second


def _refused(services: Services, texts: Texts, reach: OperatorReach, number: int) -> Part[RefusedEntry]:
    if services.store is None:
        return Part()
    spool, first = services.store.spool, (number - 1) * PAGE_SIZE
    try:
        names = spool.refused_names()
    except OSError as error:
        return Part(number=number, problem=error.strerror or "")
    if reach.ae_titles is None:
        found = [*_described(spool, texts, names[first : first + PAGE_SIZE])]
        return Part(found, number, len(names) > first + PAGE_SIZE, len(names))
    own = (one for one in _described(spool, texts, names[:_MOST_LOOKED_AT]) if reach.has_ae_title(one.sender.ae_title))
    found = list(islice(own, first, first + PAGE_SIZE + 1))
    return Part(found[:PAGE_SIZE], number, len(found) > PAGE_SIZE)


def _described(spool: Spool, texts: Texts, names: Collection[str]) -> Iterator[RefusedEntry]:
    for name in names:
        with suppress(OSError, NotFound):  # retried or removed meanwhile
            yield _describe(spool.layout.root, texts, name, spool.refused_at(name))


@lru_cache(maxsize=1000)
def _describe(root: Path, texts: Texts, name: str, _refused_at: int) -> RefusedEntry:
    """A refused entry, which changes only if it is refused again: a manifest may have thousands of instances."""
    spool = Spool(root)
    entry = spool.refused_entry(name)
    failed = [outcome for outcome in spool.outcomes(entry) if not outcome.is_stored]
    instances = entry.manifest.instances
    return RefusedEntry(
        name,
        entry.manifest.sender,
        entry.manifest.received_at,
        len(instances),
        len(failed),
        entry.size_bytes,
        tuple(sorted({one.study_instance_uid for one in instances})[:MOST_STUDIES]),
        tuple(sorted({failure_words(texts, one) for one in failed})[:_MOST_REASONS]),
    )


def _index(
    services: Services, reach: OperatorReach, number_of_runs: int, number_of_failed: int
) -> tuple[bool, Part[IndexRun], Sequence[FollowedSource], Part[FailedImageSet]]:
    database = services.index
    try:
        if database.index_kind is not IndexKind.OWN:
            return False, Part(), (), Part()
        followed = followed_sources(database)
        runs = (
            _page(lambda first, most: find_runs(database, first, most), number_of_runs)
            if has_runs(database)
            else Part()
        )
        failed = _page(lambda first, most: find_failed(database, first, most), number_of_failed)
    except ProxyError as error:
        return True, Part(problem=str(error)), (), Part()
    shown = [run for run in runs.rows if reach.has_datastores(run.datastore_ids)]
    own = [one for one in failed.rows if reach.has_datastores([one.datastore_id])]
    sources = [one for one in followed if not one.datastore_id or reach.has_datastores([one.datastore_id])]
    return True, replace(runs, rows=shown), sources, replace(failed, rows=own)


def _page(find: Callable[[int, int], Sequence[T]], number: int) -> Part[T]:
    found = find((number - 1) * PAGE_SIZE, PAGE_SIZE + 1)
    return Part(found[:PAGE_SIZE], number, len(found) > PAGE_SIZE)


def _loads(services: Services, number: int, number_of_failed: int) -> tuple[PrefetchPage, Part[Any], Part[Any]]:
    if not services.prefetch_socket:
        return PrefetchPage(), Part(), Part()
    first, first_failed = (number - 1) * PAGE_SIZE, (number_of_failed - 1) * PAGE_SIZE
    try:
        page = find_tasks(services.prefetch_socket, PageQuestion(first, first_failed, PAGE_SIZE))
    except ProxyError as error:
        return PrefetchPage(), Part(problem=str(error)), Part()
    waiting = Part(page.waiting, number, page.waiting_total > first + PAGE_SIZE, page.waiting_total)
    failed = Part(page.failed, number_of_failed, page.failed_total > first_failed + PAGE_SIZE, page.failed_total)
    return page, waiting, failed


def seconds_since(at: float | datetime) -> float:
    """The seconds since a moment: seconds since 1970, or a time in UTC."""
    if isinstance(at, datetime):
        at = at.replace(tzinfo=timezone.utc).timestamp()
    return max(0.0, time.time() - at)
