"""The names of elements in the metadata of AHI.

AWS HealthImaging Developer Guide, "supported SOP classes" (2022b dictionary).
"""

from collections.abc import Iterator
from functools import cache

from pydicom.datadict import dictionary_VM, keyword_for_tag
from pydicom.tag import Tag

from dicomweb.pydicom_adapter import REPEATED_TAGS

# AHI has no keyword for elements that PS3.6 added after 2022b.
_NEWER_THAN_2022B = """
    00080017 00080019 0008001C 00080400-00080429 00081088 00081112 0008119B 00102161 00120022-00120023 00120032
    00120041 00120043 00120054-00120055 00120073 00140200-00140207 00181204-00181205 00189821-00189826
    00189828-00189836 00200027 0022000F 00283001 003A0317-003A0319 003A0320-003A032E 00480114-00480117 00700315
    30020100-30020135 3006002D-3006002E 3006004B-3006004F 300800A1-300800A4 300A0054 300A068B 300A079F-300A07A1
    300C0129 301000A0 7FE00003"""


def _ranges(table: str) -> Iterator[int]:
    """The tags of a table such as `tag tag-tag`, both ends included."""
    for word in table.split():
        first, _, last = word.partition("-")
        yield from range(int(first, 16), int(last or first, 16) + 1)


_NEWER = frozenset(_ranges(_NEWER_THAN_2022B))

# Overlays and curves have one keyword for many groups. Only the first group gets it.
_REPEATED = {tag: keyword for keyword, tag in REPEATED_TAGS.items()}


@cache
def keyword(tag: int) -> str | None:
    """The keyword that AHI writes for a standard element; None for one that it writes as hex digits."""
    if tag >> 16 & 1 or tag in _NEWER:
        return None
    return _REPEATED.get(tag) or (None if _repeats(tag) else keyword_for_tag(tag) or None)


def _repeats(tag: int) -> bool:
    return tag >> 24 in (0x50, 0x60)


@cache
def is_always_array(tag: int) -> bool:
    """Whether the dictionary allows several values; a single one is then an array too."""
    try:
        return not tag >> 16 & 1 and dictionary_VM(Tag(tag)) != "1"
    except KeyError:
        return False
