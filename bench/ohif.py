"""OHIF at `/viewer` in Chromium: the times of its loading, and of the first picture of a CT after the click on it.

python -m bench.ohif [--viewer data/viewer] [--slices 400] [--repeat 3]

The second table tells what each took. A page that is loaded for the third time has the scripts that the browser has
compiled. A thin line has 5 Mbit/s and 40 ms. As it is set up, OHIF draws a frame of HTJ2K while it
comes. Its setting `stackRetrieveOptions` has two other ways: whole frames, and ranges, first 64 KiB and then the rest.
"""

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, CDPSession, Page

from bench.opening import Figure
from bench.processes import cpu_seconds
from bench.table import markdown
from datastore.embedded import Embedded
from datastore.samples import ct
from tests.service.browser import chromium_profile
from tests.service.process import Service

_WAIT_MILLISECONDS = 180_000
_PATIENT = "Berger, Anna"
_WATCH = """
    localStorage.setItem("shownTours", JSON.stringify(["basicViewerTour"]));
    addEventListener("dblclick", () => { window.clicked ??= performance.now(); }, true);
    document.addEventListener("CORNERSTONE_IMAGE_RENDERED", (event) => {
        const canvas = event.target.querySelector("canvas");
        if (window.pictured || !canvas) return;
        const copy = document.createElement("canvas");
        copy.width = copy.height = 64;
        const pen = copy.getContext("2d", { willReadFrequently: true });
        pen.drawImage(canvas, 0, 0, 64, 64);
        const isDrawn = pen.getImageData(0, 0, 64, 64).data.some((value, index) => index % 4 < 3 && value > 40);
        if (isDrawn) window.pictured = performance.now();
    }, true);
"""
_PICTURED = "window.pictured && (window.pictured - window.clicked) / 1000"
_RETRIEVE = """(() => {
    let config;
    Object.defineProperty(window, "config", {
        get: () => config,
        set: (value) => {
            config = value;
            for (const source of value.dataSources) source.configuration.stackRetrieveOptions = { $set: %s };
        },
    });
})()"""
_WHOLE = _RETRIEVE % "{ retrieveOptions: {} }"
_BY_RANGES = (
    _RETRIEVE
    % """{
        stages: [{ id: "coarse", retrieveType: "singleFast" }, { id: "whole", retrieveType: "singleFinal" }],
        retrieveOptions: {
            singleFast: { rangeIndex: 0, chunkSize: 65536 },
            singleFinal: { rangeIndex: -1, chunkSize: 65536 },
        },
    }"""
)
_SEVEN_CONTEXTS = """() => {
    const { rendering, ...others } = cornerstone.getConfiguration();
    cornerstone.setConfiguration({ ...others, rendering: { ...rendering, webGlContextCount: 7 } });
}"""
_SERVER_TOTAL = re.compile(r"total;dur=([\d.]+)")
_THIN_LINE = {"offline": False, "latency": 40, "downloadThroughput": 625_000, "uploadThroughput": 625_000}


@dataclass(frozen=True)
class Visit:
    """A page that was waited for: how long, and what that took until then."""

    seconds: float
    requests: int
    """Those that went to the service; the browser has answered the others."""

    sent_bytes: int
    server_seconds: float
    """The sum of the times that the service tells (Server-Timing)."""

    script_seconds: float
    """CPU time of the page's main thread."""

    browser_seconds: float
    """CPU time of all processes but those of the service, among them the one that draws without a graphics card."""


@dataclass(frozen=True)
class Way:
    """A way in which the study is opened."""

    name: str
    setting: str = ""
    """A script that changes the configuration of OHIF."""

    prepare: str = ""
    """A script that the page runs when it shows the list."""

    line: Mapping[str, Any] | None = None
    """The conditions of the network as Chromium takes them."""

    at_most: float | None = None
    """The aim, in seconds."""


class Visitor:
    """A browser with a profile of its own, which visits the viewer of a service."""

    def __init__(self, service: Service, context: BrowserContext) -> None:
        self._service = service
        self._context = context
        context.add_init_script(_WATCH)

    def load(self) -> Visit:
        """Open the list in a new page, until the study is there."""
        page, meter = self._page()
        self._list(page, "aetitle")
        visit = meter.visit(meter.running_seconds())
        page.wait_for_timeout(1000)  # the browser writes what it has compiled
        page.close()
        return visit

    def open(self, way: Way, root: str = "aetitle") -> Visit:
        """Click on the study in the list, until there is its first picture."""
        page, meter = self._page()
        if way.setting:
            page.add_init_script(way.setting)
        self._list(page, root)
        page.wait_for_timeout(2000)  # the list is read by a person first
        if way.prepare:
            page.evaluate(way.prepare)
        if way.line:
            meter.session.send("Network.emulateNetworkConditions", dict(way.line))
        meter.begin()
        page.get_by_text(_PATIENT).first.dblclick()
        page.wait_for_function(_PICTURED, timeout=_WAIT_MILLISECONDS, polling=50)
        visit = meter.visit(page.evaluate(_PICTURED))
        page.close()
        return visit

    def _page(self) -> tuple[Page, "_Meter"]:
        page = self._context.new_page()
        return page, _Meter(self._service, self._context.new_cdp_session(page))

    def _list(self, page: Page, root: str) -> None:
        page.goto(f"http://127.0.0.1:{self._service.port}/viewer/?datasources={root}", wait_until="commit")
        page.get_by_text(_PATIENT).first.wait_for(timeout=_WAIT_MILLISECONDS)


