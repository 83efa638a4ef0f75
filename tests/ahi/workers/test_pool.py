"""Jobs run in other processes: once for all who wait, with their errors, and again when a process dies."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ahi.cache.cache import Cache
from ahi.client.calls import AhiClient
from ahi.image_sets.version_cache import VersionCache
from ahi.workers.context import WorkerContext, runs_inline
from ahi.workers.pool import FetcherPool, FetcherSockets, JobFuture
from ahi.workers.scheduler import SchedulerLimits
from ahi.workers.worker import serve
from dicomweb.errors import NotFound, UpstreamBusy
from runtime.shared_metrics import Metric, SharedMetrics
from tests.waiting import wait_for


def _always(_context: WorkerContext, *_arguments: object) -> bool:
    return True


def _wait_at_gate(context: WorkerContext) -> None:
    """Wait in a fetcher until the test opens the gate."""
    wait_for((context.cache.root / "open").exists)


def _count(context: WorkerContext, name: str) -> int:
    """Leaves a mark each time it runs."""
    _wait_at_gate(context)
    assert context.cache.put(f"runs/{time.monotonic_ns()}", name.encode())
    return len(list((context.cache.root / "runs").iterdir()))


def _fail(_context: WorkerContext, kind: str) -> None:
    raise {"ours": NotFound("gone"), "busy": UpstreamBusy("later", 7), "bug": KeyError("secret")}[kind]


def _process(_context: WorkerContext) -> int:
    return os.getpid()


@runs_inline(_always)
def _inline_process(_context: WorkerContext, *_arguments: object) -> int:
    return os.getpid()


def _die_once(context: WorkerContext) -> str:
    if context.cache.read("died") is None:
        context.cache.put("died", b"")
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


class Pool:
    """Fetchers as the supervisor would fork them, without one."""

    def __init__(self, root: Path, count: int, limits: SchedulerLimits = SchedulerLimits()) -> None:  # noqa: B008 - a frozen value
        self._root = root
        self._limits = limits
        self.counters = SharedMetrics(count)
        self.sockets = FetcherSockets(count)
        self._clients: list[FetcherPool] = []
        self.pids = [self.fork(number) for number in range(count)]

    def fork(self, number: int) -> int:
        pid = os.fork()
        if pid == 0:
            cache = Cache(self._root, 10**6, process_metrics=self.counters.process_metrics(number))
            context = WorkerContext(AhiClient(region="us-east-1"), cache, VersionCache(60))
            serve(self.sockets.listening[number], context, self._limits)
        return pid

    def clients(self) -> FetcherPool:
        """A process that asks these fetchers, as they see it."""
        self._clients.append(FetcherPool(self.sockets.paths))
        return self._clients[-1]

    @property
    def _gate(self) -> Path:
        return Cache(self._root, 10**6).root / "open"

    def open_gate(self) -> None:
        """Let the jobs go on that wait at the gate."""
        self._gate.parent.mkdir(parents=True, exist_ok=True)
        self._gate.touch()

    def close_gate(self) -> None:
        """Have jobs wait at the gate again."""
        self._gate.unlink()

    def wait_for_jobs(self, *, running: int, queued: int) -> None:
        """Return once so many are being done, and so many wait for a thread."""
        total = self.counters.total
        wait_for(lambda: (total(Metric.JOBS_RUNNING), total(Metric.JOBS_QUEUED)) == (running, queued))

    def close(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for client in self._clients:
            client.close()
        self.sockets.remove()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    pool = Pool(tmp_path, 2)
    yield pool
    pool.close()


def test_equal_jobs_at_the_same_time_run_once(pool: Pool) -> None:
    fetchers = pool.clients()
    waiting = [fetchers.submit("a", _count, "x") for _ in range(20)]
    for _ in range(3):  # the fetcher has then read what was sent before
        fetchers.run("a", _inline_process)
    pool.open_gate()
    assert {pending.result() for pending in waiting} == {1}
    assert fetchers.run("a", _count, "x") == 2  # later is another time


def test_a_route_always_leads_to_the_same_process(pool: Pool) -> None:
    fetchers = pool.clients()
    processes = {route: {fetchers.run(route, _process) for _ in range(3)} for route in map(str, range(20))}
    assert all(len(pids) == 1 for pids in processes.values())
    assert set().union(*processes.values()) == set(pool.pids)


def test_an_error_of_ours_comes_back_as_it_is(pool: Pool) -> None:
    fetchers = pool.clients()
    with pytest.raises(NotFound, match="gone"):
        fetchers.run("a", _fail, "ours")
    with pytest.raises(UpstreamBusy) as busy:
        fetchers.run("a", _fail, "busy")
    assert busy.value.retry_after_seconds == 7


def test_a_mistake_comes_back_without_its_text(pool: Pool) -> None:
    with pytest.raises(RuntimeError) as error:
        pool.clients().run("a", _fail, "bug")
    assert "secret" not in str(error.value)


def _never_said(_context: WorkerContext, *_arguments: object) -> bool:
    raise LookupError


def _unsendable(_context: WorkerContext) -> object:
    return threading.Lock()


@runs_inline(_always)
def _briefly_unsendable(context: WorkerContext, *_arguments: object) -> object:
    return _unsendable(context)


@runs_inline(_never_said)
def _process_of_unknown_length(context: WorkerContext, *_arguments: object) -> int:
    return _process(context)


def test_results_that_cannot_be_sent_are_mistakes_and_the_fetcher_goes_on(narrow: Pool) -> None:
    fetchers = narrow.clients()
    for job in (_unsendable, _briefly_unsendable) * 3:
        with pytest.raises(RuntimeError, match="log says why"):
            fetchers.run("a", job)
    assert fetchers.run("a", _process_of_unknown_length) == narrow.pids[0]
    assert narrow.counters.total(Metric.JOBS_RUNNING) <= 1


def test_a_job_whose_fetcher_dies_is_done_by_the_next(pool: Pool) -> None:
    fetchers = pool.clients()
    victim = fetchers.run("a", _process)
    pending = fetchers.submit("a", _die_once)
    os.waitpid(victim, 0)
    index = pool.pids.index(victim)
    pool.pids[index] = pool.fork(index)
    assert pending.result() == "done"
    assert fetchers.run("a", _process) == pool.pids[index]


def test_connections_to_a_dead_fetcher_are_not_used_again(pool: Pool) -> None:
    fetchers = pool.clients()
    waiting = [fetchers.submit("a", _process) for _ in range(5)]  # each on a connection of its own
    victim = {pending.result() for pending in waiting}.pop()
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    index = pool.pids.index(victim)
    pool.pids[index] = pool.fork(index)
    assert [fetchers.run("a", _process) for _ in range(5)] == [pool.pids[index]] * 5


def test_an_answer_that_came_can_be_abandoned_and_one_that_did_not(pool: Pool) -> None:
    fetchers = pool.clients()
    answered = fetchers.submit("a", _fail, "ours")
    with pytest.raises(NotFound):
        answered.result()
    answered.abandon()
    fetchers.submit("a", _count, "x").abandon()
    assert fetchers.run("a", _process) in pool.pids


def test_without_fetchers_the_service_is_busy(tmp_path: Path) -> None:
    with pytest.raises(UpstreamBusy):
        FetcherPool([str(tmp_path / "none")]).run("a", _process)


def _mark(context: WorkerContext, name: str) -> list[str]:
    """What was done before it began, in order, and its own name."""
    before = _marks(context.cache)
    _wait_at_gate(context)
    context.cache.put(f"marks/{time.monotonic_ns():020}-{name}", b"")
    return [*before, name]


def _marks(cache: Cache) -> list[str]:
    return [path.name.rpartition("-")[2] for path in sorted((cache.root / "marks").glob("[0-9]*"))]


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Pool]:
    """One fetcher of two threads that takes six questions more."""
    pool = Pool(tmp_path, 1, SchedulerLimits(threads=2, max_queued=6))
    yield pool
    pool.close()


def test_what_a_client_waits_for_overtakes_prefetches(narrow: Pool) -> None:
    fetchers = narrow.clients()
    fetchers.prefetch("series", _mark, [("a", (f"p{number}",)) for number in range(20)])
    asked, last = fetchers.submit("a", _mark, "asked"), fetchers.submit("a", _mark, "p19")
    narrow.wait_for_jobs(running=2, queued=1)
    narrow.open_gate()
    assert len(asked.result()) < 6
    assert len(last.result()) < 9  # what was to come last is asked for, and comes now


def test_prefetched_jobs_are_done_without_anybody_waiting(narrow: Pool, tmp_path: Path) -> None:
    narrow.open_gate()
    narrow.clients().prefetch("series", _mark, [("a", ("p",))])
    wait_for(lambda: _marks(Cache(tmp_path, 10**6)) == ["p"])


def test_who_goes_away_takes_the_question_along(narrow: Pool) -> None:
    fetchers = narrow.clients()
    leaving = [fetchers.submit("a", _mark, f"left{number}") for number in range(5)]
    narrow.wait_for_jobs(running=2, queued=3)
    for pending in leaving:
        pending.abandon()
    narrow.wait_for_jobs(running=2, queued=0)
    stayed = fetchers.submit("a", _mark, "stayed")
    narrow.wait_for_jobs(running=2, queued=1)
    narrow.open_gate()
    marks = stayed.result()
    assert set(marks) <= {"left0", "left1", "stayed"}  # two had begun


def test_a_fetcher_with_too_much_to_do_says_so_at_once(narrow: Pool) -> None:
    fetchers = narrow.clients()
    waiting = [fetchers.submit("a", _mark, str(number)) for number in range(8)]
    narrow.wait_for_jobs(running=2, queued=6)
    with pytest.raises(UpstreamBusy) as busy:
        fetchers.run("a", _mark, "one too many")
    assert busy.value.retry_after_seconds > 0
    narrow.open_gate()
    assert all(pending.result() for pending in waiting)


def _is_refused(pending: JobFuture[list[str]]) -> bool:
    try:
        pending.result()
    except UpstreamBusy:
        return True
    return False


def test_jobs_are_counted(narrow: Pool) -> None:
    fetchers = narrow.clients()
    narrow.open_gate()
    fetchers.prefetch("series", _mark, [("a", ("p",))])
    for number in range(3):
        fetchers.run("a", _mark, str(number))
    narrow.close_gate()
    waiting = [fetchers.submit("a", _mark, f"x{number}") for number in range(9)]
    narrow.wait_for_jobs(running=2, queued=6)
    narrow.open_gate()
    assert sorted(map(_is_refused, waiting)) == [False] * 8 + [True]
    total = narrow.counters.total
    assert (total(Metric.PREFETCHES), total(Metric.JOBS_REFUSED)) == (1, 1)
    assert total(Metric.JOBS_DONE) >= 4
    assert total(Metric.JOBS_RUNNING) + total(Metric.JOBS_QUEUED) <= 8


@runs_inline(_always)
def _inline_thread(_context: WorkerContext, *_number: object) -> str:
    return threading.current_thread().name


def _thread_at_gate(context: WorkerContext, number: int) -> str:
    assert context.cache.put(f"begun/{number}", b"")
    _wait_at_gate(context)
    return threading.current_thread().name


def test_brief_jobs_are_done_one_after_another_by_who_listens(narrow: Pool) -> None:
    """One thread does them all, so none is done while another one is."""
    fetchers = narrow.clients()
    waiting = [fetchers.submit("a", _inline_thread, number) for number in range(4)]
    assert len({pending.result() for pending in waiting}) == 1


def test_other_jobs_are_done_at_the_same_time_while_another_thread_listens(narrow: Pool, tmp_path: Path) -> None:
    fetchers, begun = narrow.clients(), Cache(tmp_path, 10**6).root / "begun"
    slow = [fetchers.submit("a", _thread_at_gate, number) for number in range(2)]
    wait_for(lambda: len(list(begun.glob("*"))) == 2)  # both are being done
    narrow.open_gate()
    assert len({pending.result() for pending in slow}) == 2
    narrow.close_gate()
    slow = [fetchers.submit("a", _thread_at_gate, 2)]
    wait_for((begun / "2").exists)
    threads = {fetchers.run("a", _inline_thread, number) for number in range(3)}
    narrow.open_gate()
    assert slow[0].result() not in threads


def _large(_context: WorkerContext, size_bytes: int) -> bytes:
    return bytes(range(256)) * (size_bytes // 256)


def test_who_takes_a_large_answer_slowly_holds_up_nobody(narrow: Pool) -> None:
    fetchers = narrow.clients()
    slow = [fetchers.submit("a", _large, 2**24 + 256 * number) for number in range(5)]  # more than there are threads
    assert fetchers.run("a", _process) == narrow.pids[0]
    assert [len(pending.result()) for pending in slow] == [2**24 + 256 * number for number in range(5)]
    assert fetchers.run("a", _large, 2**24) == bytes(range(256)) * 2**16


def test_who_goes_away_in_the_middle_of_an_answer_is_forgotten(narrow: Pool) -> None:
    fetchers, descriptors = narrow.clients(), Path(f"/proc/{narrow.pids[0]}/fd")
    fetchers.run("a", _process)
    before = len(list(descriptors.iterdir()))
    leaving = [fetchers.submit("a", _large, 2**24 + 256 * number) for number in range(5)]
    fetchers.run("a", _process)
    assert len(list(descriptors.iterdir())) > before
    for one in leaving:
        one.abandon()
    wait_for(lambda: len(list(descriptors.iterdir())) <= before + 1)  # the one that was asked meanwhile stays
    assert fetchers.run("a", _process) == narrow.pids[0]


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_an_answer_that_was_taken_is_kept_by_nobody(narrow: Pool) -> None:
    fetchers, (pid,) = narrow.clients(), narrow.pids
    fetchers.run("a", _process)
    before = _resident_bytes(pid)
    # A connection each; what is so large has pages of its own, which are given back when it is let go of.
    waiting = [fetchers.submit("a", _large, 2**25 + 2**20 + 256 * number) for number in range(5)]
    assert all(pending.result() for pending in waiting)
    fetchers.run("a", _process)
    wait_for(lambda: _resident_bytes(pid) - before < 2**25)
