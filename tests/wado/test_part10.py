"""Offset tables of encapsulated pixel data."""

import struct

from dicomweb.transfer_syntax import HTJ2K_LOSSLESS_RPCL
from wado.part10 import _offset_tables

MP4 = "1.2.840.10008.1.2.4.102"
ITEM = b"\xfe\xff\x00\xe0"


def test_frames_are_found_by_the_basic_table() -> None:
    extended, basic = _offset_tables([10, 11, 12], HTJ2K_LOSSLESS_RPCL)
    assert extended == b""
    assert basic == ITEM + struct.pack("<4I", 12, 0, 18, 38)


def test_the_extended_table_holds_what_the_basic_one_cannot() -> None:
    """PS3.3 Section C.7.6.3.1.8: 64-bit offsets and lengths, and an empty basic table."""
    size = 2**31 + 1
    extended, basic = _offset_tables([size, size, size], HTJ2K_LOSSLESS_RPCL)
    offsets = b"\xe0\x7f\x01\x00OV\0\0" + struct.pack("<I3Q", 24, 0, size + 9, 2 * (size + 9))
    assert extended == offsets + b"\xe0\x7f\x02\x00OV\0\0" + struct.pack("<I3Q", 24, *[size + 1] * 3)
    assert basic == ITEM + bytes(4)


def test_a_video_has_no_offsets() -> None:
    assert _offset_tables([10], MP4) == (b"", ITEM + bytes(4))
