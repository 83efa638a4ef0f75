"""The head of a request: its grammar, checked in one pass over its bytes (RFC 9112).

waitress reads a head with regular expressions; the time of some grows with the square of the length. So it gets only
heads that `checked` returns: a request line of three words, and fields without blanks around their values. A head that
a proxy in front could understand in another way is refused, too.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NoReturn

from dicomweb.public_root import is_host

MAX_FIELDS = 200
_LONGEST_METHOD = 32
_LONGEST_LENGTH = 15  # digits of Content-Length
_REMEMBERED, _REMEMBERED_BYTES = 256, 2**11  # blocks of fields that were in order, and their most bytes
_END = b"\r\n\r\n"
_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # RFC 9110 Section 5.6.2
_VISIBLE = bytes(range(0x21, 0x7F))
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n|\Z)|(?<!\r)\n")
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]\Z")
_SCHEMES = (b"http://", b"https://")
_ONLY_ONCE = (b"host", b"content-length", b"transfer-encoding")


class HeadError(Exception):
    """A head that is refused, with the status of the answer."""

    def __init__(self, status: int, detail: str = "") -> None:
        """Without `detail`, the usual text of the status is used."""
        super().__init__(detail)
        self.status = status
        self.detail = detail


class HeadBuffer:
    """The bytes of a head as they come in. Each byte is examined once, however small the pieces are."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = bytearray()
        self.complete = False

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    def received(self, data: bytes) -> int:
        """Take bytes up to the end of the head; the number of bytes of `data` that were taken.

        Empty lines before a head are left out. HeadError (400, 414 or 431) if the head is too long, or has a byte that
        is not allowed.
        """
        before = len(self._bytes)
        self._bytes += data
        self._drop_empty_lines()
        dropped = before + len(data) - len(self._bytes)
        seen = max(0, before - dropped)
        found = self._bytes.find(_END, max(0, seen - len(_END) + 1))
        stop = found + len(_END) if found >= 0 else len(self._bytes)
        if _FORBIDDEN.search(self._bytes, max(0, seen - 1), stop):
            raise HeadError(400, "the head of the request has a control character, or a line end that is not CR LF")
        if stop >= self._max_bytes:
            self._too_long()
        excess = len(self._bytes) - stop
        del self._bytes[stop:]
        self.complete = found >= 0
        return len(data) - excess

    def _drop_empty_lines(self) -> None:
        """Leave out empty lines before a request line (RFC 9112 Section 2.2)."""
        stop = 0
        while self._bytes.startswith(b"\r\n", stop):
            stop += 2
        del self._bytes[:stop]

    def _too_long(self) -> NoReturn:
        status, too_long = (431, "headers are") if b"\n" in self._bytes[: self._max_bytes] else (414, "URL is")
        raise HeadError(status, f"the {too_long} too long; URL and headers have at most {self._max_bytes} bytes")


def checked(head: bytes) -> bytes:
    """The head in its plainest form, with its last empty line; HeadError if it is malformed or ambiguous."""
    request_line, _, fields = head[: -len(_END)].partition(b"\r\n")
    version = _version(request_line)
    check = _checked_again if len(fields) <= _REMEMBERED_BYTES else _checked_fields
    return request_line + b"\r\n" + check(fields, version) + b"\r\n"


def _checked_fields(block: bytes, version: bytes) -> bytes:
    lines = block.split(b"\r\n") if block else []
    if len(lines) > MAX_FIELDS:
        raise HeadError(431, f"the request has more than {MAX_FIELDS} headers")
    fields = list(_fields(lines))
    _check_counts(fields, version)
    _check_framing({name.lower(): value for name, value in fields}, version)
    return b"".join(name + b":" + value + b"\r\n" for name, value in fields)


_checked_again = lru_cache(_REMEMBERED)(_checked_fields)  # a client sends the same fields with nearly every request


def _version(request_line: bytes) -> bytes:
    words = request_line.split(b" ")
    if len(words) != 3:
        raise HeadError(
            400, "the request does not begin with a method, a URL and a version, with one blank between them"
        )
    method, target, version = words
    if not 0 < len(method) <= _LONGEST_METHOD or method.translate(None, _TOKEN):
        raise HeadError(400, "the method of the request is none")
    if not _VERSION.match(version):
        raise HeadError(400, "the version of HTTP is none")
    if version not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise HeadError(505, "send HTTP/1.1 or HTTP/1.0")
    if not _is_target(method, target):
        raise HeadError(400, "the URL of the request is none, or has characters that must be escaped")
    return version


def _is_target(method: bytes, target: bytes) -> bool:
    """Whether a request target is a path on this server, a whole URL, or `*` (RFC 9112 Section 3.2)."""
    if target.translate(None, _VISIBLE):
        return False
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return True
    scheme, separator, rest = target.partition(b"://")
    authority = re.split(rb"[/?#]", rest, maxsplit=1)[0]
    return (scheme + separator).lower() in _SCHEMES and is_host(authority.decode("ascii"))


def _fields(lines: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for line in lines:
        name, colon, value = line.partition(b":")
        if not (name and colon) or name.translate(None, _TOKEN):
            raise HeadError(400, "a header of the request has no name of a header before a colon, or has two lines")
        yield name, value.strip(b" \t")


def _check_counts(fields: Sequence[tuple[bytes, bytes]], version: bytes) -> None:
    names = [name.lower() for name, _ in fields]
    for name in _ONLY_ONCE:
        if names.count(name) > 1:
            raise HeadError(400, f"the request has more than one header {name.decode().title()}")
    if version == b"HTTP/1.1" and b"host" not in names:
        raise HeadError(400, "the request has no header Host")


def _check_framing(values: dict[bytes, bytes], version: bytes) -> None:
    """Refuse a head that leaves the end of the body in doubt: a proxy may see another end (RFC 9112 Section 6.3)."""
    length, coding = values.get(b"content-length"), values.get(b"transfer-encoding")
    if coding is not None and length is not None:
        raise HeadError(400, "the request has both Content-Length and Transfer-Encoding")
    if coding is not None and version == b"HTTP/1.0":
        raise HeadError(400, "a request of HTTP/1.0 has no Transfer-Encoding")
    codings = [word.strip(b" \t").lower() for word in (coding or b"chunked").split(b",")]
    if (
        coding == b"" or b"" in codings or codings.count(b"chunked") > 1
    ):  # waitress says of other codings that it has none
        raise HeadError(400, "Transfer-Encoding is not a list of codings, or has one twice")
    if length is not None and not length.isdigit():
        raise HeadError(400, "Content-Length is not a number")
    if length is not None and len(length) > _LONGEST_LENGTH:
        raise HeadError(413)
