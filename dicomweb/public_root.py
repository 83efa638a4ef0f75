"""The URL under which a client reaches the service: every URL that we hand out begins with it (PS3.18 Section 8.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DEFAULT_PORT = {"http": "80", "https": "443"}


@dataclass(frozen=True)
class PublicRoot:
    """`public_url` is what the operator says it is (without `prefix`), else each request tells."""

    public_url: str | None
    prefix: str

    def of(self, environ: Mapping[str, Any]) -> str:
        """The root for the client behind a WSGI `environ`, without a trailing slash."""
        return (self.public_url or _origin(environ)).rstrip("/") + self.prefix


def _origin(environ: Mapping[str, Any]) -> str:
    scheme = environ["wsgi.url_scheme"]
    port = environ["SERVER_PORT"]
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{port}"
    direct = "HTTP_X_FORWARDED_FOR" not in environ and "HTTP_FORWARDED" not in environ
    if direct and not _has_port(host) and port != _DEFAULT_PORT.get(scheme):
        host = f"{host}:{port}"  # the Python dicomweb-client leaves the port out of Host
    return f"{scheme}://{host}"


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]
