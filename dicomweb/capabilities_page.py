"""A capabilities description as a page for people, who open the address of the service in a browser.

The page is one HTML document without scripts or other files. Its policy forbids a browser to load anything else.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from html import escape

from dicomweb.capabilities import Capability

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .5rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .25rem; }
code { font: .875em ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid #8884; }
th:nth-child(1) { width: 50%; }
th:nth-child(2) { width: 10%; }
code { overflow-wrap: anywhere; }
ul { margin: .25rem 0; padding-left: 1.25rem; }
summary { cursor: pointer; }
.root { padding: .5rem .75rem; border: 1px solid #8888; border-radius: .4rem; display: inline-block; }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'"
"""The Content-Security-Policy of the page."""

_TITLE = "AHI DICOMweb Proxy"
_LINKS = (
    ("studies?limit=5", "five studies, as DICOM JSON"),
    ("health", "whether the index and AWS HealthImaging answer"),
    ("?accept=application/json", "this page as JSON"),
    ("?accept=application/vnd.sun.wadl%2Bxml", "this page as WADL"),
)
_SECTIONS = (
    ("Studies", "/studies"),
    ("Patients", "/patients"),
    ("Series", "/series"),
    ("Instances", "/instances"),
    ("Other resources", "/"),
)
"""Headings, and how the paths below each begin: the first that fits is taken."""


def encode_html(root: str, capabilities: Sequence[Capability]) -> bytes:
    """The page. `root` is the URL of the service."""
    return "".join(_page(root, capabilities)).encode()


def _page(root: str, capabilities: Sequence[Capability]) -> Iterator[str]:
    yield f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{_TITLE}</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
    yield f"<h1>{_TITLE}</h1><p>This is a DICOMweb service for search (QIDO-RS) and retrieval (WADO-RS)."
    yield f' Enter this URL in a viewer:</p><p class="root"><code>{escape(root)}</code></p><p>Try it:</p><ul>'
    yield from (f'<li><a href="{escape(f"{root}/{path}")}">{escape(path)}</a>: {text}</li>' for path, text in _LINKS)
    yield "</ul>"
    for heading, start in _SECTIONS:
        if below := [one for one in capabilities if _start(one.path) == start]:
            yield f"<h2>{heading}</h2><table><thead><tr><th>Resource</th><th>Methods</th>"
            yield "<th>Media types</th><th>Parameters</th></tr></thead><tbody>"
            yield from map(_row, below)
            yield "</tbody></table>"
    yield "</body></html>\n"


def _start(path: str) -> str:
    return next(start for _, start in _SECTIONS if f"{path}/".startswith(start.rstrip("/") + "/"))


def _row(capability: Capability) -> str:
    methods = ", ".join(method for method in capability.methods if method in ("GET", "POST"))
    cells = (
        f"<code>{escape(capability.path)}</code>",
        methods,
        _list(capability.media_types),
        _list(capability.parameters),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _list(values: Sequence[str]) -> str:
    """A list that opens with a click; one value stands by itself."""
    if len(values) < 2:
        return "".join(f"<code>{escape(value)}</code>" for value in values)
    items = "".join(f"<li><code>{escape(value)}</code></li>" for value in values)
    return f"<details><summary>{len(values)}</summary><ul>{items}</ul></details>"
