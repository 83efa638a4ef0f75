"""The page of the viewer, and the policies under which its scripts run."""

import base64
import hashlib
import re

from app.auth.gate import Gate
from app.console_parts import PATH as CONSOLE
from app.viewer_parts import PATH

ENDED = f"{PATH}/ended"
"""The page for those whose login or link has ended, and who cannot log in here."""


def login_path(gate: Gate) -> str:
    """The path of the page where people log in; that of the page that says so if there is none."""
    return f"{CONSOLE}/login" if gate.has_login_page else ENDED


_ENDED = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Ended</title>
<h1>Your access has ended</h1>
<p>The login or the link with which you opened this page is not valid any more.</p>
<p>Log in again, or ask for a new link.</p></html>
"""

_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\bsrc\s*=)[^>]*>(.*?)</script>", re.IGNORECASE | re.DOTALL)
_PATHS = re.compile(r"""(?<=["'])/viewer/""")
_COMMON = (
    "default-src 'none'; connect-src 'self' blob: data:; img-src 'self' blob: data:; media-src 'self' blob:; "
    "font-src 'self' data:; worker-src 'self' blob:; manifest-src 'self'; "
    "frame-src 'self' blob:; object-src 'self' blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'; "
)


def page_of(html: str, prefix: str) -> str:
    """The page for clients that reach the service below a path of a proxy, such as `/pacs`; "" for none."""
    return _PATHS.sub(f"{prefix}{PATH}/", html) if prefix else html


def page_policy(html: str) -> str:
    """The Content-Security-Policy of the page: scripts of this origin, and the inline scripts that it has now.

    OHIF makes its styles while it runs, so styles cannot be narrowed. Its library for arrays (ndarray) makes functions
    of texts, and no segmentation is shown without that. No text comes from a data set.
    """
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in _INLINE_SCRIPT.findall(html)
    ]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return f"{_COMMON}style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-eval' {allowed}".rstrip()


INERT_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""The Content-Security-Policy of every other file: if somebody opens it as a page, nothing runs."""

WORKER_POLICY = f"{_COMMON}style-src 'none'; script-src 'self' 'unsafe-eval'"
"""The Content-Security-Policy of a script that becomes a worker: the codecs in there make functions of texts."""


def ended_page() -> tuple[str, str]:
    """The page that says that the access has ended, and its policy."""
    return _ENDED, "default-src 'none'; frame-ancestors 'none'"
