"""Many clients at once, for every kind of resource, on a service that knows nothing yet; all answers must be right.

.venv/bin/python -m tests.crowd.cold [--python 3.10] [--seconds 60] [--clients 20] [--seed 1]

The service runs on the Python that is named; the data store, which is slow, and the clients run on this one.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import chain, repeat
from os import kill
from pathlib import Path
from random import Random

from tests.crowd.archive import Archive, make_archive
from tests.crowd.client import STOP_SECONDS, Client
from tests.crowd.mix import Ask
from tests.crowd.pythons import find_interpreter
from tests.crowd.reference import Reference, expected_answers
from tests.service.ahi import Ahi
from tests.service.process import ROOT, Service

PROGRAM = ROOT / "tests" / "crowd" / "main_with_stacks.py"
SLOW = "GetImageFrame:latency=250ms,GetImageSetMetadata:latency=100ms,GetImageSet:latency=50ms"
_ROUND_SECONDS = 12.0
_EVICTED_AFTER_SECONDS = 3.0
_EVICTED_EVERY_SECONDS = 2.0
_OF_EACH_KIND = 3
_TOLD = 5  # problems that a report has in full
_SETTINGS = {
    "WEB_PROCESSES": "1",  # where threads meet
    "PUBLIC_URL": "https://dicom.example.org",  # the same on every port
    "AHI_DEADLINE_SECONDS": "60",  # nothing is given up on a busy machine
    "SEARCH_MAX_IMAGE_SETS": "1000",
}


@dataclass
class Report:
    """What clients asked for, and what was wrong with it."""

    asked: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    kinds: int = 0

    @property
    def text(self) -> str:
        """One line, and the first problems."""
        asked, more = f"{self.asked.total()} requests of {self.kinds} kinds", len(self.problems) - _TOLD
        return "\n".join([asked, *self.problems[:_TOLD], *([f"and {more} more problems"] if more > 0 else [])])


def run(archive: Archive, python: Path, folder: Path, *, seconds: float, clients: int = 20, seed: int = 1) -> Report:
    """Ask for `seconds`, in rounds that each begin with a new service and an empty cache, until there is a problem."""
    report, random, ahi = Report(), Random(seed), Ahi(archive.root)  # noqa: S311 - chance, not a secret
    try:
        environment = {**archive.environment(ahi), **_SETTINGS}
        with _service(python, folder / "quiet", environment) as service, closing(Client(service.port)) as client:
            expected = expected_answers(client, archive, random, _OF_EACH_KIND)
        report.kinds = len({ask.kind for ask, _ in expected})
        ahi.faults(SLOW)
        for number in range(max(1, round(seconds / _ROUND_SECONDS))):
            with _service(python, folder / f"round{number}", environment) as service:
                _Round(service, report, expected, random, clients).run(min(seconds, _ROUND_SECONDS))
            if report.problems:
                break
    finally:
        ahi.stop()
    return report


@contextmanager
def _service(python: Path, folder: Path, environment: dict[str, str]) -> Iterator[Service]:
    service = Service(folder, environment, program=(str(python), str(PROGRAM)))
    try:
        yield service
    finally:
        service.process.terminate()
        with suppress(TimeoutError):
            service.process.wait(15)
        shutil.rmtree(folder / "cache", ignore_errors=True)


class _Round:
    """Clients that take requests from one list, in an order of their own, over and over."""

    def __init__(
        self, service: Service, report: Report, expected: Sequence[tuple[Ask, Reference]], random: Random, clients: int
    ) -> None:
        self._service = service
        self._report = report
        self._seeds = [random.random() for _ in range(clients)]
        orders = (random.sample(expected, len(expected)) for _ in repeat(None))
        self._wanted = chain.from_iterable(orders)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._stopped = threading.Event()

    def run(self, seconds: float) -> None:
        """Until the time is over or the service has stopped."""
        began = sorted(self._service.children())
        clients = [threading.Thread(target=self._ask, args=(seed,)) for seed in self._seeds]
        for client in clients:
            client.start()
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self._stopped.wait(min(left, _EVICTED_EVERY_SECONDS)):
            self._evict()
        self._over.set()
        for client in clients:
            client.join()
        if self._stopped.is_set():
            self._report.problems.insert(0, f"the service has stopped; its threads:\n{self._stacks()}")
        elif sorted(self._service.children()) != began:
            self._problem(f"processes have ended:\n{self._service.log[-3000:]}")
        elif "Traceback" in self._service.log:
            self._problem(f"a traceback:\n{self._service.log[self._service.log.index('Traceback') :][:3000]}")

    def _ask(self, seed: float) -> None:
        random = Random(seed)  # noqa: S311 - chance, not a secret
        with closing(Client(self._service.port)) as client:
            self._ask_as(client, random)

    def _ask_as(self, client: Client, random: Random) -> None:
        while not self._over.is_set() and not self._stopped.is_set():
            with self._lock:
                ask, reference = next(self._wanted)
            ask = reference.variant(ask, random)
            try:
                problem = reference.problem(ask, client.answer(ask))
            except TimeoutError:
                self._stopped.set()
                problem = f"nothing came for {STOP_SECONDS:g} seconds"
            except (OSError, HTTPException) as error:
                problem = f"cut off: {error!r}"
            with self._lock:
                self._report.asked[ask.kind] += 1
            if problem:
                self._problem(f"{ask.method} {ask.path} {dict(ask.headers)}: {problem}")

    def _problem(self, text: str) -> None:
        with self._lock:
            self._report.problems.append(text)

    def _evict(self) -> None:
        """Delete what the cache has had for a while, as it does itself when it is full."""
        before = time.time() - _EVICTED_AFTER_SECONDS
        for path in (self._service.log_path.parent / "cache").rglob("*"):
            with suppress(OSError):  # somebody else was quicker
                if path.is_file() and path.stat().st_mtime < before:
                    path.unlink()

    def _stacks(self) -> str:
        before = len(self._service.log)
        for child in self._service.children():
            kill(child, signal.SIGUSR2)
            time.sleep(0.5)  # one after the other, or their lines are mixed
        return self._service.log[before:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run on one Python and print the report; 1 if there was a problem."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=f"{sys.version_info.major}.{sys.version_info.minor}")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    python = find_interpreter(options.python)
    if python is None:
        parser.error(f"Python {options.python} is not ready: script/pythons")
    with tempfile.TemporaryDirectory(prefix="crowd-") as folder:
        archive = make_archive(Path(folder, "archive"))
        report = run(archive, python, Path(folder), seconds=options.seconds, clients=options.clients, seed=options.seed)
    sys.stdout.write(f"Python {options.python}, seed {options.seed}: {report.text}\n")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
