"""Encoders for a capabilities description (PS3.18 Section 8.9 and Annex H), as WADL or JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from dicomweb.media_types import HTML, JSON, WADL

_NAMESPACE = "http://wadl.dev.java.net/2009/02"


@dataclass(frozen=True)
class Capability:
    """One resource: its path below the root, with `{variables}`; its methods, query parameters and media types.

    `headers` are the request headers that change the answer. `bodies` are the media types that POST takes, and
    `receipts` those of the answers to it.
    """

    path: str
    variables: tuple[str, ...]
    methods: tuple[str, ...]
    parameters: tuple[str, ...]
    headers: tuple[str, ...]
    media_types: tuple[str, ...]
    bodies: tuple[str, ...] = ()
    receipts: tuple[str, ...] = ()


def encode_json(root: str, capabilities: Sequence[Capability]) -> bytes:
    """The description as JSON, an object for each resource; the standard does not define this form."""
    resources = [
        {
            "path": capability.path,
            "methods": capability.methods,
            "parameters": capability.parameters,
            "headers": capability.headers,
            "mediaTypes": capability.media_types,
            **({"bodies": capability.bodies, "receipts": capability.receipts} if capability.bodies else {}),
        }
        for capability in capabilities
    ]
    return json.dumps({"base": root, "resources": resources}).encode()


def encode_wadl(root: str, capabilities: Sequence[Capability]) -> bytes:
    """The description as a WADL document (W3C submission of 31 August 2009)."""
    return "".join(_document(root, capabilities)).encode()


def _document(root: str, capabilities: Sequence[Capability]) -> Iterator[str]:
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<application xmlns={quoteattr(_NAMESPACE)}>'
    yield f"<resources base={quoteattr(root + '/')}>"
    for capability in capabilities:
        yield f"<resource path={quoteattr(capability.path.lstrip('/'))}>"
        yield from (_parameter(name, "template") for name in capability.variables)
        for method in capability.methods:
            yield f"<method name={quoteattr(method)}>"
            yield from _exchange(capability, method)
            yield "</method>"
        yield "</resource>"
    yield "</resources></application>"


def _exchange(capability: Capability, method: str) -> Iterator[str]:
    """The request and the response of a method; the response of OPTIONS is this document."""
    is_store = method == "POST" and bool(capability.bodies)
    media_types = (WADL, JSON, HTML) if method == "OPTIONS" else capability.media_types
    yield "<request>"
    if is_store:
        media_types = capability.receipts
        yield from (f"<representation mediaType={quoteattr(media_type)}/>" for media_type in capability.bodies)
    elif method != "OPTIONS":
        yield from (_parameter(name, "query") for name in capability.parameters)
        yield from (_parameter(name, "header") for name in capability.headers)
    yield '</request><response status="200">'
    if method != "HEAD":
        yield from (f"<representation mediaType={quoteattr(media_type)}/>" for media_type in media_types)
    yield "</response>"


def _parameter(name: str, style: str) -> str:
    required = ' required="true"' if style == "template" else ""
    return f'<param name={quoteattr(name)} style="{style}"{required}/>'
