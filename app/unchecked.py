"""Answers say so when they were made from image sets that AWS HealthImaging could not be asked for."""

from flask import Flask, Response, g, has_request_context

from dicomweb.respond import warned

WARNING = "AWS HealthImaging does not tell at the moment whether this is the latest version"


def note_unchecked() -> None:
    """The request that this thread answers, if it does, has met such an image set."""
    if has_request_context():
        g.unchecked = True


def add_unchecked(app: Flask) -> None:
    """Add a Warning header to such answers."""

    @app.after_request
    def mark(response: Response) -> Response:
        return warned(response, [WARNING]) if g.get("unchecked") else response
