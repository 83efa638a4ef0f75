"""Pages of OHIF at `/viewer` in a headless Chromium, and what they show, say and ask for."""

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.service.viewer_kinds import Picture, overlap

WAIT_MILLISECONDS = 90_000
ALIKE = 0.97


@dataclass
class Viewer:
    """A page of the viewer of a service, and what happened there. `origin` is that of the service."""

    origin: str
    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    alike: float = 0
    """The overlap with the known picture that was found last."""

    def open(self, study: str, mode: str = "viewer") -> None:
        """Open a study in a mode of OHIF."""
        self.page.goto(f"{self.origin}/viewer/{mode}/aetitle?StudyInstanceUIDs={study}")

    def canvas(self) -> Picture:
        """The pixels of the first viewport, without the texts above them."""
        canvas = self.page.locator("canvas.cornerstone-canvas").first
        expect(canvas).to_be_visible(timeout=WAIT_MILLISECONDS)
        url: str = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
        return np.asarray(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))

    def shown(self) -> Picture:
        """The first viewport as people see it, with all that is drawn over its pixels."""
        picture = self.page.locator("canvas.cornerstone-canvas").first.screenshot()
        return np.asarray(Image.open(BytesIO(picture)).convert("RGB"))

    def wait_for(self, expected: Picture) -> None:
        """Wait until the viewport shows a picture, as large as it fits."""
        self.alike, until = 0.0, time.monotonic() + WAIT_MILLISECONDS / 1000
        while self.alike < ALIKE and time.monotonic() < until:
            canvas = self.canvas()
            self.alike = max(self.alike, overlap(canvas, fitted(expected, canvas.shape)))
            self.page.wait_for_timeout(300)
        assert self.alike >= ALIKE

    def check(self) -> str:
        """Nothing was complained about, and nobody else was asked for anything; a line for the report."""
        assert self.complaints == []
        assert self.hosts == {urlsplit(self.origin).netloc}
        pixels = f"pixels alike {self.alike:.3f}, " if self.alike else ""
        return f"{pixels}console errors: none, requests to others: none of {len(self.asked)}"

    @property
    def hosts(self) -> set[str]:
        """Who was asked for anything."""
        return {urlsplit(url).netloc for url in self.asked if url.startswith(("http", "ws"))}


def fitted(picture: Picture, shape: tuple[int, ...]) -> Picture:
    """A picture in the middle of a black viewport, as large as it fits."""
    height, width = shape[:2]
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    scaled = Image.fromarray(picture).convert("RGB").resize(size, Image.Resampling.BILINEAR)
    made = Image.new("RGB", (width, height))
    made.paste(scaled, ((width - size[0]) // 2, (height - size[1]) // 2))
    return np.asarray(made)


def watched(page: Page, origin: str) -> Viewer:
    """A new page, whose errors of the console, violations of the policy, and requests are noted."""
    viewer = Viewer(origin, page)
    page.add_init_script("window.localStorage?.setItem('shownTours', JSON.stringify(['basicViewerTour']))")
    page.add_init_script("addEventListener('securitypolicyviolation', e => console.error(e.violatedDirective))")
    page.on("console", lambda said: viewer.complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: viewer.complaints.append(str(error)))
    page.on("request", lambda request: viewer.asked.append(request.url))
    return viewer


def reported(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Lines that tests add, and that are written at the end."""
    lines: list[str] = []
    yield lines
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("", *lines, sep="\n")  # noqa: T201 - the report of script/try-viewer
