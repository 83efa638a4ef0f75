"""The times of OHIF at `/viewer` in Chromium: its loading, and the first picture of a CT of 400 slices after the click.

python -m bench.ohif [--viewer data/viewer] [--slices 400] [--repeat 3]

The last line loads HTJ2K by ranges: the viewer shows a coarse picture from the first 64 KiB of a frame. OHIF has
no setting for that, so the benchmark sets it from outside.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page

from bench.opening import Figure
from bench.table import markdown
from datastore.embedded import Embedded
from datastore.samples.ct import write_images
from tests.service.browser import chromium_page
from tests.service.process import Service

_WAIT_MILLISECONDS = 180_000
_PATIENT = "Berger, Anna"
_DRAWN = """() => {
    const canvas = document.querySelector("canvas.cornerstone-canvas");
    if (!canvas || !canvas.width) return false;
    const copy = document.createElement("canvas");
    copy.width = copy.height = 64;
    const pen = copy.getContext("2d");
    pen.drawImage(canvas, 0, 0, 64, 64);
    return pen.getImageData(0, 0, 64, 64).data.some((value, index) => index % 4 < 3 && value > 40);
}"""
_BY_RANGES = """
    let cornerstone;
    Object.defineProperty(window, "cornerstone", {
        get: () => cornerstone,
        set: (value) => {
            cornerstone = value;
            const stages = { retrieveOptions: { default: { rangeIndex: 0, chunkSize: 65536 } } };
            value.utilities.imageRetrieveMetadataProvider.add("stack", stages);
        },
    });
"""


def figures(service: Service, browser: Browser, repeat: int) -> Iterator[Figure]:
    """The figures of a service that has one CT study."""
    context = _context(browser)
    first, sent = _load(context, service)
    second = min(_load(context, service)[0] for _ in range(repeat))
    yield Figure("first load, until the list is there", first, "s", at_most=3)
    yield Figure("first load, sent", sent / 1e6, "MB", at_most=6)
    yield Figure("second load", second, "s", at_most=1)
    _opened(context, service)  # warms the cache of the service
    pictures = [_opened(context, service) for _ in range(repeat)]
    yield Figure("first picture after the click, warm", min(pictures), "s", at_most=1.5)
    context.add_init_script(_BY_RANGES)
    by_ranges = [_opened(context, service) for _ in range(repeat)]
    yield Figure("the same by ranges of HTJ2K", min(by_ranges), "s")
    context.close()


def _context(browser: Browser) -> BrowserContext:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.add_init_script("localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))")
    return context


def _load(context: BrowserContext, service: Service) -> tuple[float, int]:
    """Open the list in a new page: the seconds until it is there, and the bytes that were sent."""
    page, sent = context.new_page(), list[int]()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: sent.append(int(event["encodedDataLength"])))
    started = time.monotonic()
    _list(page, service)
    seconds = time.monotonic() - started
    page.close()
    return seconds, sum(sent)


def _list(page: Page, service: Service) -> None:
    page.goto(f"http://127.0.0.1:{service.port}/viewer/", wait_until="commit")
    page.get_by_text(_PATIENT).first.wait_for(timeout=_WAIT_MILLISECONDS)


def _opened(context: BrowserContext, service: Service) -> float:
    """The seconds from the click on the study in the list to its first picture."""
    page = context.new_page()
    _list(page, service)
    page.wait_for_timeout(2000)  # the list is read by a person first
    started = time.monotonic()
    page.get_by_text(_PATIENT).first.dblclick()
    page.wait_for_function(_DRAWN, timeout=_WAIT_MILLISECONDS)
    seconds = time.monotonic() - started
    page.close()
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewer", type=Path, default=Path("data/viewer"), help="the folder that script/viewer makes")
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "files").mkdir()
        write_images(root / "files", options.slices)
        Embedded(root / "data").fill([root / "files"])
        service = Service(root, {"DATASTORE_ROOT": str(root / "data"), "VIEWER_ROOT": str(options.viewer.resolve())})
        try:
            with chromium_page() as page:
                browser = page.context.browser
                assert browser  # noqa: S101 - Playwright's type allows none
                found = [*figures(service, browser, options.repeat)]
        finally:
            service.stop()
    words = {True: "met", False: "missed", None: ""}
    rows = [(one.line, f"{one.value:.2f} {one.unit}", words[one.met]) for one in found]
    print(f"\n{markdown(('OHIF', 'measured', ''), rows)}")


if __name__ == "__main__":
    main()
