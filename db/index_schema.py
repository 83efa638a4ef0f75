"""The tables of an index of our own, version 6, which `python main.py index` creates and fills.

Tables and keys have the names of AWS's (`db.schema`), so that the same statements read both. Differences: an absent or
empty value is NULL and no text stands for it, every text is compared exactly, times have fractions, each text that is
matched without case and accents has a folded column beside it, and each row belongs to one data store.

All rows follow from the image sets that are there; `index.writing` keeps that true. Among image sets that speak of the
same thing the preferred one decides: a primary one before others, then the one that was updated last, then the one
with the greatest ID.
"""

from hashlib import sha256
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
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
from sqlalchemy.dialects import mysql

from db.key_columns import KEY, key_column, parent_column

VERSION = 6
"""The version of the tables that this module describes."""

FOLDED = "_folded"
"""The end of the name of a column that holds `fold` of its neighbour, of a name `fold_name` (`db.comparison`)."""

UID_CHARACTERS = 256
NAME_CHARACTERS = 324
TEXT_CHARACTERS = 512
LONG_CHARACTERS = 16_000
_HASH_CHARACTERS = 64

metadata = MetaData()

_MYSQL: dict[str, Any] = {
    f"{kind}_{option}": value
    for kind in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
_Time = Time().with_variant(mysql.TIME(fsp=6), "mysql", "mariadb")
_Moment = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
_Long = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb").with_variant(Text(collation="C"), "postgresql")


def held_uid(uid: str) -> str:
    """The form in which a column holds a UID: whole; one that is too long cut, with a digest that keeps it apart."""
    if len(uid) <= UID_CHARACTERS:
        return uid
    digest = sha256(uid.encode("utf-8", "replace")).hexdigest()
    return f"{uid[: UID_CHARACTERS - len(digest) - 1]}~{digest}"


def _text(characters: int) -> String:
    return String(characters).with_variant(String(characters, collation="C"), "postgresql")


def _column(name: str, characters: int = TEXT_CHARACTERS, *, nullable: bool = True) -> Column[str]:
    return Column(name, _text(characters), nullable=nullable)


def _folded(name: str) -> tuple[Column[str], Column[str]]:
    """A description and its folded form."""
    return _column(name), _column(name + FOLDED)


def _name(name: str) -> tuple[Column[str], Column[str]]:
    """A person name of up to three groups, and its folded form, which has an `=` at both ends."""
    return _column(name, NAME_CHARACTERS), _column(name + FOLDED, NAME_CHARACTERS + 2)


def _uid(name: str, *, nullable: bool = False) -> Column[str]:
    return _column(name, UID_CHARACTERS, nullable=nullable)


def _datastore() -> Column[str]:
    return _column("datastoreid", 32, nullable=False)


issuer = Table(
    "issuer",
    metadata,
    key_column("issuer"),
    _column("issuerofpatientid", nullable=False),  # "" where it is absent
    UniqueConstraint("issuerofpatientid"),
    **_MYSQL,
)

patient = Table(
    "patient",
    metadata,
    key_column("patient"),
    parent_column("issuer"),
    _datastore(),
    _column("identity", _HASH_CHARACTERS, nullable=False),
    _column("patientid"),
    *_name("patientname"),
    Column("patientbirthdate", Date),
    _column("patientsex"),
    Column("patientcomments", _Long),
    Column("patientcomments" + FOLDED, _Long),
    UniqueConstraint("datastoreid", "identity"),
    Index("patient_id", "patientid"),
    Index("patient_name", "patientname" + FOLDED),
    Index("patient_birth_date", "patientbirthdate"),
    Index("patient_issuer", "issuer_pkey"),
    **_MYSQL,
)
"""`identity` is a digest of what makes a patient: the ID and its issuer, or the study of one without an ID."""

study = Table(
    "study",
    metadata,
    key_column("study"),
    parent_column("patient"),
    _datastore(),
    _uid("studyinstanceuid"),
    _column("accessionnumber"),
    _column("studyid"),
    Column("studydate", Date),
    Column("studytime", _Time),
    *_folded("studydescription"),
    *_name("referringphysicianname"),
    Column("numberofstudyrelatedseries", Integer),
    Column("numberofstudyrelatedinstances", Integer),
    UniqueConstraint("studyinstanceuid", "datastoreid"),
    Index("study_patient", "patient_pkey"),
    Index("study_accession_number", "accessionnumber"),
    Index("study_id", "studyid"),
    Index("study_referring_physician", "referringphysicianname" + FOLDED),
    Index("study_description", "studydescription" + FOLDED),
    **_MYSQL,
)

series = Table(
    "series",
    metadata,
    key_column("series"),
    parent_column("study"),
    _uid("seriesinstanceuid"),
    _column("modality"),
    _column("seriesnumber"),
    *_folded("seriesdescription"),
    *_folded("institutionname"),
    _column("bodypartexamined"),
    *_folded("stationname"),
    *_folded("manufacturer"),
    *_folded("protocolname"),
    _column("laterality"),
    Column("numberofseriesrelatedinstances", Integer),
    UniqueConstraint("seriesinstanceuid", "study_pkey"),
    Index("series_description", "seriesdescription" + FOLDED),
    **_MYSQL,
)

imageset = Table(
    "imageset",
    metadata,
    key_column("imageset"),
    parent_column("series"),
    _column("imagesetid", 32, nullable=False),
    _datastore(),
    UniqueConstraint("imagesetid", "datastoreid", "series_pkey"),
    Index("imageset_datastore", "datastoreid"),
    **_MYSQL,
)


def _instances(name: str) -> Table:
    return Table(
        name,
        metadata,
        key_column(name),
        parent_column("series"),
        _uid("sopinstanceuid"),
        _uid("sopclassuid", nullable=True),
        _column("imagetype"),
        Column("instancenumber", Integer),
        Column("acquisitiondate", Date),
        Column("acquisitiontime", _Time),
        Column("contentdate", Date),
        Column("contenttime", _Time),
        _column("photometricinterpretation"),
        Column("numberofframes", Integer),
        Column("rows", Integer),
        Column("columns", Integer),
        Column("bitsallocated", Integer),
        Column("bitsstored", Integer),
        Column("highbit", Integer),
        _column("rescaleslope"),
        _column("rescaleintercept"),
        Column("pixelrepresentation", Integer),
        _column("windowcenter"),
        _column("windowwidth"),
        *_folded("contentdescription"),
        Column("imageset_pkey", KEY, nullable=False),
        Index(f"{name}_image_set", "imageset_pkey"),
        **_MYSQL,
    )


instance = _instances("instance")
instance.append_constraint(UniqueConstraint("series_pkey", "sopinstanceuid"))
Index("instance_sop_instance_uid", instance.c.sopinstanceuid)

instance_duplicate = _instances("instance_duplicate")
instance_duplicate.append_constraint(UniqueConstraint("series_pkey", "sopinstanceuid", "imageset_pkey"))
"""Instances that an image set shares with a preferred one of the same series. No search reads them."""

indexed_image_set = Table(
    "indexed_image_set",
    metadata,
    Column("datastoreid", _text(32), primary_key=True),
    Column("imagesetid", _text(32), primary_key=True),
    Column("version", Integer),
    Column("isprimary", Boolean),
    Column("updatedat", _Moment),
    Column("indexedat", _Moment),
    Column("deletedat", _Moment),
    Column("lossy", Boolean, nullable=False, default=False),
    Column("attempts", Integer, nullable=False, default=0),
    _column("error", 1024),
    Column("triedversion", Integer),
    Column("triedupdatedat", _Moment),
    _column("patientidentity", _HASH_CHARACTERS),
    _uid("studyinstanceuid", nullable=True),
    Column("attributes", _Long),
    Index("indexed_of_patient", "patientidentity", "datastoreid", "isprimary", "updatedat", "imagesetid"),
    Index("indexed_of_study", "studyinstanceuid", "datastoreid", "isprimary", "updatedat", "imagesetid"),
    Index("indexed_attempts", "attempts"),
    Index("indexed_lossy", "lossy", "studyinstanceuid", "datastoreid"),
    **_MYSQL,
)
"""What was read of each image set, in UTC. `version` is NULL until it was indexed. `deletedat` is when it was deleted,
NULL if AHI has shown it since. `lossy` says that a value was cut or changed to fit its column. `error` and `attempts`
are of failures since then, `triedversion` and `triedupdatedat` of the revision that AHI had when it failed.
`attributes` are the column values of patient, study and series that it contributes, in JSON."""

index_follower = Table(
    "index_follower",
    metadata,
    Column("source", _text(32), primary_key=True),
    Column("askedat", _Moment),
    Column("eventat", _Moment),
    Column("seenat", _Moment),
    **_MYSQL,
)
"""How far following has come, in UTC, by source: a data store that is asked, or the queue of events (""). `askedat` is
when it answered last, `eventat` when a change was written last. All changes up to `seenat`, AHI's time, were seen."""

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("changed_at", _Moment, nullable=False),
    **_MYSQL,
)
"""One row for each version that the tables have had; the greatest is the current one."""

