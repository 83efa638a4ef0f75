"""The Warning header of answers that may be outdated or incomplete."""

from flask import Flask, Response, g

from app.services import Services
from dicomweb.respond import warned

UNCHECKED = "AWS HealthImaging does not tell at the moment whether this is the latest version"


def install_warnings(app: Flask, _: Services) -> None:
    """Add a Warning header if an image set of the request could not be checked or read."""

    @app.after_request
    def add_header(response: Response) -> Response:
        warnings = request_warnings() if response.status_code < 400 else _unchecked()
        return warned(response, warnings)


def request_warnings() -> list[str]:
    """What has been found so far that the client of the current request should know."""
    return [*_unchecked(), *([g.unreadable] if "unreadable" in g else [])]


def _unchecked() -> list[str]:
    return [UNCHECKED] if g.get("unchecked") else []
