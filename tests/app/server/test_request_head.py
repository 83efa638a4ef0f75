"""The heads of requests: what is taken, what is refused, and that the time for either grows with the length alone."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waitress.adjustments import Adjustments

from app.server.request_head import MAX_FIELDS, HeadBuffer, HeadError, checked
from app.server.request_parser import RequestParser
from tests.growth import grows_linearly

MAX_BYTES = 32 * 2**10
HOST = b"Host: x\r\n"


def head(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: x") -> bytes:
    return b"\r\n".join([first, *filter(None, [host]), *lines, b"", b""])


def parsed(*pieces: bytes) -> tuple[RequestParser, int]:
    """The request of these pieces, and how many bytes were taken."""
    parser = RequestParser(Adjustments(max_request_header_size=MAX_BYTES, max_request_body_size=2**20))
    return parser, sum(parser.received(piece) for piece in pieces)


def status(*pieces: bytes) -> int:
    """200 for a request that can be answered, 0 for one of which more must come."""
    parser, _ = parsed(*pieces)
    if not parser.completed:
        return 0
    return int(getattr(parser.error, "status", None) or parser.error.code) if parser.error else 200


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.0",
        b"OPTIONS * HTTP/1.1",
        b"GET http://viewer.example.org:8080/aetitle/studies?x=1 HTTP/1.1",
        b"GET HTTPS://[::1]/ HTTP/1.1",
        b"GET http://127.0.0.1 HTTP/1.1",
        b"GET //a/b HTTP/1.1",
        b'GET /%00%ff?a[]=|{}`"<> HTTP/1.1',
        b"GET /" + b"1.2.840.113619.2.30.1," * 1400 + b" HTTP/1.1",
    ],
)
def test_request_lines_that_are_taken(request_line: bytes) -> None:
    assert status(head(first=request_line)) == 200


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        (b"GET /", 400),
        (b"GET", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b"G@T / HTTP/1.1", 400),
        (b"get / HTTP/1.1", 400),
        (b"X" * 33 + b" / HTTP/1.1", 400),
        (b"GET x HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"GET ftp://x/ HTTP/1.1", 400),
        (b"GET http:// HTTP/1.1", 400),
        (b"GET http://[::1 HTTP/1.1", 400),
        (b"GET http://[::::]/ HTTP/1.1", 400),
        (b"GET http://[1.2.3.4]/ HTTP/1.1", 400),
        (b"GET http://a@b/ HTTP/1.1", 400),
        (b"GET /\xc3\xa4 HTTP/1.1", 400),
        (b"GET / HTTP/1", 400),
        (b"GET / HTTP/1.10", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/1.2", 505),
        (b"PRI * HTTP/2.0", 505),
    ],
)
def test_request_lines_that_are_refused(request_line: bytes, expected: int) -> None:
    assert status(head(first=request_line)) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"GET / HTTP/1.1\nHost: x\n\n", id="LF alone"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", id="LF in a header"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", id="CR in a header"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n", id="NUL"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX: \x7f\r\n\r\n", id="DEL"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="TLS"),
        pytest.param(head(b"X: a", b" b"), id="a header of two lines"),
        pytest.param(head(b" X: a"), id="a blank before the first header"),
        pytest.param(head(b"X : a"), id="a blank before the colon"),
        pytest.param(head(b": a"), id="no name"),
        pytest.param(head(b"X"), id="no colon"),
        pytest.param(head(b"X(: a"), id="no token"),
        pytest.param(head(b"\xc3\xa4: a"), id="no ASCII"),
        pytest.param(head(host=b""), id="no Host"),
        pytest.param(head(b"host: y"), id="two Hosts"),
    ],
)
def test_ill_formed_heads_are_refused(text: bytes) -> None:
    assert status(text) == 400
    assert status(*(bytes([byte]) for byte in text)) == 400


def test_a_line_end_that_is_none_is_refused_at_once() -> None:
    assert status(b"GET / HTTP/1.1\n") == 400
    assert status(b"GET / HTTP/1.1\r") == 0
    assert status(b"GET / HTTP/1.1\r", b"X") == 400


POST = b"POST / HTTP/1.1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(head(b"Content-Length: 2", b"Transfer-Encoding: chunked", first=POST), 400, id="both"),
        pytest.param(head(b"Transfer-Encoding: chunked", b"Content-Length: 2"), 400, id="both, the other way round"),
        pytest.param(head(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"), 400, id="HTTP/1.0"),
        pytest.param(head(b"Content-Length: 2", b"Content-Length: 3", first=POST), 400, id="two lengths"),
        pytest.param(head(b"Content-Length: 2", b"Content-Length: 2", first=POST), 400, id="the same length twice"),
        pytest.param(head(b"Content-Length: 2, 2", first=POST), 400, id="a list of lengths"),
        pytest.param(head(b"Content-Length: +2", first=POST), 400, id="a sign"),
        pytest.param(head(b"Content-Length: -1", first=POST), 400, id="negative"),
        pytest.param(head(b"Content-Length: 0x2", first=POST), 400, id="hexadecimal"),
        pytest.param(head(b"Content-Length: 1_0", first=POST), 400, id="underscore"),
        pytest.param(head(b"Content-Length: \xb2", first=POST), 400, id="a digit of Unicode"),
        pytest.param(head(b"Content-Length:", first=POST), 400, id="empty"),
        pytest.param(head(b"Content-Length: " + b"9" * 30_000, first=POST), 413, id="30,000 digits"),
        pytest.param(head(b"Content-Length: 9999999", first=POST), 413, id="too long"),
        pytest.param(head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", first=POST), 400, id="twice"),
        pytest.param(head(b"Transfer-Encoding: chunked, chunked", first=POST), 400, id="chunked twice"),
        pytest.param(head(b"Transfer-Encoding:", first=POST), 400, id="no coding"),
        pytest.param(head(b"Transfer-Encoding: ,chunked", first=POST), 400, id="an empty coding"),
        pytest.param(head(b"Transfer-Encoding: gzip, chunked", first=POST), 501, id="gzip"),
        pytest.param(head(b"Transfer-Encoding: xchunked", first=POST), 501, id="another coding"),
        pytest.param(head(b"Transfer-Encoding: \x0bchunked", first=POST), 400, id="vertical tab"),
    ],
)
def test_where_the_body_ends_is_beyond_doubt(text: bytes, expected: int) -> None:
    parser, taken = parsed(text + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(text) == expected
    assert parser.error
    assert expected in (501, 413) or taken > len(text), "what follows is taken for a request"


def test_a_length_is_a_number_of_ascii() -> None:
    assert status(head(b"Content-Length: 2", first=POST), b"ab") == 200
    assert status(head(b"Content-Length: 0000000002", first=POST), b"ab") == 200


def test_who_expects_to_be_told_to_continue_without_a_body_is_answered() -> None:
    without, _ = parsed(head(b"Expect: 100-continue"))
    assert (without.completed, without.expect_continue) == (True, False)
    too_long, _ = parsed(head(b"Expect: 100-continue", b"Content-Length: 9999999", first=POST))
    assert (too_long.completed, too_long.expect_continue) == (True, False)
    waiting, _ = parsed(head(b"Expect: 100-continue", b"Content-Length: 2", first=POST))
    assert (waiting.completed, waiting.expect_continue) == (False, True)


def test_empty_lines_before_a_request_are_left_out() -> None:
    parser, taken = parsed(b"\r\n\r\n\r", b"\n" + head() + b"GET")
    assert parser.completed and not parser.error
    assert taken == 6 + len(head())


@pytest.mark.parametrize("count", [MAX_FIELDS - 1, MAX_FIELDS])
def test_the_number_of_headers_is_bounded(count: int) -> None:
    assert status(head(*[b"X: y"] * count)) == (200 if count < MAX_FIELDS else 431)


def test_blanks_around_a_value_are_not_of_it() -> None:
    parser, _ = parsed(head(b"X:\t a  \t b \t"))
    assert parser.headers["X"] == "a  \t b"


fields = st.tuples(st.from_regex(rb"\AX-[A-Za-z0-9]{1,9}\Z"), st.from_regex(rb"\A(?:[!-~][ -~]{0,20}[!-~])?\Z"))


@settings(deadline=None)
@given(st.lists(fields, max_size=5, unique_by=lambda pair: pair[0].lower()), st.lists(st.integers(1, 40), max_size=9))
def test_a_head_is_the_same_however_it_is_cut(found: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    text = head(*(name + b": " + value + b" " for name, value in found)) + b"rest"
    buffer, at, taken = HeadBuffer(MAX_BYTES), 0, 0
    for length in [*cuts, len(text)]:
        if not buffer.complete:
            taken += buffer.received(text[at : at + length])
            at += length
    assert buffer.complete and taken == len(text) - 4
    assert bytes(buffer) == text[:-4]
    parser, _ = parsed(checked(bytes(buffer)))
    assert {name: parser.headers[name.decode().upper().replace("-", "_")] for name, _ in found} == {
        name: value.decode() for name, value in found
    }


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text("GET /:\r\n \tHTP1.0xhost", max_size=60).map(str.encode))
def test_nothing_that_comes_is_more_than_a_refusal(text: bytes) -> None:
    assert status(text) in (0, 200, 400, 413, 501, 505)
    assert status(b"GET / HTTP/1.1\r\n" + HOST + text + b"\r\n\r\n") in (200, 400, 413, 501, 0)


def whole(make: Callable[[int], bytes]) -> Callable[[int], object]:
    def work(length: int) -> object:
        text = make(length)
        return lambda: parsed(text)

    return work


def by_bytes(make: Callable[[int], bytes]) -> Callable[[int], Callable[[], object]]:
    def work(length: int) -> Callable[[], object]:
        pieces = [bytes([byte]) for byte in make(length)]
        return lambda: parsed(*pieces)

    return work


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda n: head(b"X:" + b" " * n), id="blanks"),
        pytest.param(lambda n: head(b"X:" + b" " * n + b"a"), id="blanks before a value"),
        pytest.param(lambda n: head(b"X: a" + b" " * n), id="blanks after a value"),
        pytest.param(lambda n: head(b"X: " + b"a " * (n // 2)), id="letters and blanks"),
        pytest.param(lambda n: head(b"X: " + b"\t " * (n // 2) + b"\0"), id="blanks before NUL"),
        pytest.param(lambda n: head(b"X: " + b"a" * n + b"\0"), id="letters before NUL"),
        pytest.param(lambda n: head(b"X" * n), id="a long name without a colon"),
        pytest.param(lambda n: head(first=b"GET a://" + b"1" * n + b" x"), id="a long host"),
        pytest.param(lambda n: head(first=b"GET http://" + b"1" * n + b" HTTP/1.1"), id="a long authority"),
        pytest.param(lambda n: head(first=b"GET http://a/" + b"://" * (n // 3) + b" HTTP/1.1"), id="many schemes"),
        pytest.param(lambda n: head(first=b"GET /" + b"%41" * (n // 3) + b" HTTP/1.1"), id="escapes"),
        pytest.param(lambda n: head(first=b"GET /" + b"?#" * (n // 2) + b" HTTP/1.1"), id="queries"),
        pytest.param(lambda n: head(first=b" " * n), id="a request line of blanks"),
        pytest.param(lambda n: b"\r\n" * (n // 2) + head(), id="empty lines"),
        pytest.param(lambda n: head(*[b"X:"] * (n // 4)), id="many headers"),
        pytest.param(lambda n: head(b"X: a", *[b" "] * (n // 3)), id="many folds"),
    ],
)
@pytest.mark.parametrize("work", [whole, by_bytes])
@pytest.mark.slow
def test_the_time_for_a_head_grows_with_its_length(
    work: Callable[[Callable[[int], bytes]], Callable[[int], Callable[[], object]]], make: Callable[[int], bytes]
) -> None:
    grows_linearly(work(make), MAX_BYTES - 100)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda n: b"1;" + b"x" * n, id="a chunk that does not begin"),
        pytest.param(lambda n: b'1;x="' + b'\\"' * (n // 2), id="a quoted extension"),
        pytest.param(lambda n: b"0" * n, id="zeros"),
        pytest.param(lambda n: b"0\r\n" + b"x" * n, id="a trailer that does not end"),
        pytest.param(lambda n: b"\r\n" * (n // 2), id="empty lines"),
        pytest.param(lambda n: b"1\r\nx\r\n" * (n // 6), id="small chunks"),
    ],
)
@pytest.mark.slow
def test_the_time_for_a_chunked_body_grows_with_its_length(body: Callable[[int], bytes]) -> None:
    begin = head(b"Transfer-Encoding: chunked", first=POST)
    grows_linearly(by_bytes(lambda n: begin + body(n)), 2**17)


def test_lines_of_chunks_are_bounded() -> None:
    begin = head(b"Transfer-Encoding: chunked", first=POST)
    assert status(begin, b"1;" + b"x" * 2000) == 400
    assert status(begin, b"0\r\nX: " + b"x" * 2000) == 400
    assert status(begin, b"1;x=y\r\na\r\n0\r\nX: y\r\n\r\n") == 200


def test_a_refused_head_raises_what_the_parser_can_say() -> None:
    with pytest.raises(HeadError) as refused:
        checked(head(first=b"GET /"))
    assert (refused.value.status, "blank" in refused.value.detail) == (400, True)
