"""The functional groups of one frame, as attributes of a flat data set (PS3.3 Section C.7.6.16)."""

from typing import Any

from pydicom import Dataset
from pydicom.tag import BaseTag

from wado.rendering.values import item_at, items

_PER_FRAME = "PerFrameFunctionalGroupsSequence"
_SHARED = "SharedFunctionalGroupsSequence"
_GROUPS = (BaseTag(0x52009229), BaseTag(0x52009230))  # the tags of both
_MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "PixelMeasuresSequence",
           "SegmentIdentificationSequence")  # fmt: skip
"""The macros whose attributes are needed for drawing."""


def of_frame(data_set: Dataset, frame_number: int) -> Dataset:
    """The data set with the attributes of a frame, counted from 1, which take precedence over shared ones."""
    candidates = (item_at(data_set, _SHARED, 0), item_at(data_set, _PER_FRAME, frame_number - 1))
    groups = [group for group in candidates if group]
    if not groups:
        return data_set
    elements: dict[BaseTag, Any] = {tag: data_set.get_item(tag) for tag in data_set.keys()}  # noqa: SIM118 - not all are to be parsed
    for tag in _GROUPS:
        elements.pop(tag, None)  # pydicom would go through thousands of items
    flat = Dataset()
    flat.update(elements)
    for group in groups:
        for macro in _MACROS:
            for item in items(group, macro):
                flat.update(item)
    return flat
