"""A service under mixed and hostile clients, while its processes are killed, it is reloaded, and AHI fails.

python -m bench.soak [--minutes 10] [--clients 16] [--seed 1] [--python 3.12]
python -m bench.soak --requests 20000        without disturbance: how much processes grow after a tenth of the requests

Each answer is compared with that of a quiet pass. On a machine that is too busy, /health may say that something has not
answered for 1.5 seconds. The command prints tables. Its exit status is 1 if anything is wrong.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import chain, repeat
from pathlib import Path
from random import Random

from bench.disturbance import Disturbance
from bench.process_ages import ProcessWatch
from bench.table import markdown
from tests.crowd.archive import Archive, make_archive
from tests.crowd.client import Client
from tests.crowd.hostile import Hostile
from tests.crowd.mix import Ask
from tests.crowd.pythons import find_interpreter
from tests.crowd.reference import Reference, expected_answers
from tests.servers import free_port
from tests.service.ahi import Ahi
from tests.service.answers import Answer
from tests.service.process import PROGRAM, Service

GROWTH_BYTES = 64 * 2**20
"""The growth that a process may have, in bytes."""

STAYS_SECONDS = 40.0
"""The seconds that a web process may take to finish its answers after a reload."""

_HOSTILE_PART = 0.25
_SETTLES_SECONDS = 8.0
_LOOKED_AT_PERCENT = (10, 25, 50, 75, 100)  # of the requests
_TOLD = 10
_SETTINGS = {
    "WEB_PROCESSES": "2",
    "FRAME_FETCHERS": "2",
    "PUBLIC_URL": "https://dicom.example.org",
    "SEARCH_MAX_IMAGE_SETS": "1000",
    "SLOW_CLIENT_SECONDS": "15",
    "LOG_LEVEL": "WARNING",
}
RIGHT, REFUSED, CUT, AGAIN, WRONG, HOSTILE = (
    "right",
    "503 with Retry-After",
    "cut off, of a process that was killed or an AHI that failed",
    "closed before the answer began, asked again",
    "wrong",
    "hostile",
)


@dataclass
class Load:
    """Clients of one service, and the results of their requests."""

    port: int
    archive: Archive
    expected: Sequence[tuple[Ask, Reference]]
    random: Random
    disturbance: Disturbance | None = None
    counted: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        orders = (self.random.sample(self.expected, len(self.expected)) for _ in repeat(None))
        self._wanted = chain.from_iterable(orders)
        self._lock = threading.Lock()

    def run(self, clients: int, over: Callable[[], bool]) -> None:
        """Run so many clients, each on its own connection, until the end."""
        threads = [threading.Thread(target=self._ask, args=(self.random.random(), over)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @property
    def requests(self) -> int:
        """The number of requests so far."""
        return self.counted.total()

    def _ask(self, seed: float, over: Callable[[], bool]) -> None:
        random = Random(seed)  # noqa: S311 - chance, not a secret
        hostile = Hostile(self.port, self.archive, random)
        with closing(Client(self.port)) as client:
            while not over():
                if random.random() < _HOSTILE_PART:
                    self._note(HOSTILE, hostile.misbehave())
                    continue
                with self._lock:
                    ask, reference = next(self._wanted)
                self._compare(client, reference.variant(ask, random), reference)

    def _compare(self, client: Client, ask: Ask, reference: Reference) -> None:
        began = time.monotonic()
        try:
            answer = self._answer(client, ask)
        except (OSError, HTTPException) as error:
            allowed = not isinstance(error, TimeoutError) and self._disturbed(began)
            self._note(CUT, None if allowed else f"{_shown(ask)}: {error!r}")
            return
        if answer.status == 503 and answer.headers.get("Retry-After"):
            allowed = reference.status == 502 or ask.path == "/health" or self._disturbed(began)
            self._note(REFUSED, None if allowed else f"{_shown(ask)}: 503 {answer.body[:200]!r}")
            return
        problem = reference.problem(ask, answer)
        self._note(RIGHT, f"{_shown(ask)}: {problem}" if problem else None)

    def _answer(self, client: Client, ask: Ask) -> Answer:
        """The answer; as browsers do, a request is repeated if a kept connection is closed before an answer."""
        try:
            return client.answer(ask)
        except ConnectionError:
            if not client.was_kept or ask.method == "POST":
                raise
        self._note(AGAIN, None)
        return client.answer(ask)

    def _disturbed(self, began: float) -> bool:
        disturbance, now = self.disturbance, time.monotonic()
        return bool(disturbance) and (
            disturbance.killed_between(began, now) or disturbance.failing_between(began, now)  # type: ignore[union-attr]
        )

    def _note(self, what: str, problem: str | None) -> None:
        with self._lock:
            self.counted[WRONG if problem else what] += 1
            if problem:
                self.problems.append(problem)


def _shown(ask: Ask) -> str:
    return f"{ask.method} {ask.path} {dict(ask.headers)}"


@contextmanager
def running(python: Path, archive: Archive, folder: Path) -> Iterator[tuple[Service, Ahi]]:
    """Run a service with metrics on one Python, and its data store on this one."""
    ahi = Ahi(archive.root)
    environment = {**archive.environment(ahi), **_SETTINGS, "METRICS_PORT": str(free_port())}
    service = Service(folder, environment, program=(str(python), *PROGRAM[1:]))
    try:
        yield service, ahi
    finally:
        if service.process.poll() is None:
            service.stop()
        ahi.stop()


def _load(service: Service, archive: Archive, seed: int) -> Load:
    random = Random(seed)  # noqa: S311 - chance, not a secret
    with closing(Client(service.port)) as client:
        expected = expected_answers(client, archive, random, of_each=3)
    return Load(service.port, archive, expected, random)


def soak(python: Path, folder: Path, *, seconds: float, clients: int, seed: int, pause_seconds: float) -> list[str]:
    """Disturb a service for so many minutes; prints tables and returns the failures."""
    archive = make_archive(folder / "archive")
    with running(python, archive, folder / "service") as (service, ahi):
        load = _load(service, archive, seed)
        load.disturbance = disturbance = Disturbance(service, ahi, load.random, pause_seconds)
        watch = ProcessWatch(service, disturbance.reloads)
        watch.start()
        disturbance.start()
        deadline = time.monotonic() + seconds
        load.run(clients, lambda: time.monotonic() > deadline)
        disturbance.stop()
        watch.stop()
        ended = service.stop()
    print(markdown(("requests", "number"), sorted(load.counted.items())))
    print("\n" + markdown(("disturbance", "number"), sorted(disturbance.done.items())))
    print("\n" + markdown(("processes", "seen", "first half MB", "second half MB", "peak MB"), watch.rows))
    print(f"\nA web process stayed {watch.longest_stay_seconds:.1f} s after a reload at most.")
    found = [*load.problems, *_grown(watch.growth)]
    if ended:
        found.append(f"the service ended with {ended}")
    if watch.longest_stay_seconds > STAYS_SECONDS:
        found.append(f"a web process stayed {watch.longest_stay_seconds:.1f} s after a reload")
    if left := watch.left:
        found.append(f"processes are left after the end: {left}")
    if "Traceback" in service.log:
        found.append(service.log[service.log.index("Traceback") :][:3000])
    return found


def growth(python: Path, folder: Path, *, requests: int, clients: int, seed: int) -> list[str]:
    """Make so many requests; prints the memory of processes after a tenth and at the end, and returns the failures."""
    archive = make_archive(folder / "archive")
    with running(python, archive, folder / "service") as (service, _):
        load, watch = _load(service, archive, seed), ProcessWatch(service, [])
        points = [requests * part // 100 for part in _LOOKED_AT_PERCENT]
        found = []
        for point in points:
            load.run(clients, lambda point=point: load.requests >= point)  # type: ignore[misc]
            time.sleep(_SETTLES_SECONDS)
            found.append((watch.resident(), watch.resident(anonymous=True)))
    (first, own_first), *_, (last, own_last) = found
    names = sorted(first.keys() & last.keys())
    rows = [
        (
            name,
            *(resident.get(name, 0) / 1e6 for resident, _ in found),
            (last[name] - first[name]) / 1e6,
            (own_last[name] - own_first[name]) / 1e6,
        )
        for name in names
    ]
    print(markdown(("requests", "number"), sorted(load.counted.items())))
    head = ("process", *(f"MB after {point:,} requests" for point in points), "more MB", "of it no files")
    print("\n" + markdown(head, rows))
    gone = [f"{name} has ended" for name in first if name not in last]
    return [*load.problems, *gone, *_grown({name: last[name] - first[name] for name in first if name in last})]


def _grown(growth: Mapping[str, int]) -> list[str]:
    return [f"{name} has grown by {more / 1e6:.0f} MB" for name, more in growth.items() if more > GROWTH_BYTES]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and print tables and failures; returns 1 if there are failures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--requests", type=int, help="so many without disturbance, instead of minutes with it")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=3, help="seconds between two disturbances")
    parser.add_argument("--python", default=f"{sys.version_info.major}.{sys.version_info.minor}")
    options = parser.parse_args(arguments)
    python = find_interpreter(options.python)
    if python is None:
        parser.error(f"Python {options.python} is not ready: script/pythons")
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as name:
        folder, clients, seed = Path(name), options.clients, options.seed
        if options.requests:
            wrong = growth(python, folder, requests=options.requests, clients=clients, seed=seed)
        else:
            seconds, pause = 60 * options.minutes, options.pause
            wrong = soak(python, folder, seconds=seconds, clients=clients, seed=seed, pause_seconds=pause)
    if wrong:
        print(f"\nNot as it should be ({len(wrong)}):", *wrong[:_TOLD], sep="\n- ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
