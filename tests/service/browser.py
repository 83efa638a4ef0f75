"""A page of JavaScript clients in a headless Chromium, served from an origin of its own on loopback."""

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
"""Nothing but what the page asks for goes out, and pictures are drawn without a graphics card."""


_AXE = Path(__file__).parent / "javascript" / "node_modules" / "axe-core" / "axe.min.js"


class _Files(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm", ".js": "text/javascript"}

    def send_head(self) -> BytesIO | BinaryIO | None:
        """The file; the start page for paths that only its scripts know."""
        if not Path(self.translate_path(self.path)).exists():
            self.path = "/index.html"
        return super().send_head()

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@contextmanager
def files_served(folder: Path) -> Iterator[str]:
    """The files of a folder on loopback; their URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), args=FLAGS, chromium_sandbox=False)
        yield browser
        browser.close()


@contextmanager
def chromium_profile(folder: Path) -> Iterator[BrowserContext]:
    """The system's Chromium with a profile in a folder, where it keeps what it has compiled. Others forget that."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder,
            executable_path=_program(),
            args=FLAGS,
            chromium_sandbox=False,
            viewport={"width": 1400, "height": 900},
        )
        yield context
        context.close()


def _program() -> str:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "a browser is missing: apt-get install chromium"
    return program


@contextmanager
def chromium_page() -> Iterator[Page]:
    """An empty page of the system's Chromium."""
    with chromium() as browser:
        yield browser.new_page()


def barriers(page: Page) -> list[str]:
    """What keeps people from using a page, as axe-core finds it: serious and critical findings, with their elements."""
    page.evaluate(_AXE.read_text())
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes']]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def overflow(page: Page) -> list[str]:
    """What is wider than the window, so that people would have to scroll sideways; tables scroll by themselves."""
    found: list[str] = page.evaluate("""() => {
        const { scrollWidth } = document.documentElement;
        const wide = scrollWidth > innerWidth ? [`the page: ${scrollWidth}`] : [];
        const outside = [...document.querySelectorAll("main *, header *")].filter((one) =>
            one.getBoundingClientRect().right > innerWidth + 1 && one.checkVisibility() &&
            !one.closest(".table, .look-series, .unseen, .skip"));
        return [...wide, ...outside.map((one) => one.outerHTML.slice(0, 120))];
    }""")
    return found


def recorded_video(browser: Browser) -> bytes:
    """A second of MPEG-4 AVC/H.264 in red, which the browser makes: no library here writes it."""
    page = browser.new_page()
    try:
        return base64.b64decode(page.evaluate(_RECORD))
    finally:
        page.close()


_RECORD = """async () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [320, 240];
    const pen = canvas.getContext("2d");
    const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: "video/mp4;codecs=avc1.42E01E" });
    const parts = [];
    recorder.ondataavailable = (event) => parts.push(event.data);
    const stopped = new Promise((resolve) => (recorder.onstop = resolve));
    recorder.start();
    for (let number = 0; number < 40; number++) {
        pen.fillStyle = `rgb(200, ${number}, 40)`;
        pen.fillRect(0, 0, 320, 240);
        await new Promise((resolve) => setTimeout(resolve, 40));
    }
    recorder.stop();
    await stopped;
    const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}"""


def call(page: Page, function: str, *arguments: object) -> Any:
    """What one of the page's clients makes of the arguments; its error is the test's, and so is its silence."""
    return page.evaluate(_IN_TIME, [function, list(arguments)])


_IN_TIME = """([name, given]) => Promise.race([
    window.client[name](...given),
    new Promise((_, fail) => setTimeout(() => fail(new Error("no answer for a minute")), 60000)),
])"""


def unpacked(text: str) -> bytes:
    """The bytes that the page sent as base64."""
    return base64.b64decode(text)
