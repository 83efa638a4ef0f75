"""What storing costs others: readers beside many senders, lost images, and the memory of each process.

python -m bench.store_load [--senders 20] [--files 20] [--megabytes 1000] [--side 512]

Each sender stores a CT series of its own, file by file, on a connection of its own. Readers ask for a frame and a
search in turn, with a pause after each answer: first alone, then beside the senders. Then one request stores as many
megabytes as asked for.
"""

import argparse
import http.client
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.processes import memory
from bench.store import BOUNDARY, CONTENT_TYPE, post, series
from bench.table import markdown
from tests.service.storing import Storing, storing

READERS = 4
_ALONE_SECONDS = 8.0
_PAUSE_SECONDS = 0.02
_READER = "127.0.2.1"  # clients are told apart by their address
_READ_SERIES = 1
_SLICES_TO_READ = 20
MB = 2**20


@dataclass(frozen=True)
class Reading:
    """The seconds of each request of the readers, and how many were not answered 200."""

    seconds: Sequence[float]
    failed: int

    @property
    def median_ms(self) -> float:
        return 1000 * statistics.median(self.seconds)

    @property
    def p95_ms(self) -> float:
        return 1000 * sorted(self.seconds)[int(0.95 * (len(self.seconds) - 1))]


@dataclass(frozen=True)
class Beside:
    """Readers alone and beside senders, and what became of the images."""

    alone: Reading
    beside: Reading
    images: int
    seconds: float
    acknowledged: int
    found: int
    """Of those that were acknowledged."""
    more_bytes: Mapping[str, int]
    """By process: its memory at the end less that after a quarter of the images."""


@contextmanager
def reading(root: str, paths: Sequence[str]) -> Iterator[list[Future[Reading]]]:
    """Readers at work during this context; the results of each afterwards."""
    over = threading.Event()
    with ThreadPoolExecutor(READERS) as pool:
        futures = [pool.submit(_read, root, paths, over) for _ in range(READERS)]
        try:
            yield futures
        finally:
            over.set()


def _read(root: str, paths: Sequence[str], over: threading.Event) -> Reading:
    url, seconds, failed = urlsplit(root), list[float](), 0
    connection = http.client.HTTPConnection(url.netloc, timeout=60, source_address=(_READER, 0))
    while not over.wait(_PAUSE_SECONDS):
        began = time.monotonic()
        connection.request("GET", url.path + paths[len(seconds) % len(paths)])
        answer = connection.getresponse()
        answer.read()
        failed += answer.status != 200
        seconds.append(time.monotonic() - began)
    connection.close()
    return Reading(seconds, failed)


def _joined(futures: Sequence[Future[Reading]]) -> Reading:
    each = [future.result() for future in futures]
    return Reading([second for one in each for second in one.seconds], sum(one.failed for one in each))


def send(root: str, senders: int, files: int, side: int, first: int) -> int:
    """Store so many files of each sender's series, from number `first` on; the number that was acknowledged.

    Runs in a process of its own: what it computes does not slow the readers' clocks.
    """
    bodies = [series(100 + sender, first + files, side)[first:] for sender in range(senders)]

    def one(sender: int) -> int:
        taken = 0
        for file in bodies[sender]:
            taken += post(root, [file], f"127.0.1.{sender + 1}")
        return taken

    with ThreadPoolExecutor(senders) as pool:
        return sum(pool.map(one, range(senders)))


