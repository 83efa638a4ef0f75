"""The tables of the metadata index, as the AWS sample project `metadata-index` creates them in MySQL.

The proxy only reads them. The embedded data store creates and fills them. Names are the index's own.
"""

from sqlalchemy import (
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    Time,
    UniqueConstraint,
)

from db.key_columns import KEY, key_column, parent_column

metadata = MetaData()

UID_CHARACTERS = 64
"""The length of a column of UIDs."""

CUT = "~"
"""The mark of the embedded data store at the end of a UID that is cut: no UID ends like that."""


def held_uids(uid: str) -> tuple[str, ...]:
    """The forms in which a column may hold a UID: whole; a longer one cut, with a mark or without."""
    if len(uid) <= UID_CHARACTERS:
        return (uid,)
    return uid[: UID_CHARACTERS - 1] + CUT, uid[:UID_CHARACTERS]


issuer = Table(
    "issuer",
    metadata,
    key_column("issuer"),
    Column("issuerofpatientid", String(64), nullable=False, unique=True),
    Column("description", String(1024)),
)

patient = Table(
    "patient",
    metadata,
    key_column("patient"),
    parent_column("issuer"),
    Column("patientid", String(64), index=True),
    Column("patientname", String(64), index=True),
    Column("patientbirthdate", Date),
    Column("patientsex", String(16)),
    Column("patientcomments", Text),
    UniqueConstraint("patientid", "issuer_pkey"),
)

study = Table(
    "study",
    metadata,
    key_column("study"),
    parent_column("patient"),
    Column("studyinstanceuid", String(UID_CHARACTERS), nullable=False, unique=True),
    Column("accessionnumber", String(16), index=True),
    Column("studyid", String(16)),
    Column("studydate", Date),
    Column("studytime", Time),
    Column("studydescription", String(64)),
    Column("referringphysicianname", String(64)),
    Column("numberofstudyrelatedseries", Integer),
    Column("numberofstudyrelatedinstances", Integer),
)

series = Table(
    "series",
    metadata,
    key_column("series"),
    parent_column("study"),
    Column("seriesinstanceuid", String(UID_CHARACTERS), nullable=False, unique=True),
    Column("modality", String(16)),
    Column("seriesnumber", String(12)),
    Column("seriesdescription", String(64)),
    Column("institutionname", String(64)),
    Column("bodypartexamined", String(16)),
    Column("stationname", String(16)),
    Column("manufacturer", String(64)),
    Column("protocolname", String(64)),
    Column("laterality", String(16)),
    Column("numberofseriesrelatedinstances", Integer),
)

instance = Table(
    "instance",
    metadata,
    key_column("instance"),
    parent_column("series"),
    Column("sopinstanceuid", String(UID_CHARACTERS), nullable=False, unique=True),
    Column("sopclassuid", String(64), nullable=False),
    Column("imagetype", String(64)),
    Column("instancenumber", Integer),
    Column("acquisitiondate", Date),
    Column("acquisitiontime", Time),
    Column("contentdate", Date),
    Column("contenttime", Time),
    Column("photometricinterpretation", String(16)),
    Column("numberofframes", Integer),
    Column("rows", Integer),
    Column("columns", Integer),
    Column("bitsallocated", Integer),
    Column("bitsstored", Integer),
    Column("highbit", Integer),
    Column("rescaleslope", String(16)),
    Column("rescaleintercept", String(16)),
    Column("pixelrepresentation", Integer),
    Column("windowcenter", String(16)),
    Column("windowwidth", String(16)),
    Column("observationtime", DateTime),
    Column("contentdescription", String(64)),
    Column("imageset_pkey", KEY, nullable=False),
)

imageset = Table(
    "imageset",
    metadata,
    key_column("imageset"),
    Column("series_pkey", KEY, nullable=False),
    Column("imagesetid", String(32), nullable=False, index=True),
    Column("datastoreid", String(32), nullable=False, index=True),
    UniqueConstraint("imagesetid", "datastoreid"),
)

frame = Table(
    "frame",
    metadata,
    key_column("frame"),
    parent_column("instance"),
    Column("imageset_pkey", KEY, nullable=False, index=True),
    Column("framenumber", Integer, nullable=False),
    Column("frameid", String(32), nullable=False, unique=True),
)

conflict = Table(
    "conflict",
    metadata,
    key_column("conflict"),
    Column("series_pkey", KEY, nullable=False),
    Column("imageset_pkey", KEY, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("conflict_type", String(32)),
)

# MySQL indexes foreign keys by itself; the other databases need it said.
for _child, _column in ((patient, "issuer_pkey"), (study, "patient_pkey"), (series, "study_pkey"),
                        (instance, "series_pkey"), (frame, "instance_pkey")):  # fmt: skip
    Index(f"ix_{_child.name}_{_column}", _child.c[_column])
