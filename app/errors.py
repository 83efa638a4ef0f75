"""The answers to errors that a view raises: a problem document for each. Runs in the web processes."""

import logging

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from app.server.event_loop import OUT_OF_RESOURCES
from app.services import Services
from app.telemetry.access_log import logged_path
from dicomweb import respond
from dicomweb.errors import ProxyError, UpstreamBusy

log = logging.getLogger(__name__)


def install_error_handlers(app: Flask, _: Services) -> None:
    """Answer errors of ours and of HTTP by their status, and all others with 500."""
    app.register_error_handler(ProxyError, respond.problem)
    app.register_error_handler(HTTPException, respond.problem)
    app.register_error_handler(Exception, _unexpected)


def _unexpected(error: Exception) -> Response:
    """503 if the process is out of files or memory, else 500; the log has the traceback."""
    if isinstance(error, OSError) and error.errno in OUT_OF_RESOURCES:
        log.error("request failed path=%s reason=%s", logged_path(), error.strerror)
        return respond.problem(UpstreamBusy("the service is overloaded"))
    log.error("request failed path=%s", logged_path(), exc_info=error)
    return respond.internal_error()
