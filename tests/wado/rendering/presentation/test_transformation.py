"""The grey transformations of a state replace those of the image (PS3.4 Section N.2): one value at a time."""

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import DataElement, Dataset

from tests.wado.rendering.made import made, through
from tests.wado.rendering.states import reference, state_for
from wado.rendering.display_attributes import DisplayAttributes
from wado.rendering.draw import draw_samples
from wado.rendering.parameters import Rendering
from wado.rendering.presentation.transformation import coloured, transformed

STORED = [0, 1, 500, 1000, 1023, 2000, 3000, 4095]
OWN = {"RescaleSlope": "3", "RescaleIntercept": "-7", "WindowCenter": "10", "WindowWidth": "20"}


def image(**attributes: Any) -> Dataset:
    plain = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2",
        "StudyInstanceUID": "1.1",
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "Rows": 1,
        "Columns": len(STORED),
    }
    return made(**{**plain, **attributes})


def levels(source: Dataset, frame_number: int = 1, **attributes: Any) -> list[int]:
    """The grey levels of STORED by a state of these attributes."""
    shown = transformed(through(source), through(state_for(source, **attributes)), frame_number)
    picture = draw_samples(np.array([STORED], "<u2"), DisplayAttributes(shown), frame_number, Rendering())
    found: list[int] = picture[0].tolist()
    return found


def linear(x: float, center: float, width: float) -> float:
    """PS3.3 Section C.11.2.1.2.1."""
    return min(max(((x - (center - 0.5)) / (width - 1) + 0.5), 0), 1) * 255


def window(center: float, width: float, **attributes: Any) -> Dataset:
    return made(WindowCenter=str(center), WindowWidth=str(width), **attributes)


def lut(first: int, bits: int, entries: list[int]) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "OW", np.array(entries, "<u2").tobytes())
    return item


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("own", [{}, OWN], ids=["plain", "with a window of its own"])
def test_without_any_transformation_all_stored_values_are_shown(photometric: str, own: dict[str, str]) -> None:
    found = levels(image(PhotometricInterpretation=photometric, **own))
    assert found == pytest.approx([x / 4095 * 255 for x in STORED], abs=1)


def test_rescale_and_window_of_the_state_count() -> None:
    found = levels(
        image(**OWN), RescaleSlope="2", RescaleIntercept="-1000", SoftcopyVOILUTSequence=[window(1000, 3000)]
    )
    assert found == pytest.approx([linear(2 * x - 1000, 1000, 3000) for x in STORED], abs=1)


def test_a_window_of_the_state_is_over_stored_values_if_it_has_no_rescale() -> None:
    found = levels(image(**OWN), SoftcopyVOILUTSequence=[window(1000, 3000)])
    assert found == pytest.approx([linear(x, 1000, 3000) for x in STORED], abs=1)


def test_a_window_may_be_a_sigmoid() -> None:
    found = levels(image(), SoftcopyVOILUTSequence=[window(1000, 500, VOILUTFunction="SIGMOID")])
    assert found == pytest.approx([255 / (1 + math.exp(-4 * (x - 1000) / 500)) for x in STORED], abs=1)


def test_the_shape_inverts() -> None:
    found = levels(image(), PresentationLUTShape="INVERSE", SoftcopyVOILUTSequence=[window(1000, 3000)])
    assert found == pytest.approx([255 - linear(x, 1000, 3000) for x in STORED], abs=1)


def test_tables_of_the_state_follow_one_another() -> None:
    """Modality: 4095 - x. VOI: 10 bits, the value over 4, squared. Presentation: 16 entries, their roots."""
    modality = lut(0, 12, [4095 - x for x in range(4096)])
    voi = lut(0, 10, [round((x / 4095) ** 2 * 1023) for x in range(4096)])
    presentation = lut(0, 16, [round(math.sqrt(x / 4095) * 65535) for x in range(4096)])
    found = levels(
        image(**OWN),
        ModalityLUTSequence=[modality],
        SoftcopyVOILUTSequence=[made(VOILUTSequence=[voi])],
        PresentationLUTSequence=[presentation],
        PresentationLUTShape=None,
    )
    assert found == pytest.approx([(4095 - x) / 4095 * 255 for x in STORED], abs=1)


