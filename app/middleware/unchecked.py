"""Answers say so when they were made from image sets that AWS HealthImaging could not be asked for, or without some."""

import logging
from collections.abc import Sequence

from flask import Flask, Response, g, has_request_context

from dicomweb.errors import ProxyError
from dicomweb.respond import warned

log = logging.getLogger(__name__)

WARNING = "AWS HealthImaging does not tell at the moment whether this is the latest version"


def note_unchecked() -> None:
    """The request that this thread answers, if it does, has met such an image set."""
    if has_request_context():
        g.unchecked = True


def note_unreadable(errors: Sequence[ProxyError]) -> None:
    """The request that this thread answers is about image sets of which some cannot be read."""
    log.warning("image sets left out count=%d reason=%s", len(errors), errors[0])
    if has_request_context():
        g.unreadable = f"left out, as they cannot be read: {len(errors)} image sets: {errors[0]}"


def add_unchecked(app: Flask) -> None:
    """Add a Warning header to such answers."""

    @app.after_request
    def mark(response: Response) -> Response:
        told = [WARNING] if g.get("unchecked") else []
        if response.status_code < 400 and "unreadable" in g:
            told.append(g.unreadable)
        return warned(response, told)
