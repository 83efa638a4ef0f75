"""The attributes of the index: how they are matched, when they are returned, and which column has them."""

from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from functools import cached_property


class Level(IntEnum):
    """The levels of the information model, from the highest to the lowest (PS3.4 Section C.6.1.1)."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    INSTANCE = 3


class Matching(Enum):
    """The ways in which a key is compared (PS3.4 Section C.2.2.2)."""

    NONE = auto()  # not at all
    UID = auto()  # exactly; a list of UIDs means any of them
    CODE = auto()  # exactly, wildcards; a list means any, because no CS value holds a comma
    ID = auto()  # exactly, wildcards
    DESCRIPTION = auto()  # without regard to case and accents, wildcards
    NAME = auto()  # like a description, in any component group of a PN value
    DATE = auto()  # ranges
    TIME = auto()  # ranges
    NUMBER = auto()  # as integers
    DECIMAL = auto()  # as numbers; never in the index
    DATE_TIME = auto()  # ranges of DT; never in the index


class Presence(Enum):
    """The cases in which an attribute is in a result (PS3.18 Tables 10.6.3-3 to -5)."""

    ALWAYS = auto()  # empty if unknown
    IF_KNOWN = auto()
    OWN_LEVEL = auto()  # in results of its level, empty if unknown; in those of lower levels on request
    ON_REQUEST = auto()  # as match key or by includefield


_LEVELS = {
    "issuer": Level.PATIENT,
    "patient": Level.PATIENT,
    "study": Level.STUDY,
    "series": Level.SERIES,
    "instance": Level.INSTANCE,
}

_ABSENT = frozenset({"", "None"})
_PLACEHOLDERS = {
    "PatientID": _ABSENT | {"NO_PID"},
    "IssuerOfPatientID": _ABSENT | {"DEFAULT_DOMAIN"},
    # Every row has its own UID, and a UID may be any word, even `None`.
    **dict.fromkeys(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"), frozenset({""})),
}


@dataclass(frozen=True, eq=False)  # ATTRIBUTES has one of each; a hash of all fields would be slow
class SearchAttribute:
    """An attribute that the index has, and the table that has it."""

    tag: str
    keyword: str
    vr: str
    table: str
    matching: Matching
    presence: Presence

    @property
    def level(self) -> Level:
        """The level of the information model that it belongs to."""
        return _LEVELS[self.table]

    @property
    def column(self) -> str:
        """The name of its column."""
        return self.keyword.lower()

    @property
    def path(self) -> tuple[str, ...]:
        """Its path in a data set."""
        return (self.tag,)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The beginnings of the tags that must be read to find it."""
        return (self.tag,)

    @property
    def creator(self) -> None:
        """None, since it is not private."""
        return None

    @property
    def orders(self) -> bool:
        """Whether results can be ordered by it: each row must have one reliable value."""
        return self.matching is not Matching.NONE and self.keyword != "ModalitiesInStudy"

    @cached_property
    def placeholders(self) -> frozenset[str]:
        """The texts that mean "absent" in the index. They never match and are never returned."""
        return _PLACEHOLDERS.get(self.keyword, _ABSENT)


_A, _K, _O, _R = Presence.ALWAYS, Presence.IF_KNOWN, Presence.OWN_LEVEL, Presence.ON_REQUEST
_M = Matching

