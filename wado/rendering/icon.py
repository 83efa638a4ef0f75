"""Icons for objects without a picture: a drawn sign, with the modality below it."""

import string
from collections.abc import Callable, Mapping

from PIL import Image, ImageDraw, ImageFont

_SIDE = 512  # pixels of the drawing that every size is scaled from
_BACKGROUND = (27, 36, 48)
_PAPER = (233, 238, 244)
_INK = (27, 36, 48)
_ACCENT = (94, 160, 224)
_LETTERS = frozenset(string.ascii_uppercase + string.digits)
_MAX_LETTERS = 8

Draw = ImageDraw.ImageDraw


def draw_icon(sign: str, modality: str, width: int, height: int) -> Image.Image:
    """An RGB picture of `width` x `height` pixels; any `sign` that is no key of SIGNS is a plain sheet."""
    master = Image.new("RGB", (_SIDE, _SIDE), _BACKGROUND)
    drawing = ImageDraw.Draw(master)
    SIGNS.get(sign, _object)(drawing)
    _write(drawing, _letters(modality))
    side = max(1, min(width, height))
    icon = Image.new("RGB", (width, height), _BACKGROUND)
    scaled = master.resize((side, side), Image.Resampling.LANCZOS)
    icon.paste(scaled, ((width - side) // 2, (height - side) // 2))
    return icon


def _letters(modality: str) -> str:
    return "".join(letter for letter in modality.upper() if letter in _LETTERS)[:_MAX_LETTERS]


def _write(drawing: Draw, letters: str) -> None:
    if letters:
        font = ImageFont.load_default(110 if len(letters) <= 4 else 76)
        drawing.text((_SIDE // 2, 432), letters, _PAPER, font, anchor="mm", stroke_width=2)


def _sheet(drawing: Draw) -> None:
    """Draw a page with a folded corner, from (136, 40) to (376, 350)."""
    drawing.polygon([(136, 40), (306, 40), (376, 110), (376, 350), (136, 350)], _PAPER)
    drawing.polygon([(306, 40), (306, 110), (376, 110)], _ACCENT)


def _document(drawing: Draw) -> None:
    _sheet(drawing)
    for y, right in ((150, 340), (194, 340), (238, 340), (282, 270)):
        drawing.rounded_rectangle((172, y, right, y + 18), 6, _INK)


def _report(drawing: Draw) -> None:
    _sheet(drawing)
    for y, left, right in ((140, 172, 290), (184, 204, 340), (224, 204, 340), (268, 172, 290), (308, 204, 340)):
        drawing.rounded_rectangle((left, y, right, y + 16), 6, _ACCENT if left == 172 else _INK)


def _key_objects(drawing: Draw) -> None:
    _picture_frame(drawing)
    star = [(256, 96), (282, 164), (354, 168), (298, 214), (316, 284), (256, 245), (196, 284), (214, 214), (158, 168)]
    drawing.polygon([*star, (230, 164)], _ACCENT)


def _waveform(drawing: Draw) -> None:
    for at in range(76, 437, 40):
        drawing.line((at, 50, at, 330), (54, 70, 90), 3)
    for at in range(50, 331, 40):
        drawing.line((76, at, 436, at), (54, 70, 90), 3)
    beat = [(60, 230), (140, 230), (164, 196), (190, 230), (216, 230), (232, 256), (256, 70), (284, 310), (304, 230)]
    drawing.line([*beat, (346, 230), (376, 186), (408, 230), (452, 230)], _ACCENT, 16, joint="curve")


def _picture_frame(drawing: Draw) -> None:
    drawing.rounded_rectangle((96, 50, 416, 340), 18, None, _PAPER, 16)


def _presentation(drawing: Draw) -> None:
    """Draw a picture with annotations: one half in another contrast, an ellipse and an arrow."""
    drawing.rectangle((256, 58, 408, 332), (110, 126, 146))
    _picture_frame(drawing)
    drawing.ellipse((150, 110, 290, 250), None, _ACCENT, 14)
    drawing.line((372, 300, 290, 222), _PAPER, 12)
    drawing.polygon([(276, 208), (318, 220), (290, 250)], _PAPER)


def _radiotherapy(drawing: Draw) -> None:
    drawing.ellipse((126, 70, 386, 330), None, _PAPER, 14)
    drawing.ellipse((196, 140, 316, 260), None, _ACCENT, 16)
    drawing.ellipse((240, 184, 272, 216), _ACCENT)
    for x0, y0, x1, y1 in ((256, 36, 256, 116), (256, 284, 256, 364), (92, 200, 172, 200), (340, 200, 420, 200)):
        drawing.line((x0, y0, x1, y1), _PAPER, 14)


def _video(drawing: Draw) -> None:
    drawing.rounded_rectangle((76, 70, 436, 330), 26, _PAPER)
    for x in range(100, 420, 52):
        for y in (84, 288):
            drawing.rounded_rectangle((x, y, x + 28, y + 28), 6, _INK)
    drawing.polygon([(212, 140), (212, 262), (320, 201)], _ACCENT)


def _model(drawing: Draw) -> None:
    """Draw a cube."""
    top, left, right = (256, 50), (126, 118), (386, 118)
    drawing.polygon([top, right, (256, 186), left], _PAPER)
    drawing.polygon([left, (256, 186), (256, 336), (126, 268)], _ACCENT)
    drawing.polygon([right, (256, 186), (256, 336), (386, 268)], (150, 166, 186))


def _image(drawing: Draw) -> None:
    _picture_frame(drawing)
    drawing.ellipse((300, 90, 356, 146), _ACCENT)
    drawing.polygon([(116, 316), (206, 170), (268, 262), (306, 216), (396, 316)], (150, 166, 186))


def _object(drawing: Draw) -> None:
    _sheet(drawing)
    for number in range(9):
        x, y = 186 + number % 3 * 52, 156 + number // 3 * 52
        drawing.rounded_rectangle((x, y, x + 34, y + 34), 6, _ACCENT if number % 2 else _INK)


SIGNS: Mapping[str, Callable[[Draw], None]] = {
    "document": _document,
    "image": _image,
    "key objects": _key_objects,
    "model": _model,
    "object": _object,
    "presentation": _presentation,
    "radiotherapy": _radiotherapy,
    "report": _report,
    "video": _video,
    "waveform": _waveform,
}
"""The signs by name."""
