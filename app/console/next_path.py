"""Where a login leads: to one of our own pages, and nowhere else. Runs in the web processes."""

import re
from urllib.parse import urlsplit

from app.console_parts import is_page

NEXT = "next"
"""The parameter with the path of a page."""

_LONGEST = 2000
_PLAIN = re.compile(r"/[!-~]*")  # printable ASCII alone, as browsers send paths


def safe_next(text: str, prefix: str) -> str | None:
    """The path with its query if it is one of our pages; None for anything else.

    `prefix` is what a proxy has before our paths. Browsers take `//host`, `/\\host` and `/<tab>/host` for another host.
    """
    if len(text) > _LONGEST or not _PLAIN.fullmatch(text) or text.startswith("//") or "\\" in text:
        return None
    path = urlsplit(text).path
    inside = path.startswith(prefix) and is_page(path.removeprefix(prefix))
    return text if inside and not any(map(_is_relative, path.split("/"))) else None


def _is_relative(segment: str) -> bool:
    """Whether a browser takes a segment for the folder itself or the one above, also in percent-encoding."""
    return segment.lower().replace("%2e", ".").startswith("..") or segment.lower() in (".", "%2e")
