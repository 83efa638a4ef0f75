"""Multipart bodies as clients write them, and as nobody should: the parts come out byte by byte, in linear time."""

import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dicomweb.errors import BadRequest, ContentTooLarge
from store.receive import file_bytes
from store.receive.content_type import ContentType
from store.receive.file_bytes import FileBytes
from store.receive.multipart import MAX_PARTS, BodyPart, parse_boundary, parse_parts


def parsed(body: bytes, boundary: bytes) -> list[tuple[dict[str, str], bytes]]:
    """Headers and content of each part."""
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.flush()
        parts = parse_parts(FileBytes(file.fileno(), len(body)), boundary)
        return [(dict(part.headers), content(file.fileno(), part)) for part in parts]


def content(descriptor: int, part: BodyPart) -> bytes:
    return os.pread(descriptor, part.stop - part.start, part.start)


@pytest.fixture(autouse=True, params=[2**20, 64])
def _window(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short windows make every seam between two of them."""
    monkeypatch.setattr(file_bytes, "_WINDOW_BYTES", request.param)


def encoded(
    parts: Sequence[bytes],
    boundary: bytes,
    *,
    line_end: bytes = b"\r\n",
    preamble: bytes = b"",
    epilogue: bytes = b"\r\n",
    with_length: bool = False,
    padding: bytes = b"",
) -> bytes:
    body = preamble
    for number, part in enumerate(parts):
        head = b"Content-Type: application/dicom" + line_end
        head += b"Content-Length: %d%b" % (len(part), line_end) if with_length else b""
        body += line_end * (number > 0) + b"--" + boundary + padding + line_end + head + line_end + part
    return body + line_end + b"--" + boundary + b"--" + epilogue


boundaries = st.text("0123456789abcdefXYZ'()+_,-./:=?", min_size=1, max_size=80).map(str.encode)
pieces = st.binary(max_size=300) | st.sampled_from(
    [b"\r\n--", b"--", b"\r\n--b", b"\r\n--boundary-but-longer\r\n", b"\r", b"\n", b"\r\n\r\n", bytes(150)]
)


@given(
    st.lists(pieces, min_size=1, max_size=5),
    boundaries,
    st.sampled_from([b"\r\n", b"\n"]),
    st.sampled_from([b"", b"\r\n", b"This is a message with multiple parts in MIME format.\r\n"]),
    st.sampled_from([b"", b"\r\n", bytes(40), b"\r\nepilogue\r\n--b"]),
    st.booleans(),
    st.sampled_from([b"", b" \t "]),
)
@example([b""], b"b", b"\r\n", b"", b"", False, b"")
@example([b"\r\n--b"], b"b", b"\r\n", b"", b"", True, b"")
def test_what_was_encoded_comes_out(
    parts: list[bytes],
    boundary: bytes,
    line_end: bytes,
    preamble: bytes,
    epilogue: bytes,
    with_length: bool,
    padding: bytes,
) -> None:
    if any(b"\n--" + boundary in b"\n" + part + b"\n" for part in parts) and not with_length:
        return  # such a boundary may not be chosen
    if line_end == b"\n" and not with_length and any(part.endswith(b"\r") for part in parts):
        return  # a CR before the LF belongs to the line end
    body = encoded(
        parts,
        boundary,
        line_end=line_end,
        preamble=preamble,
        epilogue=epilogue,
        with_length=with_length,
        padding=padding,
    )
    if b"--" + boundary in preamble:
        return
    assert [found for _, found in parsed(body, boundary)] == parts


@given(
    st.binary(max_size=400) | st.lists(pieces, max_size=12).map(b"".join), st.sampled_from([b"b", b"-", b"--", b"\\"])
)
def test_any_bytes_are_parts_or_a_bad_request(body: bytes, boundary: bytes) -> None:
    try:
        parts = parsed(body, boundary)
    except BadRequest:
        return
    assert parts and b"--" + boundary + b"--" in body


@given(st.binary(max_size=100), st.data())
def test_a_body_that_was_cut_off_is_refused(part: bytes, data: st.DataObject) -> None:
    boundary = b"a-boundary-that-is-in-no-part-0123456789"
    body = encoded([part, part], boundary, epilogue=b"")
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(BadRequest):
        parsed(body[:cut], boundary)


@pytest.mark.parametrize(
    ("body", "contents"),
    [
        pytest.param(b"\r\n--b\r\n\r\none\r\n--b--", [b"one"], id="OHIF: begins with CRLF"),
        pytest.param(
            b"--b\r\nA: b\r\n\r\none\r\n--b--" + bytes(500), [b"one"], id="JavaScript client: zeros at the end"
        ),
        pytest.param(b"--b\nA: b\n\none\n--b\n\ntwo\n--b--\n", [b"one", b"two"], id="printf with LF"),
        pytest.param(b"--b\r\n\r\n--b--", [b""], id="an empty part"),
        pytest.param(b"--b\r\n\r\none\r\n--bc\r\n--b--", [b"one\r\n--bc"], id="another boundary begins like it"),
        pytest.param(b"--b\r\n\r\none\r\n--b--x\r\n--b--", [b"one\r\n--b--x"], id="a line that goes on is content"),
        pytest.param(b"--bx\r\n\r\n--b\r\n\r\none\r\n--b--", [b"one"], id="a preamble that looks like it"),
        pytest.param(b"--b\r\nContent-Length: 99\r\n\r\none\r\n--b--", [b"one"], id="a wrong length has no effect"),
        pytest.param(b"--b\r\nContent-Length: 3\r\n\r\n\r\n--b--", [b""], id="a length that leads past the end"),
        pytest.param(
            b"--b\r\nContent-Length: 15\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--",
            [b"one\r\n--b\r\n\r\ntwo"],
            id="announced",
        ),
    ],
)
def test_spellings(body: bytes, contents: list[bytes]) -> None:
    assert [found for _, found in parsed(body, b"b")] == contents


def test_headers_are_read_in_any_case() -> None:
    body = b'--b\r\nCONTENT-type:application/dicom; x="y"\r\ncontent-LOCATION:  /a:b \r\n\r\none\r\n--b--'
    ((headers, _),) = parsed(body, b"b")
    assert headers == {"content-type": 'application/dicom; x="y"', "content-location": "/a:b"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"b",
        b"--b--",
        b"--b--\r\n",
        b"--b\r\n",
        b"--b\r\nno colon\r\n\r\none\r\n--b--",
        b"--b\r\n\r\none",
        b"--b\r\n\r\none\r\n--b",
        b"--b\r\n\r\none\r\n--b-",
        b"--b\r\nA: " + b"x" * 20_000 + b"\r\n\r\none\r\n--b--",
        b"--c\r\n\r\none\r\n--c--",
    ],
)
def test_malformed_bodies(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parsed(body, b"b")


def test_the_number_of_parts_has_a_bound() -> None:
    part = b"--b\r\n\r\nx\r\n"
    assert len(parsed(part * MAX_PARTS + b"--b--", b"b")) == MAX_PARTS
    with pytest.raises(ContentTooLarge):
        parsed(part * (MAX_PARTS + 1) + b"--b--", b"b")


def test_headers_of_parts_take_a_bounded_memory() -> None:
    head = b"".join(b"%x:\n" % number for number in range(3000))
    body = (b"\r\n--b\r\n" + head + b"Content-Type: a/b\n\nx") * 20 + b"\r\n--b--"
    assert all(headers == {"content-type": "a/b"} for headers, _ in parsed(body, b"b"))
    long = b"\r\n--b\r\nContent-Location: " + b"a" * 16_000 + b"\r\n\r\nx"
    with pytest.raises(ContentTooLarge):
        parsed(long * 600 + b"\r\n--b--", b"b")


def test_a_boundary_that_is_in_the_content_again_and_again_is_refused() -> None:
    """Each time costs more than other bytes: a body of some gigabytes would compute for minutes."""
    piece = b"\r\n--bx"
    assert len(parsed(b"--b\r\n\r\n" + piece * 10_000 + b"\r\n--b--", b"b")) == 1
    with pytest.raises(BadRequest, match="boundary"):
        parsed(b"--b\r\n\r\n" + piece * 5001 + b"\r\n--b\r\n\r\n" + piece * 5001 + b"\r\n--b--", b"b")


@pytest.mark.parametrize(
    ("piece", "boundary"),
    [(b"\r\n--", b"b"), (b"\r\n--a", b"a" * 70 + b"b"), (b"\n", b"b"), (b"-", b"-" * 80), (b"\r\n--bx", b"b")],
)
def test_time_is_in_proportion_to_the_size(piece: bytes, boundary: bytes) -> None:
    def seconds(size: int) -> float:
        body = b"--" + boundary + b"\r\n\r\n" + piece * (size // len(piece)) + b"\r\n--" + boundary + b"--"
        began = time.process_time()
        with suppress(BadRequest):  # some are their own end
            parsed(body, boundary)
        return time.process_time() - began

    seconds(20_000)
    assert seconds(800_000) < 40 * max(seconds(80_000), 0.002)


@pytest.mark.parametrize(
    ("text", "media_type", "part_type", "boundary"),
    [
        (
            'multipart/related; type="application/dicom"; boundary="a b"',
            "multipart/related",
            "application/dicom",
            "a b",
        ),
        ("multipart/related;type=application/dicom;boundary=x", "multipart/related", "application/dicom", "x"),
        (
            'Multipart/Related; BOUNDARY=X/y?; Type="APPLICATION/DICOM" ;',
            "multipart/related",
            "application/dicom",
            "X/y?",
        ),
        ("multipart/related; boundary=weasisDicomBoundary", "multipart/related", "", "weasisDicomBoundary"),
        (f"multipart/related; boundary={'b' * 73}", "multipart/related", "", "b" * 73),
        (r'multipart/related; boundary="a\"b"', "multipart/related", "", 'a"b'),
        (
            'multipart/related; type="application/dicom+json; transfer-syntax=1.2"; boundary=x',
            "multipart/related",
            "application/dicom+json",
            "x",
        ),
        ("multipart/related; ;; boundary=x;", "multipart/related", "", "x"),
        ("multipart/related; boundary=a; boundary=b", "multipart/related", "", "a"),
        ("application/dicom", "application/dicom", "", ""),
        ("", "", "", ""),
        ("nothing", "", "", ""),
    ],
)
def test_content_types(text: str, media_type: str, part_type: str, boundary: str) -> None:
    found = ContentType.from_header(text)
    assert (found.media_type, found.part_type) == (media_type, part_type)
    assert found.parameters.get("boundary", "") == boundary


@pytest.mark.parametrize("boundary", ["", "b" * 257, "\N{GREEK SMALL LETTER ALPHA}"])
def test_boundaries_that_cannot_be(boundary: str) -> None:
    with pytest.raises(BadRequest):
        parse_boundary(ContentType("multipart/related", {"boundary": boundary}))


@given(st.text(max_size=200))
def test_any_content_type_is_read(text: str) -> None:
    ContentType.from_header(text)
    ContentType.from_header(f"multipart/related; {text}")
