"""The names that a service without logins answers to where only its own machine is to reach it.

A web page can give its own name the address 127.0.0.1 (DNS rebinding). A browser here then takes this service
for the server of that page, and lets the page read all answers. The Host header still has the name of the page.
"""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, request

from app.auth.gate import blueprint_name
from app.settings import Settings
from dicomweb.errors import BadRequest, Misdirected
from dicomweb.public_root import is_host
from runtime.hosts import is_loopback

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]

_RECEIVED = "ahi_dicomweb_proxy.host"
_MOST_KNOWN, _LONGEST_KNOWN = 100, 256  # hosts that are remembered, and characters of one


def add_known_hosts(app: Flask, settings: Settings, open_blueprint: str) -> None:
    """Refuse requests to other names than those of this machine and of PUBLIC_URL, with 421.

    This holds where HOST is a loopback address and AUTH is none. The views of the open blueprint answer to any name.
    What counts is Host as received, whatever a proxy says: a web page can send X-Forwarded-Host, but not another Host.
    A request target that is a whole URL names a host as well (RFC 9112 Section 3.2.2); then both must be known.
    """
    if settings.auth or not settings.on_loopback:
        return
    public_name = urlsplit(settings.public_url or "").hostname
    app.wsgi_app = _with_received_host(app.wsgi_app)  # type: ignore[method-assign, assignment]

    known: set[str] = set()  # such as were found to be; a client sends the same one with every request

    @app.before_request
    def check() -> None:
        if blueprint_name(request.blueprint or "") == open_blueprint:
            return
        for host in request.environ[_RECEIVED]:
            if host not in known:
                _check_host(host, public_name)
                if len(known) < _MOST_KNOWN and len(host) < _LONGEST_KNOWN:
                    known.add(host)


def _check_host(host: str, public_name: str | None) -> None:
    if not is_host(host):
        raise BadRequest("the Host header is not a host")
    name = name_of(host)
    if not (is_loopback(name) or name.endswith(".localhost") or name == public_name):
        raise Misdirected(
            "this service answers to localhost only; set PUBLIC_URL to the URL that clients use, or set AUTH"
        )


def name_of(host: str) -> str:
    """The name or address in a Host header, in lower case, without a port and the last dot."""
    bracketed, _, after = host.rpartition("]")
    return (bracketed.removeprefix("[") or after.partition(":")[0]).lower().removesuffix(".")


def _with_received_host(app: Wsgi) -> Wsgi:
    def keep(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        hosts = (environ.get("HTTP_HOST"), _host_of_target(environ.get("REQUEST_URI", "")))
        environ[_RECEIVED] = tuple(filter(None, hosts))  # browsers always send Host
        return app(environ, start_response)

    return keep


def _host_of_target(target: str) -> str:
    """Host and port of a request target that is a whole URL; "" for a path."""
    return "" if target.startswith("/") else urlsplit(target).netloc
