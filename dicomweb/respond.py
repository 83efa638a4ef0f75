"""HTTP answers, and the status of each error. Runs in the web processes."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import cast

from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from dicomweb.conditional import digest, entity_tag, is_known, is_other, parse_range
from dicomweb.content_coding import Coding, choose_coding, compress, is_worth_compressing
from dicomweb.errors import (
    BadRequest,
    Conflict,
    ContentTooLarge,
    Forbidden,
    LengthRequired,
    Misdirected,
    NotAcceptable,
    NotFound,
    PreconditionFailed,
    ProxyError,
    RangeNotSatisfiable,
    RequestTimeout,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
    UnusableAnswer,
    UpstreamBusy,
    UpstreamFailed,
)
from dicomweb.multipart import Part, boundary_of, encode_multipart, multipart_length, multipart_type
from runtime.file_piece import Chunk, between

_NOT_OF_FILE_NAMES = re.compile(r"[^A-Za-z0-9._-]")

STATUS: Mapping[type[ProxyError], int] = {
    BadRequest: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    NotAcceptable: 406,
    RequestTimeout: 408,
    Conflict: 409,
    LengthRequired: 411,
    PreconditionFailed: 412,
    ContentTooLarge: 413,
    UnsupportedMediaType: 415,
    RangeNotSatisfiable: 416,
    Misdirected: 421,
    TooManyRequests: 429,
    UpstreamFailed: 502,
    UpstreamBusy: 503,
}

_ONE_PIECE_BYTES = 2**16
_WARNING_AGENT = "AHI-DICOMweb-Proxy"
_IN_QUOTES = {**dict.fromkeys(range(32), " "), 127: " ", ord('"'): "'", ord("\\"): "/"}
_BLANKS = b" " * 2**14


def status_of(error: ProxyError) -> int:
    """The HTTP status of an error; 500 if it is not in the table."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def problem(error: ProxyError | HTTPException) -> Response:
    """The error as `application/problem+json` (RFC 9457), with Retry-After where waiting helps."""
    if isinstance(error, ProxyError):
        response = _problem(status_of(error), str(error))
    else:  # from the web framework: no such route, wrong method; its own headers, Allow among them, are kept
        response = _problem(error.code or 500, error.description or "")
        kept = ((name, value) for name, value in error.get_headers() if name not in ("Content-Type", "Content-Length"))
        response.headers.extend(kept)
    if isinstance(error, UpstreamBusy | UnusableAnswer | TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, Unauthorized):
        for challenge in error.challenges:
            response.headers.add("WWW-Authenticate", challenge)
    if isinstance(error, RangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.length_bytes}"
    return response


def internal_error() -> Response:
    """The answer for an unexpected error."""
    return _problem(500, "an internal error; the log of the service says more")


def _problem(status: int, detail: str) -> Response:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Response(json.dumps(body), status=status, content_type="application/problem+json")


def found(
    request: Headers, body: Sequence[bytes], content_type: str, warnings: Sequence[str], total: int | None = None
) -> Response:
    """The answer of a search; `body` is in pieces. `total` is the number of all results, None if not requested.

    `request` are the headers of the request. The entity tag depends on the bytes, because the index has no version.
    """
    length_bytes = sum(map(len, body))
    body = [b"".join(body)] if length_bytes < _ONE_PIECE_BYTES else body  # each piece is sent separately
    accepted = request.get("Accept-Encoding") if is_worth_compressing(length_bytes) else None
    coding = choose_coding(accepted)
    tag = entity_tag("search", content_type, coding, digest(body))
    make = partial(encoded, body, content_type, coding)
    response = unless_known(request, tag, PRIVATE, "Accept, Accept-Encoding", make)
    if total is not None:
        response.headers["X-Total-Count"] = str(total)
    return warned(response, warnings)


