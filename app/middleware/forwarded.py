"""The headers of reverse proxies: `Forwarded` (RFC 7239) and `X-Forwarded-*`.

Only trusted proxies are believed. Of a list of proxies only the last entries count, those that trusted proxies have
written: from the peer on, as long as each entry names a trusted address. If every network is trusted, only the entry of
the peer counts. Malformed values are ignored.

If a request has both kinds of headers, X-Forwarded-For decides. Nearly every proxy writes it, and passes on a
`Forwarded` that its client made up.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Flask

from app.networks import Network, is_in_networks, parse_address
from app.services import Services
from dicomweb.public_root import is_host
from dicomweb.texts import split_list

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]

_LONGEST = 1024  # characters of a header; a longer one is no list of proxies
_PAIR = re.compile(r'\s*([\w-]+)\s*=\s*(?:"([^"\\]*(?:\\.[^"\\]*)*)"\s*|([^\s;",]+)\s*|)\Z', re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}\Z")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+/?\Z")
_SCHEMES = ("http", "https")


@dataclass(frozen=True)
class _Hop:
    """The request as one proxy received it; "" for each part that the proxy does not tell."""

    client: str = ""
    scheme: str = ""
    host: str = ""
    port: str = ""
    prefix: str = ""


def install_forwarded(app: Flask, services: Services) -> None:
    """Give the application the client's address, host and scheme, as far as TRUSTED_PROXY tells them."""
    if trusted := services.settings.trusted_proxy:
        app.wsgi_app = with_client(app.wsgi_app, trusted)  # type: ignore[method-assign, assignment]


def with_client(app: Wsgi, trusted: Sequence[Network]) -> Wsgi:
    """`app`, whose environment describes the client instead of the `trusted` proxies."""

    def replace_proxy(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if is_in_networks(environ.get("REMOTE_ADDR", ""), trusted):
            environ.update(_changes(environ, trusted))
        return app(environ, start_response)

    return replace_proxy


def client_of(environ: Mapping[str, Any], trusted: Sequence[Network]) -> str:
    """The address of the client, as far as `trusted` proxies tell it."""
    peer: str = environ.get("REMOTE_ADDR", "")
    changes = _changes(environ, trusted) if is_in_networks(peer, trusted) else {}
    return changes.get("REMOTE_ADDR", peer)


def _changes(environ: Mapping[str, Any], trusted: Sequence[Network]) -> dict[str, str]:
    """The variables of a WSGI environment that describe the client, as far as the proxies tell them."""
    hops = [] if "HTTP_X_FORWARDED_FOR" in environ else _standard_hops(environ)
    hops = hops or _x_forwarded_hops(environ)
    further = [network for network in trusted if network.prefixlen]
    believed: list[_Hop] = []  # the nearest first
    for hop in reversed(hops):
        believed.append(hop)
        if not is_in_networks(hop.client, further):
            break
    changes = {}
    if client := _first(hop.client for hop in reversed(believed) if parse_address(hop.client)):
        changes["REMOTE_ADDR"] = str(parse_address(client))
    if scheme := _first(hop.scheme for hop in reversed(believed) if hop.scheme in _SCHEMES):
        changes["wsgi.url_scheme"] = scheme
    if host := _first(hop.host for hop in reversed(believed) if is_host(hop.host)):
        port = _first(hop.port for hop in reversed(believed) if _PORT.match(hop.port))
        usual = {"http": "80", "https": "443"}[scheme or environ["wsgi.url_scheme"]]
        own_port = host.rpartition("]")[2].partition(":")[2]
        changes["HTTP_HOST"] = host if own_port or port in ("", usual) else f"{host}:{port}"
        changes["SERVER_PORT"] = own_port or port or usual
    if prefix := _first(hop.prefix for hop in reversed(believed) if _PREFIX.match(hop.prefix)):
        changes["SCRIPT_NAME"] = prefix.rstrip("/")
    return changes


def _first(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "")


def _standard_hops(environ: Mapping[str, Any]) -> list[_Hop]:
    """Parse the elements of `Forwarded`; the last is that of the peer (RFC 7239 Section 4)."""
    hops: list[_Hop] = []
    for element in filter(None, split_list(_header(environ, "FORWARDED"))):
        pairs = (pair.groups("") for text in split_list(element, ";") if (pair := _PAIR.match(text)))
        values = {name.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare for name, quoted, bare in pairs}
        hops.append(_Hop(values.get("for", ""), values.get("proto", "").lower(), values.get("host", "")))
    return hops


def _x_forwarded_hops(environ: Mapping[str, Any]) -> list[_Hop]:
    """Parse `X-Forwarded-*`. A header with fewer entries than the others has those of the nearest proxies."""
    columns = [_entries(environ, name) for name in ("FOR", "PROTO", "HOST", "PORT", "PREFIX")]
    length = max(map(len, columns))
    clients, schemes, hosts, ports, prefixes = ([""] * (length - len(column)) + column for column in columns)
    return [
        _Hop(client, scheme.lower(), host, port, prefix)
        for client, scheme, host, port, prefix in zip(clients, schemes, hosts, ports, prefixes, strict=True)
    ]


def _entries(environ: Mapping[str, Any], name: str) -> list[str]:
    text = _header(environ, f"X_FORWARDED_{name}")
    return [entry.strip().strip('"') for entry in text.split(",")] if text else []


def _header(environ: Mapping[str, Any], name: str) -> str:
    text: str = environ.get(f"HTTP_{name}", "")
    return text if len(text) <= _LONGEST else ""
