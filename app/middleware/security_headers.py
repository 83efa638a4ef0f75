"""Security headers: a browser takes no answer for something else, and leaks no URL."""

from collections.abc import Mapping
from http import HTTPStatus

from flask import Flask, Response

from app.services import Services

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # URLs hold UIDs, searches, and tokens of share links
}

POLICY = ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
SANDBOX = (POLICY[0], f"{POLICY[1]}; sandbox")
_WITHOUT_POLICY = "application/pdf"  # a browser shows it with a page of its own, which has styles and scripts

_INERT_KINDS = ("image/", "video/", "audio/", "model/")
_INERT = {
    *("application/dicom", "application/dicom+json", "application/json", "application/octet-stream"),
    *("application/pdf", "application/problem+json", "application/zip", "multipart/related", "text/plain"),
}
_MARKUP = "+xml"  # also SVG, which is an image
_OUR_MARKUP = "application/dicom+xml"
_WITH_CONTENT = (200, 206)

_YEAR_SECONDS = 31_536_000


def install_security_headers(app: Flask, services: Services) -> None:
    """Add the headers; an answer that has one of them keeps its own. HSTS only if PUBLIC_URL is HTTPS.

    A stored document may be a page with scripts. A media type that is not known to be inert is therefore saved as a
    file, or shown in a sandbox. Pages that the service makes have a policy of their own.
    """
    headers = security_headers(services.settings.public_url)

    @app.after_request
    def add_headers(response: Response) -> Response:
        own = {name for name, _ in response.headers}
        response.headers.extend([pair for pair in headers.items() if pair[0] not in own])
        if POLICY[0] in own or response.mimetype == _WITHOUT_POLICY or response.status_code == HTTPStatus.NOT_MODIFIED:
            return response  # 304 changes the headers that the client has, and does not tell its media type
        active = response.status_code in _WITH_CONTENT and not _is_inert(response.mimetype or "")
        response.headers.add(*(SANDBOX if active else POLICY))
        if active and response.mimetype != _OUR_MARKUP:
            response.headers.setdefault("Content-Disposition", "attachment")
        return response


def _is_inert(media_type: str) -> bool:
    """Whether browsers run no scripts in content of this type."""
    return media_type in _INERT or (media_type.startswith(_INERT_KINDS) and not media_type.endswith(_MARKUP))


def security_headers(public_url: str | None) -> Mapping[str, str]:
    """The headers for all answers of a service that clients reach under `public_url`."""
    if public_url and public_url.lower().startswith("https:"):
        return {**_ALWAYS, "Strict-Transport-Security": f"max-age={_YEAR_SECONDS}"}
    return _ALWAYS
