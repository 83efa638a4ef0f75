"""The picture of the console in README.md: the work list of the samples, as Chromium shows it.

python -m tests.service.console_picture FILE
"""

import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image

from datastore.embedded import Embedded
from datastore.samples.curated import write_curated
from tests.service.browser import chromium
from tests.service.process import Service

_WIDTH, _HEIGHT = 1200, 640
_LOADED = "() => [...document.images].every((one) => one.complete && one.naturalWidth)"
_PATIENCE_MILLISECONDS = 120_000


def main(path: Path) -> None:
    """Start a service with the samples, and write the picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "files").mkdir()
        write_curated(folder / "files")
        Embedded(folder / "data").fill([folder / "files"])
        service = Service(folder, {"DATASTORE_ROOT": str(folder / "data")})
        try:
            shot = _screenshot(f"http://127.0.0.1:{service.port}/console/?sort=name")
        finally:
            service.stop()
    Image.open(BytesIO(shot)).convert("RGB").save(path, quality=85, optimize=True, progressive=True)


def _screenshot(url: str) -> bytes:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, color_scheme="dark")
        page.goto(url)
        page.wait_for_function(_LOADED, timeout=_PATIENCE_MILLISECONDS)
        return page.screenshot()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
