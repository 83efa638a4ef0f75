"""Pictures in consumer formats: JPEG, PNG, GIF, JPEG 2000 and animations."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from dicomweb.errors import BadRequest
from dicomweb.media_types import APNG, GIF, JP2, JPEG, PNG

DEFAULT_QUALITY = 90


@dataclass(frozen=True)
class Format:
    """A picture format: its name in Pillow, and whether it is lossy, carries an ICC profile, or can be animated."""

    name: str
    lossy: bool = False
    profile: bool = False
    animated: bool = False


FORMATS = {
    JPEG: Format("JPEG", lossy=True, profile=True),
    PNG: Format("PNG", profile=True),
    GIF: Format("GIF", animated=True),
    APNG: Format("PNG", profile=True, animated=True),  # has all colours, unlike GIF
    JP2: Format("JPEG2000", lossy=True),
}


def encode(
    images: Sequence[Image.Image], media_type: str, quality: int | None, icc: bytes | None, frame_ms: float
) -> bytes:
    """One encoded picture, or several as one animation of `frame_ms` milliseconds each.

    BadRequest if the format cannot carry the ICC profile `icc`, or if the size is too large for it.
    """
    picture_format = FORMATS[media_type]
    if icc and not picture_format.profile:
        raise BadRequest(f"{media_type} cannot carry an ICC profile: ask for image/jpeg or image/png, or iccprofile=no")
    options: dict[str, Any] = {"icc_profile": icc} if icc else {}
    match picture_format.name:
        case "JPEG":
            options["quality"] = quality or DEFAULT_QUALITY
        case "PNG":
            options["compress_level"] = 1  # takes a third of the time for a tenth more bytes
        case "JPEG2000":
            options |= {"irreversible": quality is not None, "no_jp2": False}
            if quality is not None:
                options |= {"quality_mode": "dB", "quality_layers": [25 + quality / 4]}
    if picture_format.animated and len(images) > 1:
        options |= {"save_all": True, "append_images": images[1:], "duration": frame_ms, "loop": 0}
    buffer = BytesIO()
    try:
        images[0].save(buffer, picture_format.name, **options)
    except OSError as error:  # libjpeg takes at most 65,500 columns and rows
        raise BadRequest(f"a picture of this size cannot be had as {media_type}") from error
    return buffer.getvalue()
