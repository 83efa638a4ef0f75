"""The composition of the service: services in, a Flask application out. Runs in the web processes."""

from collections.abc import Callable
from typing import Any, NamedTuple

from flask import Flask

from app.audit.middleware import install_audit
from app.auth.middleware import install_gate
from app.console.forms import install_forms
from app.console.frame import install_console_frame, install_renewal
from app.errors import install_error_handlers
from app.middleware.cors import install_cors
from app.middleware.forwarded import install_forwarded
from app.middleware.known_hosts import install_known_hosts
from app.middleware.ranges import install_ranges
from app.middleware.rate_limit import install_failed_login_limit, install_rate_limit
from app.middleware.security_headers import install_security_headers
from app.middleware.slashes import install_single_slashes
from app.middleware.warnings import install_warnings
from app.routes import install_routes
from app.server.sendfile import with_pieces_read
from app.services import Services
from app.telemetry.access_log import install_access_log
from app.telemetry.tracing import install_tracing


class Step(NamedTuple):
    """One step of the composition, and why it has its place."""

    install: Callable[[Flask, Services], None]
    reason: str


def install_file_reading(app: Flask, _: Services) -> None:
    """Read pieces of files for servers that cannot send them, such as the test client."""
    app.wsgi_app = with_pieces_read(app.wsgi_app)  # type: ignore[method-assign, assignment]


STEPS = (
    # WSGI layers: each is outside of those before it.
    Step(install_file_reading, "innermost: only what a view returns has pieces of files"),
    Step(install_single_slashes, "outside of Flask: the path must be right before a route is chosen"),
    Step(install_forwarded, "outside of Flask: all middleware sees the client's address, host and scheme"),
    # Hooks: what runs before a view runs in this order, what runs after it in the opposite order.
    Step(install_access_log, "first and last: the request ID and the time cover everything"),
    Step(install_tracing, "inside of the access log, which starts the clock of the parts that become spans"),
    Step(
        install_known_hosts, "before anything is looked up; its WSGI layer sees Host as received, so outside of proxies"
    ),
    Step(install_ranges, "before the routes, which read Range"),
    Step(install_security_headers, "outside of all that makes answers: refusals have the headers as well"),
    Step(install_console_frame, "inside of the security headers, outside of all that refuses: refusals become pages"),
    Step(install_cors, "before the gate: a preflight has no credentials, and a page may read why it was refused"),
    Step(install_warnings, "inside of CORS, which lets pages read the header"),
    Step(install_failed_login_limit, "before the gate: an address that guesses passwords gets no more checks"),
    Step(install_gate, "before anything of the archive: it sets the user, the root and the scope"),
    Step(install_rate_limit, "after the gate: it counts by user"),
    Step(install_forms, "after the gate and the rate limit: a token belongs to its user, and costs a request"),
    Step(install_renewal, "after the gate: it is about the session of the caller; what it answers is no page yet"),
    Step(install_audit, "last: it sees the answer of the view first, and may put 503 in its place"),
    Step(install_routes, "after all middleware: OPTIONS is answered before a view, but behind CORS and the gate"),
    Step(install_error_handlers, "anywhere: an error becomes an answer before the middleware sees it"),
)
"""Everything that an application is made of, in the order of installation."""


def create_app(services: Services) -> Flask:
    """The service below `/aetitle`, and below the roots of all other AE titles and of share links."""
    app = Flask(__name__, static_folder=None)
    app.ensure_sync = _plain  # type: ignore[method-assign, assignment]
    app.url_map.merge_slashes = False
    for step in STEPS:
        step.install(app, services)
    return app


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: no view here is asynchronous, and Flask would inspect each one for each request."""
    return function
