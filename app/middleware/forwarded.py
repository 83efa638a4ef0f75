"""What reverse proxies say of the request that the client made: `Forwarded` (RFC 7239) and `X-Forwarded-*`.

Only a proxy that is trusted is believed, and of a list of proxies only the part that trusted ones have written: the
last entries, from the peer on for as long as they name a trusted address. Where whoever connects is trusted, that is
the peer alone. What is ill-formed is as if it were not said.

Where both kinds of headers are, X-Forwarded-For decides: nearly every proxy writes that one, and hands on a `Forwarded`
that its client made up.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from dicomweb.public_root import is_host
from dicomweb.texts import split_list

Network = IPv4Network | IPv6Network
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]

_LONGEST = 1024  # characters of a header; more are no list of proxies
_EVERY = ("0.0.0.0/0", "::/0")
_PAIR = re.compile(r'\s*([\w-]+)\s*=\s*(?:"([^"\\]*(?:\\.[^"\\]*)*)"\s*|([^\s;",]+)\s*|)\Z', re.ASCII)
_ADDRESS = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?\Z|([0-9.]+)(?::[0-9]+)?\Z|([0-9A-Fa-f:.]+)\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+/?\Z")
_SCHEMES = ("http", "https")


def parse_networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks separated by commas, `*` for all; ValueError otherwise."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    texts = [found for word in words for found in (_EVERY if word == "*" else (word,))]
    try:
        return tuple(ip_network(found, strict=False) for found in texts)
    except ValueError:
        raise ValueError("is not a list of IP addresses and networks like 10.0.0.0/8, or *") from None


@dataclass(frozen=True)
class _Hop:
    """What one proxy said of the request that it got; "" where it said nothing."""

    client: str = ""
    scheme: str = ""
    host: str = ""
    port: str = ""
    prefix: str = ""


def believe(app: Wsgi, trusted: Sequence[Network]) -> Wsgi:
    """`app`, told of each request what the client asked for, as far as `trusted` proxies say it."""

    def forwarded(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if is_trusted(environ.get("REMOTE_ADDR", ""), trusted):
            environ.update(_changes(environ, trusted))
        return app(environ, start_response)

    return forwarded if trusted else app


def client_of(environ: Mapping[str, Any], trusted: Sequence[Network]) -> str:
    """The address that a request comes from, as far as `trusted` proxies say it."""
    peer: str = environ.get("REMOTE_ADDR", "")
    changes = _changes(environ, trusted) if is_trusted(peer, trusted) else {}
    return changes.get("REMOTE_ADDR", peer)


def _changes(environ: Mapping[str, Any], trusted: Sequence[Network]) -> dict[str, str]:
    hops = (
        _usual_hops(environ) if "HTTP_X_FORWARDED_FOR" in environ else _standard_hops(environ) or _usual_hops(environ)
    )
    further = [network for network in trusted if network.prefixlen]
    believed: list[_Hop] = []  # the nearest first
    for hop in reversed(hops):
        believed.append(hop)
        if not is_trusted(hop.client, further):
            break
    changes = {}
    if client := _first(hop.client for hop in reversed(believed) if _address(hop.client)):
        changes["REMOTE_ADDR"] = str(_address(client))
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
    """The elements of `Forwarded`, that of the peer last (RFC 7239 Section 4)."""
    hops: list[_Hop] = []
    for element in filter(None, split_list(_header(environ, "FORWARDED"))):
        pairs = (pair.groups("") for text in split_list(element, ";") if (pair := _PAIR.match(text)))
        said = {name.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare for name, quoted, bare in pairs}
        hops.append(_Hop(said.get("for", ""), said.get("proto", "").lower(), said.get("host", "")))
    return hops


def _usual_hops(environ: Mapping[str, Any]) -> list[_Hop]:
    """The same of `X-Forwarded-*`. A header with fewer entries than others has those of the nearest proxies."""
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


def is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks."""
    address = _address(text)
    return address is not None and any(address in network for network in trusted)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address, with a port or without; None for what is none, as `unknown` and `_hidden` (RFC 7239 Section 6)."""
    found = _ADDRESS.match(text)
    try:
        address = ip_address(next(filter(None, found.groups()))) if found else None
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
