"""The lines of the benchmark that are times: whole series, cold openings, many viewers, long series, and memory."""

import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ahi.codecs.frames import decode
from app.settings import Settings
from bench.memory import retrieval
from bench.nginx import running_nginx
from bench.processes import cpu_seconds, memory
from bench.stand import Archive, Server, Stand
from bench.viewer import CONNECTIONS, Timed, open_series, timed
from bench.workload import Series
from tests.service.process import Service

NATIVE = 'multipart/related; type="application/octet-stream"'
STORED = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
FILES = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1'
LATENCY_SECONDS = 0.04
VIEWERS = 20
_TIMES = 3
_DECODED = 20  # times that a frame is decoded, to measure it
_CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Figure:
    """A figure and its aim, which is an upper or a lower bound; without an aim it is only printed."""

    line: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None without an aim."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least


def series_lines(stand: Stand) -> Iterator[Figure]:
    """A warm series of 200 instances on one connection: the time of the first byte, and of all."""
    series = stand.workload.ct[0]
    ours, *peer = (_series(server, series) for name, server in stand.servers.items() if name != "nginx")
    yield Figure("series, first byte", 1000 * ours.first_byte_seconds, "ms", at_most=20)
    yield Figure("series, all of it", 1000 * ours.seconds, "ms")
    for theirs in peer:
        yield Figure("series, first byte, Orthanc", 1000 * theirs.first_byte_seconds, "ms")
        yield Figure("series, all of it, Orthanc", 1000 * theirs.seconds, "ms")
        yield Figure("series, all of it, times Orthanc", ours.seconds / theirs.seconds, "x", at_most=1.3)


def _series(server: Server, series: Series) -> Timed:
    accept = FILES if server.name == "proxy" else 'multipart/related; type="application/dicom"'
    timed(server.root, series.path, accept)
    found = [timed(server.root, series.path, accept) for _ in range(_TIMES)]
    first = median(one.first_byte_seconds for one in found)
    return Timed(first, median(one.seconds for one in found), found[0].body_bytes)


def cold_lines(archive: Archive) -> Iterator[Figure]:
    """A series that the proxy has never seen is opened, decoded and stored; 40 ms per call, 6 connections."""
    for form, accept, most in (("decoded", NATIVE, 900), ("stored", STORED, 500)):
        openings = [_opening(archive, accept, 1) for _ in range(archive.size.openings)]
        seconds = median(one.seconds for one in openings)
        bound = _bound_seconds(archive, accept)
        yield Figure(f"cold, {form}", 1000 * seconds, "ms", at_most=most)
        yield Figure(f"cold, {form}, best of {len(openings)}", 1000 * min(one.seconds for one in openings), "ms")
        yield Figure(f"cold, {form}, bound", 1000 * bound, "ms")
        yield Figure(f"cold, {form}, times the bound", seconds / bound, "x")
        yield Figure(f"cold, {form}, CPU of the proxy", 1000 * median(one.cpu_seconds for one in openings), "ms")
        yield Figure(f"cold, {form}, CPU of the data store", 1000 * median(one.ahi_seconds for one in openings), "ms")
        yield from _calls(f"cold, {form}", openings[0], archive.workload.ct[0])


def crowd_lines(archive: Archive) -> Iterator[Figure]:
    """A series that the proxy has never seen, opened by 20 viewers at once."""
    one, many = (_opening(archive, STORED, viewers) for viewers in (1, VIEWERS))
    yield Figure("one viewer, cold", 1000 * one.seconds, "ms")
    yield Figure(f"{VIEWERS} viewers at once, cold", 1000 * many.seconds, "ms")
    yield Figure(f"{VIEWERS} viewers, times one", many.seconds / one.seconds, "x", at_most=1.5)
    yield Figure(f"{VIEWERS} viewers, bytes sent, times one", VIEWERS, "x")
    yield from _calls(f"{VIEWERS} viewers", many, archive.workload.ct[0])


def scroll_lines(archive: Archive) -> Iterator[Figure]:
    """A client steps through the pictures of a series that the proxy has never seen; 40 ms per call."""
    for line, environment in (("scrolling", {}), ("scrolling, PREFETCH_FRAMES=0", {"PREFETCH_FRAMES": "0"})):
        scrolled = _opening(archive, "image/jpeg", 1, "/rendered", connections=1, **environment)
        pictures = len(archive.workload.ct[0].frame_paths)
        yield Figure(f"{line}, a picture", 1000 * scrolled.seconds / pictures, "ms")
        yield from _calls(line, scrolled, archive.workload.ct[0])


@dataclass(frozen=True)
class _Opening:
    seconds: float
    cpu_seconds: float
    ahi_seconds: float
    frame_calls: int
    metadata_calls: int


def _calls(line: str, opening: _Opening, series: Series) -> Iterator[Figure]:
    frames = len(series.frame_paths)
    yield Figure(f"{line}, GetImageFrame per frame", opening.frame_calls / frames, "calls", at_most=1)
    yield Figure(f"{line}, GetImageSetMetadata", opening.metadata_calls, "calls", at_most=1)