def warned(response: Response, warnings: Sequence[str]) -> Response:
    """The answer with a Warning header for each text (PS3.18 Section 8.3.4)."""
    for text in warnings:
        plain = text.encode("ascii", "replace").decode().translate(_IN_QUOTES)
        response.headers.add("Warning", f'299 {_WARNING_AGENT} "{plain}"')
    return response


@dataclass(frozen=True)
class Partial:
    """An incomplete answer, with the warnings that say so; caches must not store it."""

    response: Response
    warnings: Sequence[str]


def encoded(body: Iterable[bytes], content_type: str, coding: Coding) -> Response:
    """One representation in a content coding."""
    pieces = compress(body, coding)
    response = Response(pieces, content_type=content_type)
    response.content_length = sum(map(len, pieces))
    if coding is not Coding.IDENTITY:
        response.headers["Content-Encoding"] = coding.value
    return response


def multipart(
    parts: Iterable[Part],
    part_type: str,
    tag: str,
    planned: Iterable[Part] | None = None,
    report: Callable[[], bytes] = bytes,
) -> Response:
    """`multipart/related`; the first part is made before the status is sent.

    It has a Content-Length if `parts` is a sequence, or if `planned` gives all parts. `report` is called at the end;
    its bytes follow the closing boundary, where clients read nothing (the epilogue, RFC 2046 Section 5.1.1). Blanks
    fill the room of missing parts. `part_type` is the `type` parameter of the answer (RFC 2387), `tag` the entity tag.
    """
    boundary = boundary_of(tag)
    planned = parts if isinstance(parts, Sequence) else planned
    length_bytes = None if planned is None else multipart_length(planned, boundary) + len(report())
    body = _with_epilogue(encode_multipart(parts, boundary), length_bytes, report)
    response = Response(_begun(body), content_type=multipart_type(part_type, tag))
    if length_bytes is not None:
        response.content_length = length_bytes
    return response


def _with_epilogue(chunks: Iterable[Chunk], length_bytes: int | None, report: Callable[[], bytes]) -> Iterator[Chunk]:
    """The chunks, then the report, cut or filled with blanks to the promised length, if any."""
    sent_bytes = 0
    for chunk in chunks:
        sent_bytes += len(chunk)
        yield chunk
    epilogue = report()
    if length_bytes is None:
        if epilogue:
            yield epilogue
        return
    room_bytes = length_bytes - sent_bytes
    if room_bytes > 0:
        yield epilogue[:room_bytes]
        for start in range(len(epilogue), room_bytes, len(_BLANKS)):
            yield _BLANKS[: room_bytes - start]


NO_CACHE = "public, no-cache"
"""All caches may store it and must revalidate it each time, because credentials are checked here."""

PRIVATE = "private, no-cache"
"""For results of searches, which name patients: shared caches must not store them."""

IMMUTABLE = "public, max-age=600, s-maxage=0, proxy-revalidate"
"""For frames: a browser may use them for 10 minutes, and shared caches must revalidate them each time."""


def unless_known(
    request: Headers, tag: str, cache_control: str, vary: str, make: Callable[[], Response | Partial]
) -> Response:
    """The answer of `make` with its entity tag; 304, without a call, if the client has it (RFC 9110 Section 13.1.2).

    `request` are the headers of the request. PreconditionFailed if If-Match requires another representation. A Partial
    answer has no entity tag.
    """
    if is_other(request.get("If-Match"), tag):
        raise PreconditionFailed("the representation has changed")
    answer = Response(status=304) if is_known(request.get("If-None-Match"), tag) else make()
    if isinstance(answer, Partial):
        response = warned(answer.response, answer.warnings)
        response.headers["Cache-Control"] = "no-store"
    else:
        response = answer
        response.headers["ETag"] = tag
        response.headers.setdefault("Cache-Control", cache_control)
    varies(response, vary)
    return response


def varies(response: Response, by: str) -> None:
    """Add request headers, separated by commas, to Vary."""
    before = response.headers.get("Vary")
    response.headers["Vary"] = f"{before}, {by}" if before else by


