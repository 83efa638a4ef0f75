"""The URL under which a client reaches the service, with which all URLs in answers begin (PS3.18 Section 8.2)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dicomweb.errors import BadRequest

_HOST = re.compile(r"(?:[A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z")

_DEFAULT_PORT = {"http": "80", "https": "443"}


@dataclass(frozen=True)
class PublicRoot:
    """The public URL as the operator has set it, without `prefix`; if it is None, it follows from each request."""

    public_url: str | None
    prefix: str

    def of(self, environ: Mapping[str, Any]) -> str:
        """The root for the client of a WSGI `environ`, without a slash at its end; BadRequest if Host is no host."""
        return (self.public_url or _origin(environ)).rstrip("/") + self.prefix


def is_host(text: str) -> bool:
    """Whether `text` is a name or address, with or without a port, safe in a URL (RFC 3986 Section 3.2.2)."""
    return _HOST.match(text) is not None


def _origin(environ: Mapping[str, Any]) -> str:
    scheme = environ["wsgi.url_scheme"]
    port = environ["SERVER_PORT"]
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{port}"
    if not is_host(host):
        raise BadRequest("the Host header is not a host")
    direct = "HTTP_X_FORWARDED_FOR" not in environ and "HTTP_FORWARDED" not in environ
    if direct and not _has_port(host) and port != _DEFAULT_PORT.get(scheme):
        host = f"{host}:{port}"  # the Python dicomweb-client leaves the port out of Host
    return f"{scheme}://{host}{environ.get('SCRIPT_NAME', '')}"


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]
