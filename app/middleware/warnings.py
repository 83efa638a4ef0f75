"""The Warning header of answers that may be outdated or incomplete."""

from flask import Flask, Response, g

from app.services import Services
from dicomweb.respond import warned

UNCHECKED = "AWS HealthImaging does not tell at the moment whether this is the latest version"


def install_warnings(app: Flask, _: Services) -> None:
    """Add a Warning header if an image set of the request could not be checked or read."""

    @app.after_request
    def add_header(response: Response) -> Response:
        warnings = [UNCHECKED] if g.get("unchecked") else []
        if response.status_code < 400 and "unreadable" in g:
            warnings.append(g.unreadable)
        return warned(response, warnings)