class _Meter:
    """What a page does, from its making or the last `begin` on."""

    def __init__(self, service: Service, session: CDPSession) -> None:
        self.session = session
        self._service = service
        self._cached = set[str]()
        self._sent = dict[str, int]()
        self._server = dict[str, float]()
        session.send("Network.enable")
        session.send("Performance.enable")
        session.on("Network.requestServedFromCache", lambda event: self._cached.add(event["requestId"]))
        session.on("Network.responseReceived", self._answered)
        session.on("Network.loadingFinished", self._finished)
        self.begin()

    def begin(self) -> None:
        """Count from here on."""
        for found in (self._cached, self._sent, self._server):
            found.clear()
        self._script, self._browser = self._cpu_seconds()
        self._began = time.monotonic()

    def running_seconds(self) -> float:
        """The seconds since then."""
        return time.monotonic() - self._began

    def visit(self, seconds: float) -> Visit:
        """What was done, in so many seconds."""
        script, browser = self._cpu_seconds()
        asked = {one: size for one, size in self._sent.items() if one not in self._cached}
        return Visit(
            seconds,
            len(asked),
            sum(asked.values()),
            sum(self._server.get(one, 0) for one in asked),
            script - self._script,
            browser - self._browser,
        )

    def _answered(self, event: dict[str, Any]) -> None:
        answer, name = event["response"], event["requestId"]
        if answer.get("fromDiskCache"):
            self._cached.add(name)
        headers = {key.lower(): value for key, value in answer["headers"].items()}
        if found := _SERVER_TOTAL.search(headers.get("server-timing", "")):
            self._server[name] = float(found[1]) / 1000

    def _finished(self, event: dict[str, Any]) -> None:
        self._sent[event["requestId"]] = int(event["encodedDataLength"])

    def _cpu_seconds(self) -> tuple[float, float]:
        metrics = {one["name"]: one["value"] for one in self.session.send("Performance.getMetrics")["metrics"]}
        everything, service = cpu_seconds(os.getpid()), cpu_seconds(self._service.process.pid)
        return metrics["ThreadTime"], everything - service


LOADS = (("first load", 3.0), ("second load", 1.0), ("third load", None))
"""In a new profile of the browser, with the seconds that each may take."""

WAYS = (
    Way("first picture after the click, warm", at_most=1.5),
    Way("the same of whole frames", _WHOLE),
    Way("the same by ranges", _BY_RANGES),
    Way("the same with seven contexts of WebGL", prepare=_SEVEN_CONTEXTS),
    Way("frames over a thin line", line=_THIN_LINE),
    Way("whole frames over a thin line", _WHOLE, line=_THIN_LINE),
    Way("ranges over a thin line", _BY_RANGES, line=_THIN_LINE),
)
MOST_BYTES = 6e6  # sent for the first load


def visits(service: Service, repeat: int, folder: Path) -> Mapping[str, Visit]:
    """The fastest of so many visits of each kind. Those that are compared take turns."""
    found: dict[str, list[Visit]] = {}
    for number in range(repeat):
        with chromium_profile(folder / f"loads{number}") as context:
            visitor = Visitor(service, context)
            for name, _ in LOADS:
                found.setdefault(name, []).append(visitor.load())
    with chromium_profile(folder / "pictures") as context:
        visitor = Visitor(service, context)
        for _ in range(3):  # warms the caches of the service, and the browser compiles
            visitor.open(WAYS[0])
        for number in range(repeat):
            for at, way in enumerate(WAYS):
                root = _root(at, number) if way.line else "aetitle"  # whose frames the browser does not have
                found.setdefault(way.name, []).append(visitor.open(way, root))
    return {name: min(ones, key=lambda one: one.seconds) for name, ones in found.items()}


def _root(way: int, number: int) -> str:
    return f"way{way}-{number}"


def figures(found: Mapping[str, Visit]) -> Iterator[Figure]:
    """The figures with their aims."""
    for name, at_most in LOADS:
        yield Figure(name, found[name].seconds, "s", at_most=at_most)
    yield Figure("first load, sent", found["first load"].sent_bytes / 1e6, "MB", at_most=MOST_BYTES / 1e6)
    for way in WAYS:
        yield Figure(way.name, found[way.name].seconds, "s", at_most=way.at_most)


def breakdown(found: Mapping[str, Visit]) -> str:
    """What each took, as a table."""
    header = ("taken", "requests", "MB sent", "service s", "script CPU s", "browser CPU s")
    rows = [
        (
            name,
            one.requests,
            f"{one.sent_bytes / 1e6:.2f}",
            f"{one.server_seconds:.2f}",
            f"{one.script_seconds:.2f}",
            f"{one.browser_seconds:.2f}",
        )
        for name, one in found.items()
    ]
    return markdown(header, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewer", type=Path, default=Path("data/viewer"), help="the folder that script/viewer makes")
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "files").mkdir()
        ct.write_images(folder / "files", options.slices)
        Embedded(folder / "data").fill([folder / "files"])
        roots: dict[str, dict[str, str]] = {
            _root(at, number): {} for at in range(len(WAYS)) for number in range(options.repeat)
        }
        environment = {
            "DATASTORE_ROOT": str(folder / "data"),
            "VIEWER_ROOT": str(options.viewer.resolve()),
            "AE_TITLES": json.dumps(roots),
        }
        service = Service(folder, environment)
        try:
            found = visits(service, options.repeat, folder)
        finally:
            service.stop()
    words = {True: "met", False: "missed", None: ""}
    rows = [
        (one.line, f"{one.value:.2f} {one.unit}", f"{one.at_most:g}" if one.at_most else "", words[one.met])
        for one in figures(found)
    ]
    print(f"\n{markdown(('OHIF', 'measured', 'at most', ''), rows)}\n\n{breakdown(found)}")


if __name__ == "__main__":
    main()