def _opening(
    archive: Archive,
    accept: str,
    viewers: int,
    below: str = "",
    *,
    connections: int = CONNECTIONS,
    **environment: str,
) -> _Opening:
    """Open the resources `below` all frames, in a service that has connections from opening another series."""
    series, before = archive.workload.ct
    paths, paths_before = ([f"{path}{below}" for path in one.frame_paths] for one in (series, before))
    with archive.service(**environment) as service:
        open_series(service.root, f"{before.path}/metadata", paths_before[:20], accept)
        time.sleep(1)  # the prefetches around them end
        archive.ahi.faults(f"*:latency={1000 * LATENCY_SECONDS:g}ms")
        archive.ahi.calls()
        used, store_used = cpu_seconds(service.process.pid), cpu_seconds(archive.ahi.pid)
        try:
            opened = open_series(service.root, f"{series.path}/metadata", paths, accept, viewers, connections)
        finally:
            archive.ahi.faults("")
        if opened.bad:
            raise RuntimeError(f"{opened.bad} answers of a cold opening were not 200")
        used, store_used = cpu_seconds(service.process.pid) - used, cpu_seconds(archive.ahi.pid) - store_used
        calls = archive.ahi.calls()
    return _Opening(opened.seconds, used, store_used, calls["GetImageFrame"], calls["GetImageSetMetadata"])


def _bound_seconds(archive: Archive, accept: str) -> float:
    """The limit for any server on this machine: a call for the metadata and one for the first frame, and then, for all
    frames, the longest of their calls with all fetch threads at it, and of decoding and sending them.
    """
    series = archive.workload.ct[0]
    stored, transfer_syntax_uid, pixels = archive.a_slice()
    decoding, frame = 0.0, stored
    if accept == NATIVE:
        started = time.thread_time()
        for _ in range(_DECODED):
            frame = decode(stored, transfer_syntax_uid, pixels)
        decoding = (time.thread_time() - started) / _DECODED * len(series.frame_paths) / _CORES
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, running_nginx(Path(folder) / "nginx") as nginx:
        nginx.put("/frame", frame)
        sending = min(
            open_series(nginx.root, "/frame", ["/frame"] * len(series.frame_paths), accept).seconds
            for _ in range(_TIMES)
        )
    waves = math.ceil(len(series.frame_paths) / (min(_CORES, 16) * Settings.fetch_threads))
    return 2 * LATENCY_SECONDS + max((waves - 1) * LATENCY_SECONDS, decoding + sending)


@dataclass(frozen=True)
class Growth:
    """The cost of a series per slice, in milliseconds."""

    slices: int
    cold_metadata_ms: float
    warm_metadata_ms: float
    all_of_it_ms: float


def growth(archive: Archive) -> list[Growth]:
    """The curve: the first metadata, those after it, and the whole series warm, by the length of the series."""
    with archive.service() as service:
        timed(service.root, f"{archive.workload.ct[0].path}/metadata", "application/dicom+json")
        return [_growth(service, series) for series in archive.workload.long]


def _growth(service: Service, series: Series) -> Growth:
    slices = len(series.instances)

    def per_slice(path: str, accept: str, times: int) -> float:
        return 1000 * min(timed(service.root, path, accept).seconds for _ in range(times)) / slices

    metadata = (f"{series.path}/metadata", "application/dicom+json")
    cold, warm = per_slice(*metadata, 1), per_slice(*metadata, _TIMES)
    timed(service.root, series.path, FILES)
    return Growth(slices, cold, warm, per_slice(series.path, FILES, 1))


def growth_lines(curve: Sequence[Growth]) -> Iterator[Figure]:
    """Whether the curve is flat: the longest series against the one of 200 slices."""
    start, end = curve[1], curve[-1]
    for what in ("cold_metadata_ms", "warm_metadata_ms", "all_of_it_ms"):
        name = what.removesuffix("_ms").replace("_", " ")
        times = getattr(end, what) / getattr(start, what)
        yield Figure(f"{name}, a slice of {end.slices:,} to one of {start.slices:,}", times, "x", at_most=1.2)


def long_study_lines(archive: Archive) -> Iterator[Figure]:
    """The memory of a web process for the longest series, above its idle memory."""
    with archive.service(WEB_PROCESSES="1") as service:
        found = retrieval(service, archive.workload.long[-1].path)
    more = (found.peak_bytes - found.idle_bytes) / 2**20
    yield Figure(f"memory, {len(archive.workload.long[-1].instances):,} instances retrieved", more, "MB", at_most=64)


def memory_lines(stand: Stand, idle_bytes: int) -> Iterator[Figure]:
    """The growth of a web process over all lines, and the peaks of all processes."""
    now = max(one.now_bytes for one in memory(stand.service.process.pid) if one.name.startswith("web"))
    yield Figure("memory, web process over idle after all lines", (now - idle_bytes) / 2**20, "MB", at_most=150)
    for server in stand.servers.values():
        for one in memory(server.pid):
            yield Figure(f"memory, peak, {server.name} {one.name}", one.peak_bytes / 2**20, "MB")
