"""The quick look in Chromium: the first picture of a cold CT, and pictures in a second while scrolling a warm one.

python -m bench.look [--slices 200] [--openings 3]

A cold service has just been started with an empty cache, and has shown another study; each call to the data store
takes 40 ms longer. The time begins with the navigation, as a click begins it, and ends when the picture is loaded.
A warm service has shown every slice before. The page has not: it is opened anew, and steps as soon as a slice is drawn.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, Page

from bench.opening import LATENCY_SECONDS, Figure
from bench.table import markdown
from datastore.embedded import Embedded
from datastore.samples import ct, shipped
from tests.service.browser import chromium
from tests.service.process import Service

FIRST_PICTURE_MS, PICTURES_PER_SECOND = 1000.0, 20.0
_OTHER_STUDY = shipped.SHIPPED[0].series.study.uid
_PATIENCE_MS = 120_000
_NOTE_FIRST = """document.addEventListener("load", (event) => {
    if (event.target.id === "first" && !window.firstPicture) window.firstPicture = performance.now();
}, true);"""
_SCROLL = """async (steps) => {
    const canvas = document.getElementById("canvas");
    const drawn = () => new Promise(requestAnimationFrame);
    const first = Number(canvas.dataset.shown);
    const began = performance.now();
    for (let step = 1; step <= steps; step += 1) {
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
        while (Number(canvas.dataset.shown) !== first + step) await drawn();
    }
    return (performance.now() - began) / 1000;
}"""


def measure(slices: int, openings: int) -> Iterator[Figure]:
    """The figures, of a CT with so many slices that is opened so many times."""
    with tempfile.TemporaryDirectory(prefix="bench-look-") as name, chromium() as browser:
        folder = Path(name)
        (folder / "files").mkdir()
        ct.write_images(folder / "files", slices)
        shipped.write_shipped(folder / "files")
        Embedded(folder / "data").fill([folder / "files"])
        slow = {"DATASTORE_FAULTS": f"*:latency={1000 * LATENCY_SECONDS:.0f}ms"}
        first = [_first_picture(browser, folder, f"cold{number}", slow) for number in range(openings)]
        yield Figure("first picture, cold", median(first), "ms", at_most=FIRST_PICTURE_MS)
        yield Figure(f"first picture, cold, best of {openings}", min(first), "ms")
        with _running(folder, "warm", {}) as service, _page(browser) as page:
            for _ in range(2):  # the first time loads and draws all slices in the service
                page.goto(_address(service, ct.STUDY.uid) + "?picture=1")
                page.wait_for_function("() => document.getElementById('canvas').dataset.shown === '0'")
                seconds = page.evaluate(_SCROLL, slices - 1)
            yield Figure("scrolling, warm", (slices - 1) / seconds, "pictures/s", at_least=PICTURES_PER_SECOND)


def _first_picture(browser: Browser, folder: Path, name: str, environment: dict[str, str]) -> float:
    with _running(folder, name, environment) as service, _page(browser) as page:
        for study in (_OTHER_STUDY, ct.STUDY.uid):
            page.goto(_address(service, study))
            page.wait_for_function("() => window.firstPicture")
        return float(page.evaluate("() => window.firstPicture"))


@contextmanager
def _running(folder: Path, name: str, environment: dict[str, str]) -> Iterator[Service]:
    own = {"DATASTORE_ROOT": str(folder / "data"), "LOG_LEVEL": "WARNING", **environment}
    service = Service(folder / name, own)
    try:
        yield service
    finally:
        service.stop()


@contextmanager
def _page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(_PATIENCE_MS)
    page.add_init_script(_NOTE_FIRST)
    try:
        yield page
    finally:
        context.close()


def _address(service: Service, study: str) -> str:
    return f"{service.root.removesuffix('/aetitle')}/console/aetitle/look/{study}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--openings", type=int, default=3)
    options = parser.parse_args(arguments)
    meaning = {True: "met", False: "missed", None: "-"}
    rows = [
        (one.line, one.value, one.unit, one.at_most or one.at_least or "-", meaning[one.met])
        for one in measure(options.slices, options.openings)
    ]
    print(markdown(("line", "found", "unit", "aim", ""), rows))


if __name__ == "__main__":
    main()
