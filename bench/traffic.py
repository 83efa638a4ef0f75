"""The cost of the console for image traffic: frames each second of a service with it and of one without, in turn.

Both services run all the time. With the console, its history is written, and somebody watches the status page. It is
asked for once in each round, which is more often than the page itself asks.
"""

import statistics
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

from bench.closed_loop import closed_loop
from bench.stand import running_archive
from bench.workload import Size
from tests.service.process import Service

AIM_PERCENT = 3.0
ROUNDS, SECONDS = 12, 5

_CONNECTIONS = 8
_OCTETS = {"Accept": 'multipart/related; type="application/octet-stream"'}
_WARM_SECONDS = 1


@dataclass(frozen=True)
class Traffic:
    """The frames each second of all rounds, with and without the console."""

    with_console: Sequence[float]
    without: Sequence[float]

    @property
    def cost_percent(self) -> float:
        """The median over all rounds of what the console costs; below 0 if it was faster with it."""
        shares = [one / other for one, other in zip(self.with_console, self.without, strict=True)]
        return 100 * (1 - statistics.median(shares))

    def row(self) -> tuple[str, float, float, float, str, str]:
        """The row of the table."""
        cost = self.cost_percent
        rates = (statistics.median(self.with_console), statistics.median(self.without))
        met = "met" if cost <= AIM_PERCENT else "missed"
        return ("decoded frames", *rates, cost, f"<= {AIM_PERCENT:g}", met)


HEADER = ("line", "with, /s", "without, /s", "cost, %", "aim, %", "")


def measure(size: Size, rounds: int, seconds: int) -> Traffic:
    """Start two services on one archive, and measure them in turn; each begins every other round."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-traffic-") as folder,
        running_archive(Path(folder), size, long=False) as archive,
        archive.service(CONSOLE="true") as shown,
        archive.service(CONSOLE="false") as plain,
    ):
        paths = archive.workload.ct[0].frame_paths
        services: Mapping[bool, Service] = {True: shown, False: plain}
        for service in services.values():
            _rate(service, paths, _WARM_SECONDS, watched=False)
        rates: dict[bool, list[float]] = {True: [], False: []}
        for number in range(rounds):
            for has_console in (True, False) if number % 2 else (False, True):
                rate = _rate(services[has_console], paths, seconds, watched=has_console)
                rates[has_console].append(rate)
        return Traffic(rates[True], rates[False])


def _rate(service: Service, paths: Sequence[str], seconds: int, *, watched: bool) -> float:
    """Frames each second; RuntimeError if a request failed."""
    watcher = threading.Thread(target=_watch, args=(service,))
    if watched:
        watcher.start()
    found = closed_loop(service.root, paths, connections=_CONNECTIONS, seconds=seconds, headers=_OCTETS)
    if watched:
        watcher.join()
    if found.bad:
        raise RuntimeError(f"{found.bad} frames were not sent")
    return found.per_second


def _watch(service: Service) -> None:
    """Open the status page once."""
    url = f"http://127.0.0.1:{service.port}/console/status"
    requests.get(url, headers={"Accept": "text/html"}, timeout=60).raise_for_status()
