"""Which content coding a client gets, and that it can read it (RFC 9110 Sections 8.4.1, 12.5.3)."""

import gzip

import pytest
from backports import zstd

from dicomweb.content_coding import Coding, choose_coding, compress


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, Coding.IDENTITY),
        ("", Coding.IDENTITY),
        ("gzip, deflate, br, zstd", Coding.ZSTD),
        ("gzip, deflate", Coding.GZIP),
        ("GZIP", Coding.GZIP),
        ("x-gzip", Coding.GZIP),
        ("*", Coding.GZIP),
        ("*;q=0.1, zstd;q=0.2", Coding.ZSTD),
        ("zstd;q=0.5, gzip;q=0.8", Coding.GZIP),
        ("zstd ; q=0, gzip", Coding.GZIP),
        ("gzip;q=0, *", Coding.IDENTITY),
        ("gzip;q=0.5, identity", Coding.IDENTITY),
        ("gzip, identity", Coding.GZIP),
        ("identity;q=0", Coding.IDENTITY),
        ("br, deflate", Coding.IDENTITY),
        ("gzip;q=1.2.3, zstd;q=x", Coding.IDENTITY),
        ("gzip;;, ,\u0661", Coding.IDENTITY),
    ],
)
def test_the_client_s_best_is_chosen(accepted: str | None, coding: Coding) -> None:
    assert choose_coding(accepted) is coding


CHUNKS = [b"[", *(b'{"00100010":{"vr":"PN"}},' for _ in range(500)), b"]"]


@pytest.mark.parametrize(
    ("coding", "read"), [(Coding.GZIP, gzip.decompress), (Coding.ZSTD, zstd.decompress), (Coding.IDENTITY, bytes)]
)
def test_what_is_compressed_can_be_read_and_is_always_the_same(coding: Coding, read: type[bytes]) -> None:
    compressed = b"".join(compress(iter(CHUNKS), coding))
    assert read(compressed) == b"".join(CHUNKS)
    assert compressed == b"".join(compress(CHUNKS, coding))
    assert coding is Coding.IDENTITY or len(compressed) < 1000
