"""Whatever the attributes of an image say, there is a picture, or a refusal that the client can read."""

import struct
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from dicomweb.errors import NotAcceptable
from wado.rendering.colour import in_colour_space
from wado.rendering.display_attributes import DisplayAttributes
from wado.rendering.draw import draw_samples
from wado.rendering.encode import encode
from wado.rendering.geometry import fitted
from wado.rendering.parameters import Rendering
from wado.rendering.segmentation import SOP_CLASSES
from wado.rendering.values import parse_head, quietly

ROWS, COLUMNS = 5, 7
SHORTS = st.integers(0, 0xFFFF).map(lambda number: struct.pack("<H", number)) | st.sampled_from(
    [struct.pack("<H", number) for number in (0, 1, 8, 12, 16, 17, 32, 64, 0x7FFF, 0xFFFF)]
)
NUMBERS = st.sampled_from([b"", b"0 ", b"1 ", b"-1", b"1e308 ", b"nan ", b"inf ", b"40\\400", b"\\ ", b"x ", b"0.5 "])
GARBAGE = st.binary(max_size=24).map(lambda some: some + b"\0" * (len(some) % 2))
DESCRIPTORS = st.lists(SHORTS, max_size=4).map(b"".join)
PHOTOMETRICS = st.sampled_from(
    [
        b"MONOCHROME1 ",
        b"MONOCHROME2 ",
        b"RGB ",
        b"PALETTE COLOR ",
        b"YBR_FULL",
        b"YBR_FULL_422",
        b"",
        b"CMYK",
        b"\xff\xfe",
    ]
)
TABLES, ENTRIES = (0x1101, 0x1102, 0x1103), (0x1201, 0x1202, 0x1203, 0x1221, 0x1222, 0x1223)
PALETTE = {
    **dict.fromkeys(((0x0028, element) for element in TABLES), ("US", DESCRIPTORS)),
    **dict.fromkeys(((0x0028, element) for element in ENTRIES), ("OW", GARBAGE)),
}
OVERLAY = {
    **dict.fromkeys(((0x6000, element) for element in (0x0010, 0x0011, 0x0015, 0x0050, 0x0051, 0x0100, 0x0102)),
                    ("US", DESCRIPTORS)),
    (0x6000, 0x3000): ("OW", GARBAGE),
}  # fmt: skip
PLAIN = {
    (0x0008, 0x0016): ("UI", st.sampled_from([*(uid.encode() for uid in sorted(SOP_CLASSES)), b"1.2 "])),
    (0x0018, 0x1063): ("DS", NUMBERS),
    (0x0028, 0x0002): ("US", DESCRIPTORS),
    (0x0028, 0x0004): ("CS", PHOTOMETRICS),
    (0x0028, 0x0034): ("IS", NUMBERS),
    (0x0028, 0x0101): ("US", DESCRIPTORS),
    (0x0028, 0x0102): ("US", DESCRIPTORS),
    (0x0028, 0x0103): ("US", DESCRIPTORS),
    (0x0028, 0x0120): ("US", DESCRIPTORS),
    (0x0028, 0x0121): ("US", DESCRIPTORS),
    (0x0028, 0x1050): ("DS", NUMBERS),
    (0x0028, 0x1051): ("DS", NUMBERS),
    (0x0028, 0x1052): ("DS", NUMBERS),
    (0x0028, 0x1053): ("DS", NUMBERS),
    (0x0028, 0x1056): ("CS", st.sampled_from([b"SIGMOID ", b"LINEAR_EXACT", b"x "])),
    (0x0028, 0x2000): ("OB", GARBAGE),
    (0x2050, 0x0020): ("CS", st.sampled_from([b"INVERSE ", b"x "])),
}
LUT = {(0x0028, 0x3002): ("US", DESCRIPTORS), (0x0028, 0x3006): ("OW", GARBAGE)}
LUTS = [(0x0028, 0x3000), (0x0028, 0x3010), (0x2050, 0x0010)]
SEQUENCES = [*LUTS, (0x0062, 0x0002), (0x5200, 0x9229), (0x5200, 0x9230)]
LONG = frozenset({"OB", "OW", "SQ"})
Key = tuple[int, int]


def element(tag: Key, vr: str, value: bytes) -> bytes:
    length = struct.pack("<HI", 0, len(value)) if vr in LONG else struct.pack("<H", len(value))
    return struct.pack("<HH", *tag) + vr.encode() + length + value


def item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


@st.composite
def heads(draw_: st.DrawFn) -> bytes:
    """A data set of some of what pictures are drawn by, right or wrong."""
    known = {**PLAIN, **PALETTE, **OVERLAY}
    tags = draw_(st.sets(st.sampled_from([*known, *SEQUENCES]), max_size=12))
    tags |= draw_(st.sampled_from([set(), set(PALETTE), set(OVERLAY)]))
    parts = []
    for tag in sorted(tags):
        if tag in known:
            vr, values = known[tag]
            parts.append(element(tag, vr, draw_(values)))
        else:
            inside = b"".join(element(one, vr, draw_(values)) for one, (vr, values) in LUT.items())
            parts.append(element(tag, "SQ", draw_(st.sampled_from([item(inside), item(b""), inside, b"", b"\0\0"]))))
    return b"".join(parts)


SAMPLES = st.sampled_from(["<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f4", "<f8"])


SEGMENTATION = element((0x0008, 0x0016), "UI", min(SOP_CLASSES).encode())
PIXELS = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).bytes(ROWS * COLUMNS * 32))


@settings(max_examples=300, deadline=None)
@given(heads(), SAMPLES, st.integers(1, 4), PIXELS)
@example(b"", "<i1", 3, bytes(ROWS * COLUMNS * 32))  # signed colours
@example(SEGMENTATION, "<u1", 3, bytes(ROWS * COLUMNS * 32))
@example(SEGMENTATION, "<f4", 1, bytes(ROWS * COLUMNS * 32))
def test_a_damaged_image_has_a_picture_or_a_refusal(said: bytes, sample: str, samples: int, pixels: bytes) -> None:
    array: np.ndarray[Any, Any] = np.frombuffer(pixels, sample)[: ROWS * COLUMNS * samples]
    array = array.reshape((ROWS, COLUMNS, samples)[: 2 if samples == 1 else 3])
    with quietly():
        subject = DisplayAttributes(parse_head(said)).of_frame(1)
        try:
            drawn = draw_samples(array, subject, 1, Rendering())
            image = fitted(Image.fromarray(drawn), COLUMNS, ROWS, subject.aspect, Rendering().viewport)
            shown, profile = in_colour_space(image, subject.icc_profile, Rendering().icc_profile)
            encoded = encode([shown], "image/png", None, profile, subject.frame_milliseconds)
        except NotAcceptable:
            return
    assert (drawn.dtype, drawn.shape[:2]) == (np.dtype(np.uint8), (ROWS, COLUMNS))
    assert encoded.startswith(b"\x89PNG")