series_lease = Table(
    "series_lease",
    metadata,
    Column("datastoreid", _text(32), primary_key=True),
    Column("seriesinstanceuid", _text(UID_CHARACTERS), primary_key=True),
    _column("holder", _HASH_CHARACTERS, nullable=False),
    Column("expiresat", BigInteger, nullable=False),
    **_MYSQL,
)
"""The forwarder that stores into a series, and until when: milliseconds since 1970 by the clock of the database."""

revoked_session = Table(
    "revoked_session",
    metadata,
    Column("digest", _text(_HASH_CHARACTERS), primary_key=True),
    Column("keptuntil", BigInteger, nullable=False),
    **_MYSQL,
)
"""Sessions of people that have ended before their time: the SHA-256 of the ID, and the second since 1970 until which it
is kept."""

share_link = Table(
    "share_link",
    metadata,
    Column("linkid", _text(32), primary_key=True),
    _column("madeby", nullable=False),
    _uid("studyinstanceuid"),
    Column("madeat", BigInteger, nullable=False),
    Column("expiresat", BigInteger, nullable=False),
    Column("revokedat", BigInteger),
    Index("share_link_end", "expiresat"),
    **_MYSQL,
)
"""Share links that have not ended: the hash of the token, the user who made the link, and the study. Times are seconds
since 1970; `revokedat` is NULL for a link in force."""

