"""Text in the corners of a picture (PS3.18 Section 8.3.5.1.1): patient and technique."""

from bisect import bisect_right
from collections.abc import Iterator

from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset

from wado.rendering.values import date, name, number, text, time

_LEAST_FONT, _MOST_FONT = 9, 28  # pixels; smaller cannot be read
_MARGIN = 4
_MOST_LETTERS = 200  # of a line; more fit no picture


def annotate(image: Image.Image, data_set: Dataset, annotation: tuple[str, ...]) -> Image.Image:
    """The picture with lines of text, white with a black edge: the patient at the top, the technique at the bottom."""
    size = min(max(round(min(image.size) / 28), _LEAST_FONT), _MOST_FONT)
    font = ImageFont.load_default(size)
    room = max(1, image.height // (size + 2) // (2 if len(annotation) > 1 else 1))
    drawn = image if image.mode == "RGB" else image.convert("RGB") if image.mode not in ("L", "RGB") else image.copy()
    drawing = ImageDraw.Draw(drawn)
    for word in annotation:
        lines = [_cut(line, drawing, font, image.width - 2 * _MARGIN) for line in _LINES[word](data_set)][:room]
        block = "\n".join(lines)
        anchor, y = ("la", _MARGIN) if word == "patient" else ("ld", image.height - _MARGIN)
        drawing.multiline_text((_MARGIN, y), block, _white(drawn), font, anchor=anchor, spacing=2, stroke_width=1,
                               stroke_fill=0 if drawn.mode == "L" else (0, 0, 0))  # fmt: skip
    return drawn


def _white(image: Image.Image) -> int | tuple[int, int, int]:
    return 255 if image.mode == "L" else (255, 255, 255)


def _cut(line: str, drawing: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int) -> str:
    """The part of a line that fits into `room` pixels, with an ellipsis if it was cut."""
    line = " ".join(line[:_MOST_LETTERS].split())
    if drawing.textlength(line, font) <= room:
        return line
    widths = [drawing.textlength(line[:count] + "…", font) for count in range(len(line))]
    return line[: max(0, bisect_right(widths, room) - 1)] + "…"


def _patient(data_set: Dataset) -> Iterator[str]:
    yield from filter(None, (name(data_set, "PatientName"), text(data_set, "PatientID")))
    yield from filter(
        None, (" ".join(filter(None, (date(data_set, "PatientBirthDate"), text(data_set, "PatientSex")))),)
    )


def _technique(data_set: Dataset) -> Iterator[str]:
    study = " ".join(filter(None, (date(data_set, "StudyDate"), time(data_set, "StudyTime"))))
    series = " ".join(filter(None, (text(data_set, "Modality"), text(data_set, "SeriesDescription"))))
    facts = " · ".join(
        f"{number(data_set, keyword):g} {unit}" for keyword, unit in _FACTS if number(data_set, keyword) is not None
    )
    yield from filter(None, (text(data_set, "InstitutionName"), study, series, facts))


_FACTS = (
    ("KVP", "kV"),
    ("XRayTubeCurrent", "mA"),
    ("ExposureTime", "ms"),
    ("SliceThickness", "mm"),
    ("RepetitionTime", "ms TR"),
    ("EchoTime", "ms TE"),
    ("MagneticFieldStrength", "T"),
)
"""The attributes of the technique, with their units."""

_LINES = {"patient": _patient, "technique": _technique}
