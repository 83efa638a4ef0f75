"""Pictures (PS3.18 Section 8.3.5): modality LUT → VOI → presentation → consumer format. Done in a fetcher, cached."""

import hashlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi, convert_color_space

from ahi.codecs import PixelFormat
from ahi.fetchers import Workshop
from ahi.jobs import FrameReference, native_frame
from dicomweb.errors import NotAcceptable
from wado.rendered import segmentation

Values = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]

_PIL_FORMAT = {"image/jpeg": "JPEG", "image/png": "PNG"}
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class Picture:
    """What to draw: a frame, the data set that says how (up to PixelData, Explicit VR LE), as which media type."""

    frame: FrameReference
    frame_number: int
    head: bytes
    media_type: str

    @property
    def cache_name(self) -> str:
        """Changes with everything that changes the picture."""
        facts = repr((self.frame_number, self.media_type)).encode() + self.head
        frame_id = self.frame.frame.frame_id
        return f"rendered/{frame_id[:2]}/{frame_id}.{hashlib.sha256(facts).hexdigest()[:32]}"


def render(workshop: Workshop, picture: Picture) -> bytes:
    """The encoded picture: a job for a fetcher."""
    kept = workshop.cache.read(picture.cache_name)
    if kept is not None:
        return kept
    if picture.frame.pixels is None:
        raise NotAcceptable("the instance has no pixels to draw")
    native = native_frame(workshop, picture.frame)
    data_set = read_dataset(BytesIO(picture.head), is_implicit_VR=False, is_little_endian=True)
    grey_or_rgb = draw(pixel_array(native, picture.frame.pixels), data_set, picture.frame_number)
    encoded = _encoded(Image.fromarray(grey_or_rgb), picture.media_type)
    workshop.cache.put(picture.cache_name, encoded)
    return encoded


def _encoded(image: Image.Image, media_type: str) -> bytes:
    buffer = BytesIO()
    image.save(buffer, _PIL_FORMAT[media_type], quality=_JPEG_QUALITY)
    return buffer.getvalue()


def pixel_array(native: bytes, pixels: PixelFormat) -> npt.NDArray[Any]:
    """Native bytes as an array of shape (rows, columns) or (rows, columns, samples)."""
    shape: tuple[int, ...] = (pixels.rows, pixels.columns)
    if pixels.samples_per_pixel > 1:
        shape = (*shape, pixels.samples_per_pixel)
    if pixels.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(native, np.uint8), bitorder="little")
        return bits[: int(np.prod(shape))].reshape(shape)
    return np.frombuffer(native, pixels.dtype).reshape(shape)


def draw(array: npt.NDArray[Any], data_set: Dataset, frame_number: int) -> Grey:
    """8-bit grey of shape (rows, columns), or RGB of shape (rows, columns, 3); `frame_number` from 1."""
    photometric = data_set.get("PhotometricInterpretation", "MONOCHROME2")
    if photometric == "PALETTE COLOR":
        return _eight_bits(apply_color_lut(array, data_set), _palette_bits(data_set))
    if data_set.get("SOPClassUID") in segmentation.SOP_CLASSES:
        return segmentation.draw_segments(array, data_set, frame_number)
    if array.ndim == 3:
        if photometric.startswith("YBR"):
            array = convert_color_space(array, photometric, "RGB")
        return _eight_bits(array, int(data_set.get("BitsStored", 8)))
    grey = _greys(array, _of_frame(data_set, frame_number))
    return 255 - grey if photometric == "MONOCHROME1" else grey


def _palette_bits(data_set: Dataset) -> int:
    return int(data_set.RedPaletteColorLookupTableDescriptor[2])


def _eight_bits(array: npt.NDArray[Any], bits: int) -> Grey:
    if bits <= 8:
        return array.astype(np.uint8)
    return (array >> (bits - 8)).astype(np.uint8)


_TRANSFORMATIONS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")


def _of_frame(data_set: Dataset, frame_number: int) -> Dataset:
    """The data set with what the functional groups say of this frame, its own before the shared (PS3.3 C.7.6.16)."""
    shared = data_set.get("SharedFunctionalGroupsSequence") or []
    per_frame = data_set.get("PerFrameFunctionalGroupsSequence") or []
    flat = Dataset()
    flat.update(data_set)
    for group in (*shared[:1], *per_frame[frame_number - 1 : frame_number]):
        for name in _TRANSFORMATIONS:
            for item in group.get(name) or []:
                flat.update(item)
    return flat


def _greys(array: npt.NDArray[Any], data_set: Dataset) -> Grey:
    values: Values = apply_modality_lut(array, data_set).astype(np.float64)
    if "VOILUTSequence" in data_set:
        table = data_set.VOILUTSequence[0]
        mapped = apply_voi(np.rint(values).astype(np.int64), data_set)
        return _eight_bits(mapped, int(table.LUTDescriptor[2]))
    window = _window(data_set)
    if window is None:
        return _linear(values, *_automatic_window(array, values, data_set))
    center, width = window
    match data_set.get("VOILUTFunction", "LINEAR"):
        case "SIGMOID" if width > 0:
            return np.rint(255 / (1 + np.exp(-4 * (values - center) / width))).astype(np.uint8)
        case "LINEAR_EXACT" if width > 0:
            return _linear(values, center - width / 2, center + width / 2)
        case _:
            return _linear(values, center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)


def _window(data_set: Dataset) -> tuple[float, float] | None:
    """The first window of the image; a width below 1 is none (PS3.3 Section C.11.2.1.2)."""
    center, width = (_first_number(data_set.get(name)) for name in ("WindowCenter", "WindowWidth"))
    return (center, width) if center is not None and width is not None and width >= 1 else None


def _first_number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(value if isinstance(value, int | float | str) else value[0])
    except (TypeError, ValueError, IndexError):
        return None


def _automatic_window(array: npt.NDArray[Any], values: Values, data_set: Dataset) -> tuple[float, float]:
    """From the least to the greatest value, padding left out (PS3.3 Section C.7.5.1.1.2)."""
    padding = data_set.get("PixelPaddingValue")
    if isinstance(padding, int):
        limit = data_set.get("PixelPaddingRangeLimit", padding)
        low, high = sorted((padding, limit if isinstance(limit, int) else padding))
        inside = values[(array < low) | (array > high)]
        values = inside if inside.size else values
    return float(values.min()), float(values.max())


def _linear(values: Values, lowest: float, highest: float) -> Grey:
    """Black up to `lowest`, white from `highest` (PS3.3 Section C.11.2.1.2.1)."""
    if highest <= lowest:
        return np.where(values > lowest, 255, 0).astype(np.uint8)
    return np.rint((values - lowest).clip(0, highest - lowest) * (255 / (highest - lowest))).astype(np.uint8)
