"""ICC profiles of the colour spaces of `iccprofile` (PS3.18 Section 8.3.5.1.5), computed from their definitions.

Each is a display profile of version 4 (ISO 15076-1) with three primaries and one curve (PS3.3 Section C.11.15).
"""

import struct
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import ImageCms

Chromaticity = tuple[float, float]
"""x and y of CIE 1931."""

_D50 = np.array([0.9642, 1.0, 0.8249])
"""The white point of all profiles, in XYZ (ISO 15076-1 Section 7.2.16)."""

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D65_XY: Chromaticity = (0.3127, 0.3290)
_D50_XY: Chromaticity = (0.3457, 0.3585)


@dataclass(frozen=True)
class ColourSpace:
    """Primaries, white point, and the parameters g, a, b, c and d of the curve.

    A sample Y from 0 to 1 has the intensity (aY + b)^g from d on, and cY below d.
    """

    name: str
    primaries: tuple[Chromaticity, Chromaticity, Chromaticity]
    white: Chromaticity
    curve: tuple[float, float, float, float, float]


SPACES = {
    "adobergb": ColourSpace(
        "Adobe RGB (1998) compatible", ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), _D65_XY, (563 / 256, 1, 0, 0, 0)
    ),
    "rommrgb": ColourSpace(
        "ROMM RGB", ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), _D50_XY, (1.8, 1, 0, 1 / 16, 1 / 32)
    ),
    "displayp3": ColourSpace(
        "Display P3",
        ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
        _D65_XY,
        (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    ),
}
"""By the value of `iccprofile`: Adobe RGB (1998), ISO 22028-2, and SMPTE RP 431-2 with D65 and the curve of sRGB."""


@cache
def profile_of(name: str) -> bytes:
    """The profile of a colour space, by its value of `iccprofile`."""
    if name == "srgb":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return _encoded(SPACES[name])


def _encoded(space: ColourSpace) -> bytes:
    curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + b"".join(map(_fixed, space.curve))
    colorants, adaptation = _to_d50(space)
    tags = {
        b"desc": _text(space.name),
        b"cprt": _text("No copyright, use freely"),
        b"wtpt": _xyz(_D50),
        b"chad": b"sf32" + bytes(4) + b"".join(map(_fixed, adaptation.ravel())),
        **{name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants.T, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    return _header(start + len(body)) + table + body


def _header(size_bytes: int) -> bytes:
    created = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    head = struct.pack(">I4s4s4s4s4s", size_bytes, bytes(4), b"\x04\x20\0\0", b"mntr", b"RGB ", b"XYZ ") + created
    return (head + b"acsp" + bytes(28) + b"".join(map(_fixed, _D50))).ljust(128, b"\0")


def _to_d50(space: ColourSpace) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The XYZ of the primaries under D50 as columns, and the matrix that adapts to D50."""
    primaries = np.array([_xyz_of(xy) for xy in space.primaries]).T
    white = _xyz_of(space.white)
    scaled = primaries * np.linalg.solve(primaries, white)
    cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD
    return adaptation @ scaled, adaptation


def _xyz_of(xy: Chromaticity) -> npt.NDArray[np.float64]:
    x, y = xy
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _xyz(values: npt.NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def _fixed(number: float) -> bytes:
    return struct.pack(">i", round(float(number) * 65536))


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28) + encoded
