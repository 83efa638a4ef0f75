"""What browsers are told, so that no answer is taken for something else than it is, and none leads elsewhere."""

from collections.abc import Mapping
from http import HTTPStatus

from flask import Flask, Response

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # URLs hold UIDs, searches, and tokens of share links
}

POLICY = ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
SANDBOX = (POLICY[0], f"{POLICY[1]}; sandbox")
_WITHOUT_POLICY = "application/pdf"  # what a browser shows it with is a page of its own, with styles and scripts

_INERT_KINDS = ("image/", "video/", "audio/", "model/")
_INERT = {
    *("application/dicom", "application/dicom+json", "application/json", "application/octet-stream"),
    *("application/pdf", "application/problem+json", "application/zip", "multipart/related", "text/plain"),
}
_MARKUP = "+xml"  # an image, too: SVG
_OUR_MARKUP = "application/dicom+xml"
_WITH_CONTENT = (200, 206)

_YEAR_SECONDS = 31_536_000


def add_security_headers(app: Flask, public_url: str | None) -> None:
    """Add the headers; an answer that has one of them keeps its own. HSTS where the service is known to be HTTPS.

    A document that somebody has stored may be a page with scripts. Whatever is not known to be inert, and has no policy
    of its own as pages that the service makes, is for saving, and is shown in a sandbox if at all.
    """
    headers = security_headers(public_url)

    @app.after_request
    def mark(response: Response) -> Response:
        own = {name for name, _ in response.headers}
        response.headers.extend([pair for pair in headers.items() if pair[0] not in own])
        if POLICY[0] in own or response.mimetype == _WITHOUT_POLICY or response.status_code == HTTPStatus.NOT_MODIFIED:
            return response  # 304 changes the headers of what the client has, and does not tell its media type
        active = response.status_code in _WITH_CONTENT and not _is_inert(response.mimetype or "")
        response.headers.add(*(SANDBOX if active else POLICY))
        if active and response.mimetype != _OUR_MARKUP:
            response.headers.setdefault("Content-Disposition", "attachment")
        return response


def _is_inert(media_type: str) -> bool:
    """Whether no browser runs anything that content of this type has in it."""
    return media_type in _INERT or (media_type.startswith(_INERT_KINDS) and not media_type.endswith(_MARKUP))


def security_headers(public_url: str | None) -> Mapping[str, str]:
    """The headers of a service that clients reach under this URL."""
    if public_url and public_url.lower().startswith("https:"):
        return {**_ALWAYS, "Strict-Transport-Security": f"max-age={_YEAR_SECONDS}"}
    return _ALWAYS
