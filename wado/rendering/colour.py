"""Colour images as RGB of 8 bits (PS3.3 Section C.7.6.3.1.2), and their ICC profiles (Section C.11.15)."""

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms
from pydicom import Dataset

from dicomweb.errors import NotAcceptable
from wado.rendering.lut import Lut
from wado.rendering.profiles import profile_of
from wado.rendering.sample_format import SampleFormat
from wado.rendering.values import item, text, value

Samples = npt.NDArray[Any]
Rgb = npt.NDArray[np.uint8]

_MOST_PROFILE_BYTES = 2**23  # what a JPEG file has room for, and more than any display profile


def rgb(samples: Samples, data_set: Dataset) -> Rgb:
    """RGB of shape (rows, columns, 3) for palette indexes (rows, columns), or for RGB or YBR (rows, columns, 3).

    NotAcceptable for an unusable palette, another number of samples, or floating-point samples.
    """
    photometric = text(data_set, "PhotometricInterpretation")
    if samples.dtype.kind == "f":
        raise NotAcceptable("floating-point pixels in colour cannot be drawn")
    if samples.ndim == 2:
        return _by_palette(samples, data_set)
    if samples.shape[2] != 3:
        raise NotAcceptable(f"pixels of {samples.shape[2]} samples cannot be drawn")
    stored = SampleFormat.of(data_set, samples)
    eight = samples if samples.dtype == np.uint8 and stored.bits == 8 else _to_eight_bits(samples, stored)
    if photometric.startswith("YBR"):  # the transformation of JFIF is that of YBR_FULL
        return np.asarray(Image.fromarray(np.ascontiguousarray(eight), "YCbCr").convert("RGB"))
    return np.ascontiguousarray(eight)


def _to_eight_bits(samples: Samples, stored: SampleFormat) -> Rgb:
    return _eight_bits(stored.bits_of(samples), stored.bits)


def _eight_bits(unsigned: Samples, bits: int) -> Rgb:
    """Numbers of `bits` bits, scaled to 8 bits."""
    eight: Rgb = (unsigned >> (bits - 8) if bits >= 8 else unsigned.astype(int) * 255 // (2**bits - 1)).astype(np.uint8)
    return eight


def _by_palette(samples: Samples, data_set: Dataset) -> Rgb:
    """The colours of palette indexes, by a table of all indexes."""
    stored = SampleFormat.of(data_set, samples)
    if stored.bits > 16:
        raise NotAcceptable("an index of more than 16 bits has no colour")
    tables = [Lut.of_palette(data_set, colour, stored.ends) for colour in ("Red", "Green", "Blue")]
    readable = [table for table in tables if table]
    if len(readable) < len(tables):
        raise NotAcceptable("the palette of the image cannot be read")
    most = max(int(table.entries.max()) for table in readable)
    bits = 8 if most < 256 else max(table.bits for table in readable)  # entries of 8 bits may be declared as 16
    eight = np.stack([_eight_bits(table.of(stored.all_values), bits) for table in readable], axis=-1)
    return np.ascontiguousarray(eight[stored.bits_of(samples)])


def icc_profile(data_set: Dataset) -> bytes | None:
    """The ICC profile of the image, or of its first optical path."""
    profile = value(data_set, "ICCProfile") or value(item(data_set, "OpticalPathSequence"), "ICCProfile")
    return profile if isinstance(profile, bytes) and len(profile) <= _MOST_PROFILE_BYTES else None


def in_colour_space(image: Image.Image, source: bytes | None, wanted: str) -> tuple[Image.Image, bytes | None]:
    """The image as the value `wanted` of `iccprofile` asks for it, and the profile to embed.

    `no` changes nothing and embeds none. `yes` embeds the profile of the image, or that of sRGB. Any other value names
    a colour space, and the pixels are converted to it. An image without a profile is taken for sRGB.
    """
    if wanted == "no":
        return image, None
    target = profile_of("srgb" if wanted == "yes" else wanted)
    if image.mode == "L":  # a grey file must not carry a profile of colours
        image = image.convert("RGB")
        source = None
    if wanted == "yes":
        return image, source or target
    if source or wanted != "srgb":
        image = _converted(image, source or profile_of("srgb"), target)
    return image, target


def _converted(image: Image.Image, source: bytes, target: bytes) -> Image.Image:
    wanted = ImageCms.ImageCmsProfile(BytesIO(target))
    for usable in (source, profile_of("srgb")):  # an unusable profile is ignored
        try:
            converted = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(BytesIO(usable)), wanted)
        except (ImageCms.PyCMSError, OSError):
            continue
        if converted:
            return converted
    return image
