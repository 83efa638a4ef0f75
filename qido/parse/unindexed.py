"""Attributes that the index lacks: their values are read from the image sets."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from pydicom.datadict import dictionary_has_tag, dictionary_VR, private_dictionary_VR

from ahi.retrieval.metadata_reader import TRANSFER_SYNTAX
from dicomweb import levels
from dicomweb.attribute_paths import Path, path_name, private_tag, select
from dicomweb.dicom_json import DataSet
from qido.parse.attributes import BY_TAG, Level, Matching, SearchAttribute

_LEVELS = {levels.PATIENT: Level.PATIENT, levels.STUDY: Level.STUDY, levels.SERIES: Level.SERIES}

_OF_SERIES = ("00400244", "00400245", "00400250", "00400251", "00400253", "00400254", "00400260", "00400280")
_OF_STUDY = ("00080201", "00321030", "00324000", "00401002")
_OF_PATIENT = ("00101000", "00101001")
_NOT_LIFTED = {
    **dict.fromkeys(_OF_SERIES, Level.SERIES),
    **dict.fromkeys(_OF_STUDY, Level.STUDY),
    **dict.fromkeys(_OF_PATIENT, Level.PATIENT),
}
"""Attributes that AHI leaves with the instances, although PS3.3 or PS3.18 Section 10.6.3.3 has them at a higher level:
those of the performed procedure step; TimezoneOffsetFromUTC, reasons and comments of the study; other IDs and names of
the patient."""

MADE_HERE = frozenset({"00080005", "00080056", "00081190"})
"""SpecificCharacterSet, InstanceAvailability and RetrieveURL, which the search sets itself."""

_MATCHING = {
    "UI": Matching.UID,
    "CS": Matching.CODE,
    **dict.fromkeys(("AE", "AS", "AT", "SH", "UR"), Matching.ID),
    **dict.fromkeys(("LO", "LT", "ST", "UC", "UT"), Matching.DESCRIPTION),
    "PN": Matching.NAME,
    "DA": Matching.DATE,
    "TM": Matching.TIME,
    "DT": Matching.DATE_TIME,
    **dict.fromkeys(("IS", "SL", "SS", "SV", "UL", "US", "UV", "US or SS"), Matching.NUMBER),
    **dict.fromkeys(("DS", "FD", "FL"), Matching.DECIMAL),
}
"""The way in which each VR is compared. Sequences and binary values are not compared."""


@dataclass(frozen=True)
class UnindexedAttribute:
    """An attribute by its path, with the private creator of its last tag, if the request names one."""

    path: Path
    creator: str | None = None

    @property
    def tag(self) -> str:
        """The tag under which a result has it."""
        return self.path[0]

    @property
    def keyword(self) -> str:
        """Its name for messages."""
        return path_name(self.path)

    @property
    def level(self) -> Level:
        """The level of the information model that it belongs to."""
        return level_of(self.tag)

    @cached_property
    def matching(self) -> Matching:
        """The way in which a key is compared. A private element that no dictionary has is compared as text."""
        vr = _vr(int(self.path[-1], 16), self.creator)
        if vr == "LO" and path_name(self.path[-1:]).endswith(("ID", "IDs", "Number")):
            return Matching.ID
        return _MATCHING.get(vr, Matching.NONE) if vr else Matching.ID

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The beginnings of the tags that must be read to find it; for a private attribute, its group."""
        return (self.tag[:4],) if is_private(self.tag) else (self.tag,)


Key = SearchAttribute | UnindexedAttribute


def level_of(tag: str) -> Level:
    """The level of any attribute."""
    if tag in BY_TAG:
        return BY_TAG[tag].level
    if tag in _NOT_LIFTED:
        return _NOT_LIFTED[tag]
    return _LEVELS.get(levels.LEVELS.get(int(tag, 16), ""), Level.INSTANCE)


def is_private(tag: str) -> bool:
    """Whether the group of a tag is odd (PS3.5 Section 7.8.1)."""
    return int(tag[:4], 16) % 2 == 1


def is_creator(path: Path) -> bool:
    """Whether the path is that of a private creator, which names the creator of other keys."""
    return len(path) == 1 and is_private(path[0]) and "0010" <= path[0][4:] <= "00FF"


def find_unindexed(path: Path, creators: Mapping[str, str]) -> UnindexedAttribute | None:
    """The attribute at `path`; None if the index has it. `creators` are private creators by their tags."""
    if len(path) == 1 and (path[0] in BY_TAG or path[0] in MADE_HERE):
        return None
    tag = path[-1]
    creator = creators.get(f"{tag[:4]}00{tag[4:6]}") if is_private(tag) and len(path) == 1 else None
    return UnindexedAttribute(path, creator or None)


def select_unindexed(data_set: DataSet, unindexed: UnindexedAttribute) -> DataSet:
    """The attribute as results have it: a private one has its creator, and the tag that the request named."""
    if not is_private(unindexed.tag):
        return select(data_set, [unindexed.path])
    creator_tag = f"{unindexed.tag[:4]}00{unindexed.tag[4:6]}"
    if unindexed.creator is None:
        found = select(data_set, [unindexed.path, (creator_tag,)])
        return found if unindexed.tag in found else {}
    at = private_tag(data_set, unindexed.tag, unindexed.creator)
    if at is None or at not in data_set:
        return {}
    return {creator_tag: {"vr": "LO", "Value": [unindexed.creator]}, unindexed.tag: data_set[at]}


def select_all(data_set: DataSet, highest: Level, lowest: Level) -> DataSet:
    """All attributes of the levels from `highest` to `lowest`."""
    return {
        tag: element
        for tag, element in data_set.items()
        if tag not in MADE_HERE and tag != TRANSFER_SYNTAX and highest <= level_of(tag) <= lowest
    }


def _vr(tag: int, creator: str | None) -> str | None:
    if tag >> 16 & 1:
        try:
            return private_dictionary_VR(tag, creator) if creator else None
        except KeyError:
            return None
    return dictionary_VR(tag) if dictionary_has_tag(tag) else None


UNINDEXED_DATE_TIMES = tuple(
    (UnindexedAttribute((day,)), UnindexedAttribute((clock,)))
    for day, clock in (("00400244", "00400245"), ("00400250", "00400251"), ("00080021", "00080031"))
)
"""PerformedProcedureStepStartDate, ...EndDate and SeriesDate with their times: each pair is one instant."""
