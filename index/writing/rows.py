"""The rows of patients, studies and series, kept as the image sets that are there say.

Whoever changes a patient or a study, or what is below it, has locked its row.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from db.index_schema import imageset, instance, instance_duplicate, issuer, patient, series, study
from index.writing import instances, ledger
from index.writing.ledger import LedgerKey
from index.writing.values import Attributes, ImageSetRows, Values


@dataclass(frozen=True)
class _Study:
    study_pkey: int
    patient_pkey: int


class StoreRows:
    """The rows of one data store, on the connection of one transaction."""

    def __init__(self, connection: Connection, datastore_id: str) -> None:
        self._connection = connection
        self._datastore_id = datastore_id
        self._patients: dict[str, int | None] = {}  # locked, by identity; None if there was none
        self._studies: dict[str, _Study | None] = {}  # locked, by UID
        self._new: set[str] = set()  # identities and UIDs of rows that were made just now, and are right

    def lock(self, identities: Collection[str | None], study_instance_uids: Collection[str | None]) -> None:
        """Lock patients and studies, as far as they exist; all who do so take them in the same order."""
        for identity in sorted(filter(None, set(identities))):
            self._patient(identity)
        for uid in sorted(filter(None, set(study_instance_uids))):
            self._study(uid)

    def attach(self, key: LedgerKey, rows: ImageSetRows) -> int:
        """Write series and instances of an image set, whose row of the ledger is written; returns the series' key."""
        found = self._study(rows.study_instance_uid) or self._add_study(rows)
        series_pkey = None
        if rows.study_instance_uid not in self._new:
            same = (series.c.seriesinstanceuid == rows.series_instance_uid, series.c.study_pkey == found.study_pkey)
            series_pkey = self._connection.scalar(select(series.c.series_pkey).where(*same))
        sets: dict[str, int] = {}
        if series_pkey is None:
            series_pkey = self._add_series(found.study_pkey, rows)
        else:
            of_series = select(imageset.c.imagesetid, imageset.c.imageset_pkey)
            listed = self._connection.execute(of_series.where(imageset.c.series_pkey == series_pkey))
            sets = {row[0]: row[1] for row in listed}
        is_new = not sets
        imageset_pkey = sets.pop(key.image_set_id, None)
        if imageset_pkey is None:
            imageset_pkey = self._insert(imageset, {"series_pkey": series_pkey, **key.values})
        else:
            instances.remove(self._connection, imageset_pkey)
        parents = {"series_pkey": series_pkey, "imageset_pkey": imageset_pkey}
        table = instance_duplicate if sets else instance
        instances.write(self._connection, table, rows.instances, parents)
        if not is_new:  # a new series has the values of its only image set
            self._refresh_series(series_pkey)
        return series_pkey

    def detach(self, key: LedgerKey, but: int | None = None) -> None:
        """Remove an image set from all series, except from one with this key."""
        of_set = select(imageset.c.imageset_pkey, imageset.c.series_pkey).where(
            imageset.c.imagesetid == key.image_set_id, imageset.c.datastoreid == self._datastore_id
        )
        for imageset_pkey, series_pkey in self._connection.execute(of_set).all():
            if series_pkey == but:
                continue
            instances.remove(self._connection, imageset_pkey)
            self._connection.execute(delete(imageset).where(imageset.c.imageset_pkey == imageset_pkey))
            self._refresh_series(series_pkey)

    def refresh(self) -> None:
        """Give all locked studies and patients the values of their preferred image sets; remove those without one."""
        for uid, found in list(self._studies.items()):
            if found and uid not in self._new:
                self._refresh_study(uid, found)
        for identity, patient_pkey in list(self._patients.items()):
            if patient_pkey is not None and identity not in self._new:
                self._refresh_patient(identity, patient_pkey)

    def _patient(self, identity: str) -> int | None:
        if identity not in self._patients:
            same = (patient.c.identity == identity, patient.c.datastoreid == self._datastore_id)
            self._patients[identity] = self._connection.scalar(
                select(patient.c.patient_pkey).where(*same).with_for_update()
            )
        return self._patients[identity]

    def _study(self, uid: str) -> _Study | None:
        if uid not in self._studies:
            same = (study.c.studyinstanceuid == uid, study.c.datastoreid == self._datastore_id)
            columns = select(study.c.study_pkey, study.c.patient_pkey)
            row = self._connection.execute(columns.where(*same).with_for_update()).first()
            self._studies[uid] = _Study(*row) if row else None
        return self._studies[uid]

    def _add_study(self, rows: ImageSetRows) -> _Study:
        uid = rows.study_instance_uid
        patient_pkey = self._patient(rows.patient_identity) or self._add_patient(rows.patient_identity)
        values = {
            "patient_pkey": patient_pkey,
            "datastoreid": self._datastore_id,
            "studyinstanceuid": uid,
            "numberofstudyrelatedseries": 1,
            "numberofstudyrelatedinstances": len(rows.instances),
        }
        found = _Study(self._insert(study, {**rows.study, **values}), patient_pkey)
        self._studies[uid] = found
        self._new.add(uid)
        return found

    def _add_patient(self, identity: str) -> int:
        """Add the row of a patient, of whom an image set is in the ledger."""
        attributes = self._preferred_of_patient(identity)
        values = {"issuer_pkey": self._issuer(attributes.issuer), "datastoreid": self._datastore_id}
        row = {**attributes.patient, **values, "identity": identity}
        patient_pkey = self._patients[identity] = self._insert(patient, row)
        self._new.add(identity)
        return patient_pkey

    def _add_series(self, study_pkey: int, rows: ImageSetRows) -> int:
        key = {"study_pkey": study_pkey, "seriesinstanceuid": rows.series_instance_uid}
        return self._insert(series, {**rows.series, **key, "numberofseriesrelatedinstances": len(rows.instances)})

    def _issuer(self, text: str) -> int:
        found = self._connection.scalar(select(issuer.c.issuer_pkey).where(issuer.c.issuerofpatientid == text))
        return found if found is not None else self._insert(issuer, {"issuerofpatientid": text})

    def _refresh_series(self, series_pkey: int) -> None:
        ranking = self._connection.execute(ledger.of_series(series_pkey)).all()
        this = series.c.series_pkey == series_pkey
        if not ranking:
            self._connection.execute(delete(series).where(this))
            return
        instances.settle(self._connection, series_pkey, [row.imageset_pkey for row in ranking])
        values = Attributes.from_json(ranking[0].attributes).series
        count = instances.count(self._connection, series_pkey)
        self._connection.execute(update(series).where(this).values(**values, numberofseriesrelatedinstances=count))

    def _refresh_study(self, uid: str, found: _Study) -> None:
        self._note_patient(found.patient_pkey)
        this = study.c.study_pkey == found.study_pkey
        best = self._connection.execute(ledger.preferred(ledger.of_study(self._datastore_id, uid))).first()
        if best is None:
            self._connection.execute(delete(study).where(this))
            return
        identity = best.patientidentity
        patient_pkey = self._patient(identity) or self._add_patient(identity)
        of_study = series.c.study_pkey == found.study_pkey
        instances_of_series = func.coalesce(func.sum(series.c.numberofseriesrelatedinstances), 0)
        counted = self._connection.execute(select(func.count(), instances_of_series).where(of_study)).one()
        values = {
            "patient_pkey": patient_pkey,
            "numberofstudyrelatedseries": counted[0],
            "numberofstudyrelatedinstances": int(counted[1]),
        }
        self._connection.execute(
            update(study).where(this).values(**Attributes.from_json(best.attributes).study, **values)
        )

    def _note_patient(self, patient_pkey: int) -> None:
        """Have the patient of a study among the locked ones: another image set may have decided who it is."""
        if patient_pkey not in self._patients.values():
            this = patient.c.patient_pkey == patient_pkey
            identity = self._connection.scalar(select(patient.c.identity).where(this).with_for_update())
            if identity is not None:
                self._patients[identity] = patient_pkey

    def _refresh_patient(self, identity: str, patient_pkey: int) -> None:
        this = patient.c.patient_pkey == patient_pkey
        issuer_pkey = self._connection.scalar(select(patient.c.issuer_pkey).where(this))
        has_study = select(study.c.study_pkey).where(study.c.patient_pkey == patient_pkey).limit(1)
        if self._connection.scalar(has_study) is None:
            self._connection.execute(delete(patient).where(this))
            self._drop_issuer(issuer_pkey)
            return
        attributes = self._preferred_of_patient(identity)
        new_issuer_pkey = self._issuer(attributes.issuer)
        self._connection.execute(update(patient).where(this).values(**attributes.patient, issuer_pkey=new_issuer_pkey))
        if new_issuer_pkey != issuer_pkey:
            self._drop_issuer(issuer_pkey)

    def _preferred_of_patient(self, identity: str) -> Attributes:
        """The values that the image sets say of a patient; there is one in the ledger."""
        best = self._connection.execute(ledger.preferred(ledger.of_patient(self._datastore_id, identity))).one()
        return Attributes.from_json(best.attributes)

    def _drop_issuer(self, issuer_pkey: int | None) -> None:
        """Delete an issuer without patients. It is locked first: nobody can give it one meanwhile."""
        this = issuer.c.issuer_pkey == issuer_pkey
        self._connection.execute(select(issuer.c.issuer_pkey).where(this).with_for_update())
        has_patient = select(patient.c.patient_pkey).where(patient.c.issuer_pkey == issuer_pkey).limit(1)
        if self._connection.scalar(has_patient) is None:
            self._connection.execute(delete(issuer).where(this))

    def _insert(self, table: Table, row: Values) -> int:
        return int(self._connection.execute(insert(table), row).inserted_primary_key[0])  # type: ignore[index]  # it has one
