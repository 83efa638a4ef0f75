"""JPEG 2000 codestreams that claim to be what they are not."""


def claiming(frame: bytes, side: int) -> bytes:
    """A codestream that says it has a square of so many pixels a side, in one tile (ISO/IEC 15444-1 Section A.5.1)."""
    changed = bytearray(frame)
    for at in (8, 24):
        changed[at : at + 8] = side.to_bytes(4, "big") * 2
    return bytes(changed)


def divided(frame: bytes, block: int, precinct: int | None) -> bytes:
    """A codestream that says it is divided into code-blocks and precincts of these exponents.

    Of code-blocks the exponent is two less, as COD has it (ISO/IEC 15444-1 Section A.6.1).
    """
    changed = bytearray(frame)
    cod = changed.index(b"\xff\x52")
    levels = changed[cod + 9]
    changed[cod + 10 : cod + 12] = bytes([block]) * 2
    if precinct is not None and not changed[cod + 4] & 1:
        changed[cod + 4] |= 1
        length = int.from_bytes(changed[cod + 2 : cod + 4], "big")
        changed[cod + 2 : cod + 4] = (length + levels + 1).to_bytes(2, "big")
        changed[cod + 2 + length : cod + 2 + length] = bytes([precinct]) * (levels + 1)
    return bytes(changed)
