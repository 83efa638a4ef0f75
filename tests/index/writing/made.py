"""Metadata of image sets, and what an index holds of them: as the tables have it, and as a plain model says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import select

from db import index_schema as tables
from index.writing.writer import IndexWriter, Outcome
from tests.servers import engine_of

CT = "1.2.840.10008.5.1.4.1.1.2"
_BEGIN = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def moment(number: int) -> datetime:
    """The time of an update, later for a greater number."""
    return _BEGIN + timedelta(microseconds=number)


def metadata(
    image_set_id: str,
    *,
    patient: Mapping[str, Any] | None = None,
    study: Mapping[str, Any] | None = None,
    series: Mapping[str, Any] | None = None,
    instances: Mapping[str, Mapping[str, Any]] | None = None,
    study_uid: str = "1.1",
    series_uid: str = "1.1.1",
) -> dict[str, Any]:
    """The metadata of an image set as AHI gives it; `instances` are the elements of each by SOP Instance UID."""
    nodes = {"1.1.1.1": {}} if instances is None else instances
    return {
        "SchemaVersion": "1.1",
        "DatastoreID": "d" * 32,
        "ImageSetID": image_set_id,
        "Patient": {"DICOM": {"PatientID": "P1"} if patient is None else dict(patient)},
        "Study": {
            "DICOM": {"StudyInstanceUID": study_uid, **(study or {})},
            "Series": {
                series_uid: {
                    "DICOM": {"SeriesInstanceUID": series_uid, **(series or {})},
                    "Instances": {
                        uid: {"DICOM": {"SOPInstanceUID": uid, "SOPClassUID": CT, **elements}, "ImageFrames": []}
                        for uid, elements in nodes.items()
                    },
                }
            },
        },
    }


@dataclass(frozen=True)
class Version:
    """A version of an image set, with one value at each level, so that it shows which image set decided."""

    store: str
    image_set_id: str
    number: int
    updated: int
    is_primary: bool
    patient_id: str
    issuer: str
    study_uid: str
    series_uid: str
    sop_uids: tuple[str, ...]

    @property
    def mark(self) -> str:
        """The text that all its levels hold."""
        return f"{self.image_set_id[:4]} {self.number}"

    @property
    def rank(self) -> tuple[bool, int, str]:
        """The greatest decides."""
        return self.is_primary, self.updated, self.image_set_id

    @property
    def patient(self) -> tuple[str, ...]:
        """What makes its patient."""
        return (self.patient_id, self.issuer) if self.patient_id else ("", self.study_uid)

    def put(self, writer: IndexWriter) -> Outcome:
        """Put it into an index."""
        named = {"PatientID": self.patient_id, "IssuerOfPatientID": self.issuer, "PatientName": self.mark}
        document = metadata(
            self.image_set_id,
            patient=named,
            study={"StudyDescription": self.mark},
            series={"SeriesDescription": self.mark},
            instances={uid: {"ContentDescription": self.mark} for uid in self.sop_uids},
            study_uid=self.study_uid,
            series_uid=self.series_uid,
        )
        return writer.put(self.store, document, self.number, self.is_primary, moment(self.updated))


@dataclass(frozen=True)
class Held:
    """What an index holds, without the keys of its rows."""

    patients: frozenset[tuple[Any, ...]] = field(default_factory=frozenset)
    studies: frozenset[tuple[Any, ...]] = field(default_factory=frozenset)
    series: frozenset[tuple[Any, ...]] = field(default_factory=frozenset)
    image_sets: frozenset[tuple[Any, ...]] = field(default_factory=frozenset)
    instances: frozenset[tuple[Any, ...]] = field(default_factory=frozenset)
    duplicates: frozenset[tuple[Any, ...]] = field(default_factory=frozenset)
    issuers: frozenset[str] = field(default_factory=frozenset)


def expected(live: Iterable[Version]) -> Held:
    """What an index holds of these image sets, by the rules alone."""
    known = sorted(live, key=lambda one: one.rank)  # the last one decides
    of_patient = {(one.store, *one.patient): one for one in known}
    of_study = {(one.store, one.study_uid): one for one in known}
    of_series = {(one.store, one.study_uid, one.series_uid): one for one in known}
    of_instance = {
        (one.store, one.study_uid, one.series_uid, uid): one for one in known for uid in one.sop_uids
    }  # fmt: skip
    patients = {(one.store, *one.patient) for one in of_study.values()}
    decided = {key: of_patient[key] for key in patients}
    issuers = {key: decided[(one.store,) + one.patient].issuer for key, one in of_study.items()}
    all_instances = {
        (one.store, one.study_uid, one.series_uid, uid, one.mark, one.image_set_id)
        for one in known
        for uid in one.sop_uids
    }
    instances = {(*key, one.mark, one.image_set_id) for key, one in of_instance.items()}
    return Held(
        patients=frozenset((key[0], one.patient_id or None, one.issuer, one.mark) for key, one in decided.items()),
        studies=frozenset(
            (*key, one.mark, one.patient_id or None, issuers[key],
             sum(series[:2] == key for series in of_series), sum(known[:2] == key for known in of_instance))
            for key, one in of_study.items()
        ),
        series=frozenset(
            (*key, one.mark, sum(known[:3] == key for known in of_instance)) for key, one in of_series.items()
        ),
        image_sets=frozenset((one.store, one.study_uid, one.series_uid, one.image_set_id) for one in known),
        instances=frozenset(instances),
        duplicates=frozenset(all_instances - instances),
        issuers=frozenset(one.issuer for one in decided.values()),
    )  # fmt: skip


def held(url: str) -> Held:
    """What an index holds, by its tables."""
    t = tables
    of_patient = select(t.patient.c.datastoreid, t.patient.c.patientid, t.issuer.c.issuerofpatientid,
                        t.patient.c.patientname).join(t.issuer)  # fmt: skip
    of_study = (
        select(t.study.c.datastoreid, t.study.c.studyinstanceuid, t.study.c.studydescription, t.patient.c.patientid)
        .add_columns(t.issuer.c.issuerofpatientid, t.study.c.numberofstudyrelatedseries)
        .add_columns(t.study.c.numberofstudyrelatedinstances)
        .select_from(t.study.join(t.patient).join(t.issuer))
    )
    above = (t.study.c.datastoreid, t.study.c.studyinstanceuid, t.series.c.seriesinstanceuid)
    of_series = select(*above, t.series.c.seriesdescription, t.series.c.numberofseriesrelatedinstances).select_from(
        t.series.join(t.study)
    )
    of_sets = select(*above, t.imageset.c.imagesetid).select_from(t.imageset.join(t.series).join(t.study))

    def of(table: Any) -> Any:
        same = t.imageset.c.imageset_pkey == table.c.imageset_pkey
        columns = select(*above, table.c.sopinstanceuid, table.c.contentdescription, t.imageset.c.imagesetid)
        return columns.select_from(table.join(t.imageset, same, isouter=True).join(
            t.series, t.series.c.series_pkey == table.c.series_pkey).join(t.study))  # fmt: skip

    with engine_of(url) as engine, engine.connect() as connection:

        def found(statement: Any) -> frozenset[tuple[Any, ...]]:
            rows = [tuple(row) for row in connection.execute(statement)]
            assert len(rows) == len(set(rows))
            return frozenset(rows)

        return Held(
            patients=found(of_patient),
            studies=found(of_study),
            series=found(of_series),
            image_sets=found(of_sets),
            instances=found(of(t.instance)),
            duplicates=found(of(t.instance_duplicate)),
            issuers=frozenset(connection.scalars(select(t.issuer.c.issuerofpatientid))),
        )


Calls = list[Version | tuple[str, str]]
"""Versions to put, and data stores and IDs of image sets to remove."""


def live(calls: Calls) -> list[Version]:
    """The newest version of each image set that was not removed."""
    newest: dict[tuple[str, str], Version] = {}
    gone = {call for call in calls if isinstance(call, tuple)}
    for call in calls:
        if isinstance(call, Version) and (key := (call.store, call.image_set_id)) not in gone:
            older = newest.setdefault(key, call)
            newest[key] = max(older, call, key=lambda one: (one.number, one.updated, one.is_primary))
    return list(newest.values())


def run(writer: IndexWriter, calls: Calls) -> None:
    for call in calls:
        if isinstance(call, Version):
            call.put(writer)
        else:
            writer.remove(*call)


class Index:
    """An index that is emptied for each example."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.writer = IndexWriter(url)
        self.writer.create_or_migrate()

    def fill(self, calls: Calls) -> None:
        with engine_of(self.url) as engine, engine.begin() as connection:
            for table in reversed(tables.metadata.sorted_tables):
                if table is not tables.schema_version:
                    connection.execute(table.delete())
        run(self.writer, calls)