@pytest.mark.parametrize(("vr", "first"), [("SS", -128), ("US", 65408)])
def test_a_voi_table_of_the_state_may_begin_below_nought(vr: str, first: int) -> None:
    """The image has no sign, but its values have, by the rescale of the state."""
    table = Dataset()
    table.add(DataElement(0x00283002, vr, [256, first, 8]))
    table.add(DataElement(0x00283006, "OW", np.arange(256, dtype="<u2").tobytes()))
    found = levels(
        image(**OWN),
        RescaleSlope="1",
        RescaleIntercept="-1024",
        SoftcopyVOILUTSequence=[made(VOILUTSequence=[table])],
    )
    assert found == [min(max(x - 1024 + 128, 0), 255) for x in STORED]


def test_a_window_is_for_the_images_and_frames_that_it_names() -> None:
    source, other = image(), image(SOPInstanceUID="1.2.4")
    windows = [
        window(10, 20, ReferencedImageSequence=[reference(other)]),
        window(500, 900, ReferencedImageSequence=[reference(source, 2, 3)]),
        window(1000, 3000),
    ]
    for frame_number, (center, width) in {1: (1000, 3000), 2: (500, 900), 3: (500, 900)}.items():
        found = levels(source, frame_number, SoftcopyVOILUTSequence=windows)
        assert found == pytest.approx([linear(x, center, width) for x in STORED], abs=1)
    found = levels(source, SoftcopyVOILUTSequence=windows[:1])
    assert found == pytest.approx([x / 4095 * 255 for x in STORED], abs=1)


@pytest.mark.parametrize(
    ("bits", "signed", "dtype", "attributes", "stored", "expected"),
    [
        (8, False, "<u1", {}, [0, 128, 255], [0, 128, 255]),
        (12, True, "<i2", {}, [-2048, 0, 2047], [0, 128, 255]),
        (16, False, "<u2", {"RescaleSlope": "-1", "RescaleIntercept": "9"}, [0, 65535], [255, 0]),
        (12, False, "<u2", {"RescaleSlope": "0"}, [0, 4095], [0, 255]),
    ],
)
def test_all_that_can_be_is_what_the_bits_allow(
    bits: int, signed: bool, dtype: str, attributes: dict[str, Any], stored: list[int], expected: list[int]
) -> None:
    allocated = np.dtype(dtype).itemsize * 8
    source = image(BitsAllocated=allocated, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=int(signed))
    shown = transformed(through(source), through(state_for(source, **attributes)), 1)
    found = draw_samples(np.array([stored], dtype), DisplayAttributes(shown), 1, Rendering())[0].tolist()
    assert found == pytest.approx(expected, abs=1)


def test_a_palette_colours_the_grey_levels() -> None:
    """16 entries (PS3.3 Section C.7.9): red rises fast, green slowly."""
    state = state_for(image())
    fire = {"Red": [min(x * 3, 15) * 17 for x in range(16)], "Green": [x * 17 for x in range(16)], "Blue": [0] * 16}
    for colour, entries in fire.items():
        state.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [16, 0, 16])
        data = np.array([entry * 257 for entry in entries], "<u2").tobytes()
        state.add_new(f"{colour}PaletteColorLookupTableData", "OW", data)
    grey = np.arange(0, 256, 17, dtype=np.uint8)[None, :]
    found = np.asarray(coloured(Image.fromarray(grey), through(state)))
    assert found[0].tolist() == [[fire["Red"][x], fire["Green"][x], 0] for x in range(16)]
    assert np.array_equal(np.asarray(coloured(Image.fromarray(grey), Dataset())), grey)


def test_colours_are_left_alone() -> None:
    source = image(PhotometricInterpretation="RGB", SamplesPerPixel=3, BitsAllocated=8, BitsStored=8, HighBit=7)
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    shown = transformed(through(source), through(state_for(source, colour=True)), 1)
    assert np.array_equal(draw_samples(pixels, DisplayAttributes(shown), 1, Rendering()), pixels)
