"""A small made-up viewer, as `script/viewer` makes the folder of the real one."""

import gzip
import json
from pathlib import Path

from backports.zstd import compress

PAGE = """<!doctype html><html><head><script>window.PUBLIC_URL="/viewer/"</script>
<script src="/viewer/app-config.js"></script><script defer src="/viewer/app.bundle.0123456789abcdef.js"></script>
</head><body></body></html>"""
SCRIPT = b"window.drawn = 1;\n" * 500
FILES = {
    "index.html": PAGE.encode(),
    "app.bundle.0123456789abcdef.js": SCRIPT,
    "0123456789abcdef.wasm": b"\0asm\1\0\0\0",
    "1.0-fedcba98/app.css": b"of this release",
    "module.mjs": b"export {}",
    "app.css": b"body { color: red }",
    "manifest.json": b"{}",
    "assets/logo.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "assets/data.gz": b"no other file has this name without the ending",
}


def make_viewer(folder: Path) -> Path:
    """Write the folder; the folder."""
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "app.bundle.0123456789abcdef.js.zst").write_bytes(compress(SCRIPT))
    (folder / "app.bundle.0123456789abcdef.js.gz").write_bytes(gzip.compress(SCRIPT))
    (folder / "viewer.json").write_text(json.dumps({"release": "1.0-fedcba98"}))
    return folder
