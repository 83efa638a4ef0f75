"""Bodies with a length and in chunks: each byte once, whatever the pieces; what is malformed is refused."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.server.body_decoder import BodyDecoder, ChunkedDecoder, LengthDecoder
from dicomweb.errors import BadRequest


def fed(decoder: BodyDecoder, data: bytes, sizes: list[int]) -> bytes:
    """The content of what is received in pieces of these sizes, over and over."""
    content, at, turn = b"", 0, 0
    while at < len(data) and not decoder.ended:
        size = sizes[turn % len(sizes)]
        content += decoder.decode(data[at : at + size])
        at, turn = at + size, turn + 1
    return content


def chunked(parts: list[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts if part)
    return chunks + b"0\r\n" + trailer + b"\r\n"


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@given(
    st.lists(st.binary(max_size=50), max_size=8),
    sizes,
    st.sampled_from([b"", b";a=b", b' ; x="\xff"']),
    st.sampled_from([b"", b"Digest: x\r\n", b"A: b\r\nC: d\r\n"]),
)
def test_chunks_are_put_together(parts: list[bytes], cut: list[int], extension: bytes, trailer: bytes) -> None:
    decoder = ChunkedDecoder()
    assert fed(decoder, chunked(parts, extension, trailer), cut) == b"".join(parts)
    assert decoder.ended and decoder.excess == b""


@given(st.binary(max_size=100), st.binary(max_size=50), st.booleans())
def test_what_follows_is_excess(body: bytes, following: bytes, in_chunks: bool) -> None:
    decoder: BodyDecoder = ChunkedDecoder() if in_chunks else LengthDecoder(len(body))
    sent = chunked([body]) if in_chunks else body
    content = decoder.decode(sent + following)
    assert (content, decoder.excess, decoder.ended) == (body, following, True)


def test_no_more_than_the_length_is_wanted() -> None:
    decoder = LengthDecoder(10)
    assert decoder.wanted(100) == 10
    decoder.decode(b"1234")
    assert (decoder.wanted(100), decoder.wanted(2), decoder.ended) == (6, 2, False)


@pytest.mark.parametrize(
    "malformed",
    [
        b"\r\n",
        b"zz\r\n",
        b"-1\r\n",
        b"0x4\r\nabcd\r\n",
        b"4\nabcd\r\n",
        b"4 4\r\nabcd\r\n",
        b"4\r\nabcde\r\n",
        b"4\r\nabcd\n0\r\n\r\n",
        b"1" * 16 + b"\r\n",
        b"1;" + b"x" * 2000,
        b"4;\0\r\nabcd\r\n",
        b"0\r\n" + b"x: " + b"y" * 2000 + b"\r\n",
        b"0\r\n" + b"x: y\r\n" * 2000,
        b"0\r\nx\ry\r\n\r\n",
    ],
)
def test_malformed_chunks_are_refused(malformed: bytes) -> None:
    with pytest.raises(BadRequest):
        ChunkedDecoder().decode(malformed)


def test_tiny_chunks_take_time_in_proportion() -> None:
    """A decoder that cuts off the front of its input for each chunk goes over it tens of thousands of times."""
    one = b"1\r\nx\r\n"

    def seconds(count: int) -> float:
        data = one * count
        began = time.process_time()
        assert len(ChunkedDecoder().decode(data)) == count
        return time.process_time() - began

    seconds(1000)
    assert seconds(100_000) < 40 * seconds(10_000)
