"""Colour images as RGB of 8 bits (PS3.3 Section C.7.6.3.1.2), and their ICC profiles (Section C.11.15)."""

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

from dicomweb.errors import BadRequest
from wado.rendered.grey import Stored
from wado.rendered.values import value

Samples = npt.NDArray[Any]
Rgb = npt.NDArray[np.uint8]


def rgb(samples: Samples, data_set: Dataset) -> Rgb:
    """RGB of shape (rows, columns, 3) for palette indexes (rows, columns), or for RGB or YBR (rows, columns, 3)."""
    photometric = str(value(data_set, "PhotometricInterpretation") or "RGB")
    if samples.ndim == 2:
        return _by_palette(samples, data_set)
    stored = Stored.of(data_set, samples)
    eight = samples if stored.bits == samples.dtype.itemsize * 8 == 8 else _to_eight_bits(samples, stored)
    if photometric.startswith("YBR"):  # the transformation of JFIF is that of YBR_FULL
        return np.asarray(Image.fromarray(np.ascontiguousarray(eight), "YCbCr").convert("RGB"))
    return np.ascontiguousarray(eight)


def _to_eight_bits(samples: Samples, stored: Stored) -> Rgb:
    bits = stored.bits_of(samples)
    return (bits >> (stored.bits - 8) if stored.bits >= 8 else bits * 255 // (2**stored.bits - 1)).astype(np.uint8)


def _by_palette(samples: Samples, data_set: Dataset) -> Rgb:
    """Each index is looked up in a table that is computed once for all indexes; segmented tables are expanded."""
    stored = Stored.of(data_set, samples)
    indexes = stored.all_values.astype(samples.dtype)
    table = apply_color_lut(indexes.reshape(1, -1), data_set)[0, :, :3]
    bits = table.dtype.itemsize * 8
    eight = (table >> (bits - 8)).astype(np.uint8)
    return np.ascontiguousarray(eight[stored.bits_of(samples)])


def icc_profile(data_set: Dataset) -> bytes | None:
    """The profile of the image, or of its first optical path."""
    profile = value(data_set, "ICCProfile")
    paths = value(data_set, "OpticalPathSequence")
    if profile is None and paths:
        profile = value(paths[0], "ICCProfile")
    return bytes(profile) if isinstance(profile, bytes) and profile else None


def in_colour_space(image: Image.Image, source: bytes | None, wanted: str) -> tuple[Image.Image, bytes | None]:
    """The image as `iccprofile` wants it, and the profile to embed; BadRequest for a space that is not to be had.

    `no` leaves pixels and file alone, `yes` embeds the image's own profile or that of sRGB, `srgb` converts first.
    """
    if wanted == "no":
        return image, None
    target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    if wanted == "yes":
        return image, source or target.tobytes()
    if wanted != "srgb":
        raise BadRequest(f"iccprofile {wanted} is not to be had here: no, yes and srgb are")
    if source and image.mode == "RGB":
        try:
            own = ImageCms.ImageCmsProfile(BytesIO(source))
            converted = ImageCms.profileToProfile(image, own, target)
        except (ImageCms.PyCMSError, OSError):  # a profile that cannot be used says nothing of the colours
            converted = None
        image = converted or image
    return image, target.tobytes()
