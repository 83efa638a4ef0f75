"""The lines of the benchmark that are rates: the requests to each server, and the ratios to reach."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import requests

from bench.closed_loop import Rate, closed_loop
from bench.processes import cpu_seconds
from bench.stand import Server, Stand
from bench.workload import Workload

RATES = ("frames", "stored", "part10", "metadata", "search", "rendered", "thumbnail")
"""The groups of lines."""

PROXY, ORTHANC, NGINX = "proxy", "Orthanc", "nginx"
_OCTETS = {"Accept": 'multipart/related; type="application/octet-stream"'}
_STORED = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=*'}
_DICOM = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1'}
_PEER_DICOM = {"Accept": 'multipart/related; type="application/dicom"'}
_JSON = {"Accept": "application/dicom+json", "Accept-Encoding": "identity"}
_GZIP = {"Accept": "application/dicom+json", "Accept-Encoding": "gzip"}
_JPEG = {"Accept": "image/jpeg"}
_WARM_SECONDS = 1
_WINDOWS = 100  # enough that none is asked for twice within the seconds of a measurement


@dataclass(frozen=True)
class Ask:
    """Requests that are repeated in turn."""

    paths: Sequence[str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Line:
    """The requests to the proxy and to Orthanc. nginx is the limit, and sends the bytes of the proxy from files.

    Lines that are asked `anew` have a path for each request, which the proxy has not drawn yet (the frame itself is in
    its cache); nginx has none of them.
    `group` is what `--lines` knows it by; `aims` are ratios of rates, by the other server's name.
    """

    group: str
    name: str
    proxy: Ask
    orthanc: Ask
    aims: Mapping[str, float] = field(default_factory=dict)
    connections: Sequence[int] = (1, 8)
    anew: bool = False


@dataclass(frozen=True)
class LineResult:
    """The result of a line on one server. `ahi_calls` counts the calls that the proxy made meanwhile."""

    line: str
    connections: int
    server: str
    rate: Rate
    cpu_ms: float
    ahi_calls: int


def lines(workload: Workload) -> list[Line]:
    """All lines that are rates."""
    ct, breast, cine = workload.ct[0], workload.mammography[0], workload.cine[0]
    slices, windows = ct.instance_paths, range(400, 400 + _WINDOWS)
    frames = Ask(ct.frame_paths, _OCTETS)
    found = [one for series in (ct, breast, cine) for one in _searches(series.study)]
    drawn = Ask([f"{path}/rendered?window=40,{width},linear" for width, path in product(windows, slices)], _JPEG)
    again = Ask([f"{path}/rendered" for path in slices], _JPEG)
    views = breast.instance_paths
    whole_views = Ask([f"{path}/rendered" for path in views], _JPEG)
    small_views, other_small_views = (_small(views, centers) for centers in (range(2000, 2100), range(2100, 2200)))
    repeated = Ask([f"{path}/thumbnail?viewport=256,256" for path in views], _JPEG)
    return [
        Line("frames", "decoded frame", frames, frames, {ORTHANC: 3, NGINX: 0.35}),
        Line("frames", "decoded frame of a cine", *2 * (Ask(cine.frame_paths, _OCTETS),), connections=(1,)),
        Line("stored", "stored frame", Ask(ct.frame_paths, _STORED), frames, {ORTHANC: 5}),
        Line("part10", "instance, Part 10", Ask(ct.instance_paths, _DICOM), Ask(ct.instance_paths, _PEER_DICOM),
             {ORTHANC: 2}),
        Line("metadata", "metadata of a series", *2 * (Ask([f"{ct.path}/metadata"], _JSON),), {ORTHANC: 10}),
        Line("metadata", "the same, gzip", *2 * (Ask([f"{ct.path}/metadata"], _GZIP),), {ORTHANC: 10}),
        Line("search", "study by PatientID + series of a study", *2 * (Ask(found, _JSON),), {ORTHANC: 3}),
        Line("rendered", "rendered, repeated", again, again, {ORTHANC: 4}),
        Line("rendered", "rendered, first", drawn, drawn, {ORTHANC: 1.5}, anew=True),
        Line("thumbnail", "thumbnail of a mammogram, repeated", repeated, small_views),
        Line("thumbnail", "thumbnail of a mammogram, first", small_views, small_views, anew=True),
        Line("thumbnail", "thumbnail of a mammogram, first; Orthanc: all of it", other_small_views, whole_views,
             {ORTHANC: 5}, (1,), anew=True),
    ]  # fmt: skip


def _small(views: Sequence[str], centers: range) -> Ask:
    """Small pictures, each new. They are no thumbnails, because these have no window to vary."""
    hows = [f"viewport=256,256&window={center},{width},linear" for center, width in product(centers, range(400, 440))]
    return Ask([f"{path}/rendered?{how}" for how, path in product(hows, views)], _JPEG)


def _searches(study: str) -> tuple[str, str]:
    return f"/studies?PatientID=BENCH{study.rpartition('.')[2]}", f"/studies/{study}/series"


def run_line(line: Line, stand: Stand, seconds: float) -> list[LineResult]:
    """Measure a line with each number of connections on each server in turn."""
    servers, asked = stand.servers, {PROXY: line.proxy, ORTHANC: line.orthanc}
    if not line.anew:
        asked[NGINX] = _still(line, stand)
    return [
        _measured(line, connections, servers[name], asked[name], stand, seconds)
        for connections in line.connections
        for name in asked
        if name in servers
    ]


def _still(line: Line, stand: Stand) -> Ask:
    """Store the answers of the proxy as files of nginx; after that the proxy is warm."""
    paths = []
    with requests.Session() as session:
        for number, path in enumerate(line.proxy.paths):
            paths.append(f"/{line.group}/{line.name.replace(' ', '-').replace(',', '')}/{number}")
            answer = session.get(stand.service.root + path, headers=dict(line.proxy.headers), stream=True, timeout=60)
            answer.raise_for_status()
            stand.nginx.put(paths[-1], answer.raw.read())
    return Ask(paths, {})


def _measured(line: Line, connections: int, server: Server, ask: Ask, stand: Stand, seconds: float) -> LineResult:
    def loop(paths: Sequence[str], for_seconds: float) -> Rate:
        return closed_loop(server.root, paths, connections=connections, seconds=for_seconds, headers=ask.headers)

    half = len(ask.paths) // 2
    if line.anew:  # the second half is for the measurement; each number of connections has a part of its own
        share = half // len(line.connections)
        start = half + share * line.connections.index(connections)
        loop(ask.paths[:half][::-1], _WARM_SECONDS)
        paths = ask.paths[start : start + share]
    else:
        loop(ask.paths, _WARM_SECONDS)
        paths = ask.paths
    stand.ahi.calls()
    before = cpu_seconds(server.pid)
    rate = loop(paths, seconds)
    used = cpu_seconds(server.pid) - before
    calls = sum(stand.ahi.calls().values()) if server.name == PROXY else 0
    return LineResult(line.name, connections, server.name, rate, 1000 * used / max(1, rate.requests), calls)


def ratios(measured: Sequence[LineResult], aims: Mapping[str, float]) -> list[tuple[str, float, str, float]]:
    """For each number of connections and each other server: line, ratio of the rates, to which server, and the aim."""
    rates = {(one.connections, one.server): max(1, one.rate.requests) / one.rate.seconds for one in measured}
    return [
        (f"{one.line}, {one.connections} connection{'s' * (one.connections > 1)}",
         rates[one.connections, PROXY] / rates[one.connections, one.server], one.server, aims.get(one.server, 0))
        for one in measured
        if one.server != PROXY
    ]  # fmt: skip