stored_instance = Table(
    "stored_instance",
    metadata,
    Column("datastoreid", _text(32), primary_key=True),
    Column("sopinstanceuid", _text(UID_CHARACTERS), primary_key=True),
    _column("sha256", _HASH_CHARACTERS, nullable=False),
    **_MYSQL,
)
"""The digest of the file that was stored last under a SOP Instance UID. It counts while an instance has this UID."""

index_run = Table(
    "index_run",
    metadata,
    Column("run", _text(32), primary_key=True),
    _column("kind", 16, nullable=False),
    _column("host", nullable=False),
    Column("datastores", _Long, nullable=False),
    Column("startedat", _Moment, nullable=False),
    Column("seenat", _Moment, nullable=False),
    Column("endedat", _Moment),
    _column("phase", 32),
    Column("phaseat", _Moment),
    Column("done", BigInteger, nullable=False, default=0),
    Column("total", BigInteger),
    _column("result", 1024),
    _column("error", 1024),
    Column("cancelledat", _Moment),
    Index("index_run_started", "startedat"),
    **_MYSQL,
)
"""Runs of the index command, in UTC: what each does, and how far it is. `seenat` is when it last said so. `datastores`
are IDs with blanks between them. `done` and `total` are image sets of the phase that began at `phaseat`. An operator
sets `cancelledat`, and the run ends soon."""