def ranged(
    request: Headers,
    tag: str,
    content_type: str,
    length_bytes: int,
    read: Callable[[int, int], Iterable[Chunk]],
) -> Response:
    """One representation, or 206 with the bytes that the Range header asks for (RFC 9110 Section 14).

    `read` gives the bytes from a start to before a stop.
    """
    selected = parse_range(request.get("Range"), request.get("If-Range"), tag, length_bytes)
    if selected is None:
        response = stream(read(0, length_bytes), content_type, length_bytes)
    else:
        response = stream(read(selected.start, selected.stop), content_type, selected.stop - selected.start)
        response.status_code = 206
        response.headers["Content-Range"] = selected.content_range
    response.headers["Accept-Ranges"] = "bytes"
    return response


def ranged_multipart(request: Headers, parts: Iterable[Part], part_type: str, tag: str) -> Response:
    """`multipart/related`, or 206 with a range of the whole body, boundaries included.

    For one frame: all parts are made before the first byte is sent.
    """
    chunks = list(encode_multipart(parts, boundary_of(tag)))
    length_bytes = sum(map(len, chunks))

    def read(start: int, stop: int) -> Sequence[Chunk]:
        return chunks if stop - start == length_bytes else list(between(chunks, start, stop))

    return ranged(request, tag, multipart_type(part_type, tag), length_bytes, read)


def multipart_of_range(
    request: Headers, make: Callable[[int, int], Part], length_bytes: int, part_type: str, tag: str
) -> Response:
    """`multipart/related` of one bulk value, or 206 with a range of its bytes.

    `make` gives the part with the value from a start to before a stop. The range counts bytes of the value, not of the
    body (PS3.18 2016b Section 6.5.5.2.1). So Content-Range is in the head of the part, and caches must not store it.
    """
    selected = parse_range(request.get("Range"), request.get("If-Range"), tag, length_bytes)
    if selected is None:
        return multipart([make(0, length_bytes)], part_type, tag)
    part = replace(make(selected.start, selected.stop), content_range=selected.content_range)
    response = multipart([part], part_type, tag)
    response.status_code = 206
    response.headers["Cache-Control"] = "no-store"
    return response


def single(body: bytes, content_type: str) -> Response:
    """One representation, not wrapped."""
    return Response(body, content_type=content_type)


def coded(body: bytes, content_type: str, coding: Coding) -> Response:
    """One representation that is already encoded in its content coding."""
    response = Response(body, content_type=content_type)
    if coding is not Coding.IDENTITY:
        response.headers["Content-Encoding"] = coding.value
    return response


def download(chunks: Iterator[Chunk], content_type: str, name: str, length_bytes: int | None) -> Response:
    """One representation to save as a file; its first chunk is made before the status is sent.

    `length_bytes` is None where the size is not known.
    """
    response = Response(_begun(chunks), content_type=content_type)
    if length_bytes is not None:
        response.content_length = length_bytes
    response.headers["Content-Disposition"] = f'attachment; filename="{_NOT_OF_FILE_NAMES.sub("_", name)}"'
    return response


def stream(chunks: Iterable[Chunk], content_type: str, length_bytes: int) -> Response:
    """One representation of known size, in pieces; the first is made before the status is sent."""
    ready = chunks if isinstance(chunks, Sequence) else _begun(iter(chunks))
    response = Response(
        cast(Iterable[bytes], ready), content_type=content_type
    )  # `app.server.sendfile` sends pieces of files
    response.headers["Content-Length"] = str(length_bytes)
    return response


def _begun(chunks: Iterator[Chunk]) -> Iterator[bytes]:
    """The chunks, with the first already made, so that an error in it still becomes a status."""
    first: Chunk = next(chunks, b"")

    def rest() -> Iterator[Chunk]:
        yield first
        yield from chunks

    return cast(Iterator[bytes], rest())  # `app.server.sendfile` sends pieces of files
