"""JPEGs whose markers and component ids say what their colours are, rightly or wrongly."""

import struct
from io import BytesIO

import numpy as np
from PIL import Image

ROWS, COLUMNS = 16, 24
JFIF, ADOBE_RGB, ADOBE_YCC = "JFIF", "Adobe RGB", "Adobe YCbCr"


def _picture() -> Image.Image:
    """Red, green, blue and grey bars, so that no colour space is like another."""
    bars = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    bars[:, :6], bars[:, 6:12], bars[:, 12:18], bars[:, 18:] = (250, 9, 9), (9, 250, 9), (9, 9, 250), (90, 90, 90)
    return Image.fromarray(bars)


def jpeg(markers: tuple[str, ...] = (), ids: bytes = b"\1\2\3", *, rgb: bool = False) -> bytes:
    """A JPEG with these markers in this order, and its components under these ids."""
    buffer = BytesIO()
    _picture().save(buffer, "JPEG", quality=95, subsampling=0, keep_rgb=rgb)
    whole, position, kept = buffer.getvalue(), 2, []
    while whole[position + 1] != 0xDA:
        length = int.from_bytes(whole[position + 2 : position + 4], "big")
        segment = bytearray(whole[position : position + 2 + length])
        position += 2 + length
        if segment[1] == 0xC0:
            segment[10:19:3] = ids
        if segment[1] not in (0xE0, 0xEE):
            kept.append(bytes(segment))
    scan = bytearray(whole[position:])
    scan[5:11:2] = ids
    return b"\xff\xd8" + b"".join(map(_marker, markers)) + b"".join(kept) + bytes(scan)


def _marker(name: str) -> bytes:
    if name == JFIF:
        return b"\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    return b"\xff\xee\x00\x0eAdobe" + struct.pack(">HHHB", 100, 0, 0, 0 if name == ADOBE_RGB else 1)
