"""The one maker of HTTP answers, and the table from error to status."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import cast

from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from dicomweb.conditional import entity_tag, is_known, parse_range
from dicomweb.dicom_json import Element, encode
from dicomweb.dicom_xml import DICOM_XML, encode_xml
from dicomweb.errors import (
    BadRequest,
    NotAcceptable,
    NotFound,
    ProxyError,
    RangeNotSatisfiable,
    UpstreamBusy,
    UpstreamFailed,
)
from dicomweb.file_piece import Chunk
from dicomweb.multipart import Part, boundary_of, encode_multipart, multipart_length

STATUS: Mapping[type[ProxyError], int] = {
    BadRequest: 400,
    NotFound: 404,
    NotAcceptable: 406,
    RangeNotSatisfiable: 416,
    UpstreamFailed: 502,
    UpstreamBusy: 503,
}

DICOM_JSON = "application/dicom+json"
_WARNING_AGENT = "AHI-DICOMweb-Proxy"


def status_of(error: ProxyError) -> int:
    """The HTTP status of an error of ours; 500 for one that the table forgot."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def problem(error: ProxyError | HTTPException) -> Response:
    """The error as `application/problem+json` (RFC 9457), with Retry-After where waiting helps."""
    if isinstance(error, ProxyError):
        response = _problem(status_of(error), str(error))
    else:  # from the web framework: no such route, wrong method; its own headers, Allow among them, are kept
        response = _problem(error.code or 500, error.description or "")
        kept = ((name, value) for name, value in error.get_headers() if name not in ("Content-Type", "Content-Length"))
        response.headers.extend(kept)
    if isinstance(error, UpstreamBusy):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, RangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.length_bytes}"
    return response


def internal_error() -> Response:
    """What a client is told of a mistake of ours: that it happened."""
    return _problem(500, "an internal error; the log of the service says more")


def _problem(status: int, detail: str) -> Response:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Response(json.dumps(body), status=status, content_type="application/problem+json")


def dicom_json(data_sets: Iterable[Mapping[str, Element]]) -> Response:
    """An array of data sets; no data set is `[]` with 200 (PS3.18 Section 8.3.4.4, current text)."""
    return dicom_json_text([encode(data_set) for data_set in data_sets])


def dicom_xml(data_sets: Iterable[tuple[str, Mapping[str, Element]]]) -> Response:
    """One part for each location, which may be "", and data set (PS3.18 Section 8.7.3.2)."""
    encoded = [(location, encode_xml(data_set)) for location, data_set in data_sets]
    parts = [Part(DICOM_XML, location, len(body), partial(iter, (body,))) for location, body in encoded]
    return multipart(parts, DICOM_XML, entity_tag(encoded))


def page(response: Response, warnings: Sequence[str], total: int | None) -> Response:
    """The answer, marked as a page of `total` results, if that is known, and as one of several representations."""
    response.vary.add("Accept")
    if total is not None:
        response.headers["X-Total-Count"] = str(total)
    return _warned(response, warnings)


def count(number: int, warnings: Sequence[str] = ()) -> Response:
    """How many there are: `{"count": 3}`, which is not of the standard."""
    return _warned(Response(json.dumps({"count": number}), content_type="application/json"), warnings)


def _warned(response: Response, warnings: Sequence[str]) -> Response:
    for text in warnings:
        response.headers.add("Warning", f'299 {_WARNING_AGENT} "{text}"')
    return response


def dicom_json_text(data_sets: Sequence[bytes]) -> Response:
    """An array of data sets that are JSON text already."""
    return Response(b"[" + b",".join(data_sets) + b"]", content_type=DICOM_JSON)


def multipart_type(part_type: str, tag: str) -> str:
    """The Content-Type of the multipart answer with this entity tag."""
    return f'multipart/related; type="{part_type}"; boundary={boundary_of(tag)}'


def multipart(parts: Iterable[Part], part_type: str, tag: str) -> Response:
    """`multipart/related`; the first part is made before the status is sent.

    A sequence of parts has a Content-Length; an iterator of parts, whose sizes are not known yet, has none.
    `part_type` is the media type for the `type` parameter of the answer (RFC 2387), `tag` the entity tag.
    """
    boundary = boundary_of(tag)
    response = Response(_begun(encode_multipart(parts, boundary)), content_type=multipart_type(part_type, tag))
    if isinstance(parts, Sequence):
        response.content_length = multipart_length(parts, boundary)
    return response


NO_CACHE = "public, no-cache"
"""Caches may keep it, shared ones too, and ask each time whether it is still current: credentials are checked here."""

IMMUTABLE = "public, max-age=600, s-maxage=0, proxy-revalidate"
"""For frames: what a browser holds need not be asked for again for a while, a shared cache must ask each time."""


def unless_known(request: Headers, tag: str, cache_control: str, vary: str, make: Callable[[], Response]) -> Response:
    """What `make` makes, marked with its entity tag; 304 and nothing made where the client has it (RFC 9110 13.1.2).

    `request` is the headers of the request.
    """
    response = Response(status=304) if is_known(request.get("If-None-Match"), tag) else make()
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = cache_control
    response.vary.update(vary.split(", "))
    return response


def ranged(
    request: Headers,
    tag: str,
    content_type: str,
    length_bytes: int,
    read: Callable[[int, int], Iterable[Chunk]],
) -> Response:
    """One representation, or the part of it that the Range header asks for: 206 (RFC 9110 Section 14).

    `read` gives the bytes from a start to before a stop.
    """
    asked = parse_range(request.get("Range"), request.get("If-Range"), tag, length_bytes)
    if asked is None:
        response = stream(read(0, length_bytes), content_type, length_bytes)
    else:
        response = stream(read(asked.start, asked.stop), content_type, asked.stop - asked.start)
        response.status_code = 206
        response.headers["Content-Range"] = asked.content_range
    response.headers["Accept-Ranges"] = "bytes"
    return response


def single(body: bytes, content_type: str) -> Response:
    """One representation, not wrapped."""
    return Response(body, content_type=content_type)


def gzipped(body: bytes, content_type: str) -> Response:
    """One representation that is compressed already."""
    response = Response(body, content_type=content_type)
    response.headers["Content-Encoding"] = "gzip"
    return response


def download(chunks: Iterator[Chunk], content_type: str, name: str) -> Response:
    """One representation to be saved as a file, of unknown size; its first chunk is made before the status is sent."""
    response = Response(_begun(chunks), content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def stream(chunks: Iterable[Chunk], content_type: str, length_bytes: int) -> Response:
    """One representation of known size whose bytes come in pieces; the first before the status is sent."""
    response = Response(_begun(iter(chunks)), content_type=content_type)
    response.content_length = length_bytes
    return response


def _begun(chunks: Iterator[Chunk]) -> Iterator[bytes]:
    """The same chunks, the first already made: an error in it still becomes a status."""
    first: Chunk = next(chunks, b"")

    def rest() -> Iterator[Chunk]:
        yield first
        yield from chunks

    return cast(Iterator[bytes], rest())  # `app.sending` sees to pieces of files