ATTRIBUTES = (
    SearchAttribute("00100010", "PatientName", "PN", "patient", _M.NAME, _A),
    SearchAttribute("00100020", "PatientID", "LO", "patient", _M.ID, _A),
    SearchAttribute("00100021", "IssuerOfPatientID", "LO", "issuer", _M.ID, _O),
    SearchAttribute("00100030", "PatientBirthDate", "DA", "patient", _M.DATE, _A),
    SearchAttribute("00100040", "PatientSex", "CS", "patient", _M.CODE, _A),
    SearchAttribute("00104000", "PatientComments", "LT", "patient", _M.DESCRIPTION, _R),
    SearchAttribute("00201200", "NumberOfPatientRelatedStudies", "IS", "patient", _M.NONE, _O),
    SearchAttribute("00201202", "NumberOfPatientRelatedSeries", "IS", "patient", _M.NONE, _O),
    SearchAttribute("00201204", "NumberOfPatientRelatedInstances", "IS", "patient", _M.NONE, _O),
    SearchAttribute("00080020", "StudyDate", "DA", "study", _M.DATE, _A),
    SearchAttribute("00080030", "StudyTime", "TM", "study", _M.TIME, _A),
    SearchAttribute("00080050", "AccessionNumber", "SH", "study", _M.ID, _A),
    SearchAttribute("00080061", "ModalitiesInStudy", "CS", "study", _M.CODE, _A),
    SearchAttribute("00080090", "ReferringPhysicianName", "PN", "study", _M.NAME, _A),
    SearchAttribute("00081030", "StudyDescription", "LO", "study", _M.DESCRIPTION, _R),
    SearchAttribute("0020000D", "StudyInstanceUID", "UI", "study", _M.UID, _A),
    SearchAttribute("00200010", "StudyID", "SH", "study", _M.ID, _A),
    SearchAttribute("00201206", "NumberOfStudyRelatedSeries", "IS", "study", _M.NONE, _A),
    SearchAttribute("00201208", "NumberOfStudyRelatedInstances", "IS", "study", _M.NONE, _A),
    SearchAttribute("00080060", "Modality", "CS", "series", _M.CODE, _A),
    SearchAttribute("00080070", "Manufacturer", "LO", "series", _M.DESCRIPTION, _R),
    SearchAttribute("00080080", "InstitutionName", "LO", "series", _M.DESCRIPTION, _R),
    SearchAttribute("00081010", "StationName", "SH", "series", _M.DESCRIPTION, _R),
    SearchAttribute("0008103E", "SeriesDescription", "LO", "series", _M.DESCRIPTION, _K),
    SearchAttribute("00180015", "BodyPartExamined", "CS", "series", _M.CODE, _R),
    SearchAttribute("00181030", "ProtocolName", "LO", "series", _M.DESCRIPTION, _R),
    SearchAttribute("0020000E", "SeriesInstanceUID", "UI", "series", _M.UID, _A),
    SearchAttribute("00200011", "SeriesNumber", "IS", "series", _M.NUMBER, _A),
    SearchAttribute("00200060", "Laterality", "CS", "series", _M.CODE, _R),
    SearchAttribute("00201209", "NumberOfSeriesRelatedInstances", "IS", "series", _M.NONE, _A),
    SearchAttribute("00080016", "SOPClassUID", "UI", "instance", _M.UID, _A),
    SearchAttribute("00080018", "SOPInstanceUID", "UI", "instance", _M.UID, _A),
    SearchAttribute("00080022", "AcquisitionDate", "DA", "instance", _M.DATE, _R),
    SearchAttribute("00080023", "ContentDate", "DA", "instance", _M.DATE, _R),
    SearchAttribute("00080032", "AcquisitionTime", "TM", "instance", _M.TIME, _R),
    SearchAttribute("00080033", "ContentTime", "TM", "instance", _M.TIME, _R),
    SearchAttribute("00200013", "InstanceNumber", "IS", "instance", _M.NUMBER, _A),
    SearchAttribute("00280008", "NumberOfFrames", "IS", "instance", _M.NUMBER, _K),
    SearchAttribute("00280010", "Rows", "US", "instance", _M.NUMBER, _K),
    SearchAttribute("00280011", "Columns", "US", "instance", _M.NUMBER, _K),
    SearchAttribute("00280100", "BitsAllocated", "US", "instance", _M.NUMBER, _K),
    SearchAttribute("00280101", "BitsStored", "US", "instance", _M.NUMBER, _R),
    SearchAttribute("00280102", "HighBit", "US", "instance", _M.NUMBER, _R),
    SearchAttribute("00280103", "PixelRepresentation", "US", "instance", _M.NUMBER, _R),
    SearchAttribute("00700081", "ContentDescription", "LO", "instance", _M.DESCRIPTION, _R),
)
"""Not here: ImageType, WindowCenter and WindowWidth, which the index truncates, and PhotometricInterpretation, which is
that of the file and not of the decoded frames (`ahi.image_sets.data_set_variants`)."""

BY_TAG = {attribute.tag: attribute for attribute in ATTRIBUTES}
_BY_KEYWORD = {attribute.keyword: attribute for attribute in ATTRIBUTES}

MODALITIES_IN_STUDY = _BY_KEYWORD["ModalitiesInStudy"]
MODALITY = _BY_KEYWORD["Modality"]
STUDY_UID = _BY_KEYWORD["StudyInstanceUID"]
SERIES_UID = _BY_KEYWORD["SeriesInstanceUID"]
INSTANCE_UID = _BY_KEYWORD["SOPInstanceUID"]
UIDS = (STUDY_UID, SERIES_UID, INSTANCE_UID)

PATIENT_STUDIES = _BY_KEYWORD["NumberOfPatientRelatedStudies"]
PATIENT_SERIES = _BY_KEYWORD["NumberOfPatientRelatedSeries"]
PATIENT_INSTANCES = _BY_KEYWORD["NumberOfPatientRelatedInstances"]
STUDY_SERIES = _BY_KEYWORD["NumberOfStudyRelatedSeries"]
STUDY_INSTANCES = _BY_KEYWORD["NumberOfStudyRelatedInstances"]
SERIES_INSTANCES = _BY_KEYWORD["NumberOfSeriesRelatedInstances"]
RELATED_INSTANCES = frozenset({STUDY_INSTANCES, SERIES_INSTANCES})

DATE_TIME_PAIRS = tuple(
    (_BY_KEYWORD[f"{of}Date"], _BY_KEYWORD[f"{of}Time"]) for of in ("Study", "Acquisition", "Content")
)
"""Dates and times that make one instant when ranges of both are asked for (PS3.4 Section C.2.2.2.5)."""
