"""The host names that a service without logins on loopback answers to.

A web page can give its own name the address 127.0.0.1 (DNS rebinding). A browser on this machine then takes this
service for the server of that page, and lets the page read all answers. The Host header still has the page's name.
"""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, request

from app import health
from app.service_roots import blueprint_name
from app.services import Services
from dicomweb.errors import BadRequest, Misdirected
from dicomweb.public_root import is_host
from runtime.hosts import is_loopback

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]

_RECEIVED = "ahi_dicomweb_proxy.host"
_MOST_CHECKED, _LONGEST_CHECKED = 100, 256  # hosts that are remembered, and characters of one


def install_known_hosts(app: Flask, services: Services) -> None:
    """Answer 421 to requests for other hosts than this machine and the host of PUBLIC_URL.

    This applies if HOST is a loopback address and AUTH is none. Health checks are answered for any host. The host is
    checked as received, not as proxies tell it: a web page can send X-Forwarded-Host, but not another Host. A request
    target that is a whole URL names a host as well (RFC 9112 Section 3.2.2); then both must be known.
    """
    settings = services.settings
    if settings.auth or not settings.on_loopback:
        return
    public_name = urlsplit(settings.public_url or "").hostname
    app.wsgi_app = _with_received_host(app.wsgi_app)  # type: ignore[method-assign, assignment]

    known: set[str] = set()  # hosts that passed the check; a client sends the same one with every request

    @app.before_request
    def check() -> None:
        if blueprint_name(request.blueprint or "") == health.NAME:
            return
        for host in request.environ[_RECEIVED]:
            if host not in known:
                _check_host(host, public_name)
                if len(known) < _MOST_CHECKED and len(host) < _LONGEST_CHECKED:
                    known.add(host)


def _check_host(host: str, public_name: str | None) -> None:
    """BadRequest for a text that is no host, Misdirected for a host that is not ours."""
    if not is_host(host):
        raise BadRequest("the Host header is not a host")
    name = name_of(host)
    if not (is_loopback(name) or name.endswith(".localhost") or name == public_name):
        raise Misdirected(
            "this service answers to localhost only; set PUBLIC_URL to the URL that clients use, or set AUTH"
        )


def name_of(host: str) -> str:
    """The name or address in a Host header, in lower case, without the port and without a dot at the end."""
    bracketed, _, after = host.rpartition("]")
    return (bracketed.removeprefix("[") or after.partition(":")[0]).lower().removesuffix(".")


def _with_received_host(app: Wsgi) -> Wsgi:
    """`app` with the hosts of the request in its environment, before any proxy header changes them."""

    def keep_host(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        hosts = (environ.get("HTTP_HOST"), _host_of_target(environ.get("REQUEST_URI", "")))
        environ[_RECEIVED] = tuple(filter(None, hosts))  # browsers always send Host
        return app(environ, start_response)

    return keep_host


def _host_of_target(target: str) -> str:
    """Host and port of a request target that is a whole URL; "" for a path."""
    return "" if target.startswith("/") else urlsplit(target).netloc
