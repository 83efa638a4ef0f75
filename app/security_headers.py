"""What browsers are told, so that no answer is taken for something else than it is, and none leads elsewhere."""

from collections.abc import Mapping

from flask import Flask, Response

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # URLs hold UIDs, searches, and tokens of share links
}

POLICY = ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
_WITHOUT_POLICY = "application/pdf"  # what a browser shows it with is a page of its own, with styles and scripts

_YEAR_SECONDS = 31_536_000


def add_security_headers(app: Flask, public_url: str | None) -> None:
    """Add the headers; an answer that has one of them keeps its own. HSTS where the service is known to be HTTPS."""
    headers = security_headers(public_url)

    @app.after_request
    def mark(response: Response) -> Response:
        own = {name for name, _ in response.headers}
        response.headers.extend([pair for pair in headers.items() if pair[0] not in own])
        if POLICY[0] not in own and response.mimetype != _WITHOUT_POLICY:
            response.headers.add(*POLICY)
        return response


def security_headers(public_url: str | None) -> Mapping[str, str]:
    """The headers of a service that clients reach under this URL."""
    if public_url and public_url.lower().startswith("https:"):
        return {**_ALWAYS, "Strict-Transport-Security": f"max-age={_YEAR_SECONDS}"}
    return _ALWAYS