def beside(folder: Path, senders: int, files: int, side: int, alone_seconds: float = _ALONE_SECONDS) -> Beside:
    """Readers alone, then beside senders."""
    settings = {"WEB_PROCESSES": "1", "SPOOL_MIN_FREE_BYTES": "0", "STORE_WAIT_SECONDS": "600",
                "AHI_STOW_DIGEST": "streaming", "LOG_LEVEL": "ERROR"}  # fmt: skip
    spawn = multiprocessing.get_context("spawn")
    with storing(folder, **settings) as running, ProcessPoolExecutor(1, mp_context=spawn) as apart:
        root = running.service.root
        post(root, series(_READ_SERIES, _SLICES_TO_READ, side))
        paths = [*_paths(_READ_SERIES)]
        with reading(root, paths) as futures:
            time.sleep(alone_seconds)
        alone = _joined(futures)
        warm = apart.submit(send, root, senders, files // 4, side, 0).result()
        before, began = _memory(running), time.monotonic()
        with reading(root, paths) as futures:
            taken = apart.submit(send, root, senders, files - files // 4, side, files // 4).result()
        seconds = time.monotonic() - began
        after = _memory(running)
        found = sum(len(running.found(StudyInstanceUID=f"1.2.826.{100 + sender}")) for sender in range(senders))
        more = {name: after[name] - before.get(name, 0) for name in after}
        return Beside(alone, _joined(futures), senders * files, seconds, warm + taken, found, more)


def _paths(number: int) -> Iterator[str]:
    for at in range(1, _SLICES_TO_READ + 1):
        yield f"/studies/1.2.826.{number}/series/1.2.826.0.{number}/instances/1.2.826.0.1.{number}.{at}/frames/1"
        yield f"/studies?StudyInstanceUID=1.2.826.{number}"


def _memory(running: Storing) -> dict[str, int]:
    """The memory of each kind of process of the service, and of the data store, in bytes."""
    found: dict[str, int] = {}
    for process in memory(running.service.process.pid):
        found[process.name] = found.get(process.name, 0) + process.now_bytes
    return found | {"data store": sum(one.now_bytes for one in memory(running.datastore.process.pid))}


def one_large_request(folder: Path, megabytes: int, side: int) -> tuple[int, float, Mapping[str, int]]:
    """Store one body of so many megabytes.

    Its bytes, the seconds until all of it is stored, and by process how much more its peak was than its memory before.
    """
    with storing(folder, WEB_PROCESSES="1", SPOOL_MIN_FREE_BYTES="0", STORE_WAIT_SECONDS="600",
                 AHI_STOW_DIGEST="streaming", LOG_LEVEL="ERROR") as running:  # fmt: skip
        root = running.service.root
        post(root, series(1, 2, side))
        pids = {"web process": running.service.named("web")[0], "forwarder": running.service.named("forwarder")[0],
                "data store": running.datastore.process.pid}  # fmt: skip
        before = {}
        for name, pid in pids.items():
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins again here
            before[name] = memory(pid)[0].now_bytes
        began = time.monotonic()
        size_bytes = _post_large(root, megabytes * MB, side)
        seconds = time.monotonic() - began
        peaks = {name: memory(pid)[0].peak_bytes - before[name] for name, pid in pids.items()}
        return size_bytes, seconds, peaks


def _post_large(root: str, size_bytes: int, side: int) -> int:
    """Store instances of that size together in one chunked request; the bytes of the body."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    (file,) = series(2, 1, side)
    uid, sent = b"1.2.826.0.1.2.1", 0
    count = max(1, size_bytes // len(file))

    def body() -> Iterator[bytes]:
        nonlocal sent
        for number in range(count):
            part = head + file.replace(uid, f"1.2.8.{number:09d}".encode()) + b"\r\n"
            sent += len(part)
            yield part
        yield f"--{BOUNDARY}--\r\n".encode()

    url = urlsplit(root)
    connection = http.client.HTTPConnection(url.netloc, timeout=1200)
    connection.request("POST", f"{url.path}/studies", body(), {"Content-Type": CONTENT_TYPE}, encode_chunked=True)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"the answer was {answer.status}")
    return sent


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--senders", type=int, default=20)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--side", type=int, default=512)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-store-load-") as name:
        if options.senders:
            found = beside(Path(name, "beside"), options.senders, options.files, options.side)
            print(markdown(["what", "figure", "aim"], [*_rows(found)]))
        if options.megabytes:
            size_bytes, seconds, peaks = one_large_request(Path(name, "large"), options.megabytes, options.side)
            print(f"\n{size_bytes / MB:,.0f} MB in one request, {seconds:.1f} s")
            rows = [[who, f"{peak / MB:.1f}", "-" if who == "data store" else "64"] for who, peak in peaks.items()]
            print(markdown(["process", "more MB at its peak", "aim"], rows))


def _rows(found: Beside) -> Iterator[list[str]]:
    for who, one in (("alone", found.alone), ("beside the senders", found.beside)):
        yield [f"reads {who}: median ms", f"{one.median_ms:.2f}", "-"]
        yield [f"reads {who}: 95th percentile ms", f"{one.p95_ms:.2f}", "-"]
    yield ["reads are slower by, median", f"{100 * (found.beside.median_ms / found.alone.median_ms - 1):.0f} %", "30 %"]
    yield ["reads that failed", f"{found.alone.failed + found.beside.failed}", "0"]
    yield ["images /s", f"{found.images / found.seconds:.1f}", "-"]
    yield ["images acknowledged, of", f"{found.acknowledged} of {found.images}", "-"]
    yield ["images acknowledged and lost", f"{max(0, found.acknowledged - found.found)}", "0"]
    for name, more in found.more_bytes.items():
        yield [f"memory of {name}: more MB", f"{more / MB:.1f}", "-" if name == "data store" else "0"]


if __name__ == "__main__":
    main()
