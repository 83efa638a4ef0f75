"""What functional groups say of one frame, as attributes of a flat data set (PS3.3 Section C.7.6.16)."""

from itertools import islice

from pydicom import Dataset

from wado.rendered.values import items

_PER_FRAME = "PerFrameFunctionalGroupsSequence"
_SHARED = "SharedFunctionalGroupsSequence"
_MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "PixelMeasuresSequence",
           "SegmentIdentificationSequence")  # fmt: skip
"""The macros whose attributes pictures are drawn by."""


def of_frame(data_set: Dataset, frame_number: int) -> Dataset:
    """The data set with what is said of this frame alone, before what is said of all; `frame_number` from 1."""
    per_frame = islice(items(data_set, _PER_FRAME), frame_number - 1, frame_number)
    groups = [*islice(items(data_set, _SHARED), 1), *per_frame]
    if not groups:
        return data_set
    flat = Dataset()
    flat.update({tag: data_set.get_item(tag) for tag in data_set.keys()})  # noqa: SIM118 - not all are to be parsed
    for group in groups:
        for macro in _MACROS:
            for item in items(group, macro):
                flat.update(item)
    return flat
