"""What AHI calls an element in metadata, and at which level it stands.

AWS HealthImaging Developer Guide, "metadata normalization" (levels) and "supported SOP classes" (2022b dictionary).
"""

from collections.abc import Iterator
from functools import cache

from pydicom._dicom_dict import RepeatersDictionary
from pydicom.datadict import dictionary_VM, keyword_for_tag
from pydicom.tag import Tag

PATIENT, STUDY, SERIES, INSTANCE = "Patient", "Study", "Series", "Instance"

_LEVELS = {
    PATIENT: """
        0008: 1120
        0010: 0010 0020 0021 0022 0024 0026 0027 0030 0032 0033 0034 0035 0040 0200 0212 0213 0216 0218 0219 0221
              1001 1002 1100 2160 2201 2202 2292 2293 2294 2297 2298 2299 4000
        0012: 0010 0020 0021 0030 0031 0040 0042 0062 0063 0064 0081 0082""",
    STUDY: """
        0008: 0020 0030 0050 0051 0090 0096 009C 009D 1030 1032 1048 1049 1060 1062 1080 1084 1110
        0010: 1010 1020 1021 1022 1023 1024 1030 2000 2110 2180 21A0 21B0 21C0 21D0 2203
        0012: 0050 0051 0052 0053 0083
        0020: 000D 0010
        0032: 1033 1034 1066 1067
        0038: 0010 0014 0060 0062 0064 0500
        0040: 1012""",
    SERIES: """
        0008: 0021 0031 0060 0070 0080 0081 1010 1040 1041 1050 1052 1070 1072 1090 103E 103F 1111 1250
        0010: 2210
        0012: 0060 0071 0072
        0018: 0015 1000 1002 1008 100A 100B 1020 1030 1050 1200 1201 5100
        0020: 000E 0011 0052 0060 1040
        0028: 0108 0109 0120
        0040: 0275
        300A: 0700""",
}

# What came to PS3.6 after 2022b has no keyword for AHI, as far as the editions of the standard are known to us.
_NEWER_THAN_2022B = """
    00080017 00080019 0008001C 00080400-00080429 00081088 00081112 0008119B 00102161 00120022-00120023 00120032
    00120041 00120043 00120054-00120055 00120073 00140200-00140207 00181204-00181205 00189821-00189826
    00189828-00189836 00200027 0022000F 00283001 003A0317-003A0319 003A0320-003A032E 00480114-00480117 00700315
    30020100-30020135 3006002D-3006002E 3006004B-3006004F 300800A1-300800A4 300A0054 300A068B 300A079F-300A07A1
    300C0129 301000A0 7FE00003"""


def _tags(table: str) -> Iterator[int]:
    """`group: element element`, as the levels are written."""
    group = 0
    for word in table.split():
        if word.endswith(":"):
            group = int(word[:-1], 16) << 16
        else:
            yield group | int(word, 16)


def _ranges(table: str) -> Iterator[int]:
    """`tag tag-tag`, both ends included."""
    for word in table.split():
        first, _, last = word.partition("-")
        yield from range(int(first, 16), int(last or first, 16) + 1)


LEVELS = {tag: level for level, table in _LEVELS.items() for tag in _tags(table)}
"""The level of each element that is lifted out of the instances; all others stay."""

_NEWER = frozenset(_ranges(_NEWER_THAN_2022B))

# Overlays and curves: one keyword for many groups. The first group gets it, the others could not be told apart.
_REPEATED = {int(mask.replace("x", "0"), 16): entry[4] for mask, entry in RepeatersDictionary.items()}


@cache
def keyword(tag: int) -> str | None:
    """The keyword under which AHI writes a standard element; None for one that it writes as hex digits."""
    if tag >> 16 & 1 or tag in _NEWER:
        return None
    return _REPEATED.get(tag) or (None if _repeats(tag) else keyword_for_tag(tag) or None)


def _repeats(tag: int) -> bool:
    return tag >> 24 in (0x50, 0x60)


@cache
def is_always_array(tag: int) -> bool:
    """Whether the dictionary allows several values: then even one is written as an array."""
    try:
        return not tag >> 16 & 1 and dictionary_VM(Tag(tag)) != "1"
    except KeyError:
        return False
