"""Studies likely to be read soon (for prefetching), those in scope, and the patient of a study (for the audit)."""

from collections.abc import Collection
from datetime import date

from sqlalchemy import Select, or_, select

from db.engine import Database
from db.index_kind import has_uid
from db.schema import patient, study
from db.scope import Scope

_Uids = Select[tuple[str]]


def find_recent_studies(database: Database, since: date, most: int) -> list[str]:
    """The UIDs of studies of that day and later, newest first."""
    return _uids(database, _newest(most).where(study.c.studydate >= since))


def find_priors(database: Database, today: date, since: date, most: int) -> list[str]:
    """The UIDs of earlier studies, back to a day, of patients who have a study today; newest first."""
    patients = select(study.c.patient_pkey).where(study.c.studydate == today)
    earlier = (study.c.studydate >= since, study.c.studydate < today)
    return _uids(database, _newest(most).where(study.c.patient_pkey.in_(patients), *earlier))


def _newest(most: int) -> _Uids:
    return select(study.c.studyinstanceuid).order_by(study.c.studydate.desc(), study.c.study_pkey.desc()).limit(most)


def _uids(database: Database, statement: _Uids) -> list[str]:
    return [str(row[0]) for row in database.rows(statement)]


def find_patient_id(database: Database, study_instance_uid: str) -> str | None:
    """The PatientID of a study; None where there is none."""
    statement = (
        select(patient.c.patientid)
        .join(study, study.c.patient_pkey == patient.c.patient_pkey)
        .where(has_uid(study.c.studyinstanceuid, study_instance_uid))
    )
    rows = database.rows(statement)
    return str(rows[0][0]).strip() or None if rows and rows[0][0] is not None else None


def find_known_studies(database: Database, uids: Collection[str], scope: Scope) -> frozenset[str]:
    """Those of some studies that the index has, and that are in scope."""
    if not uids:
        return frozenset()
    named = or_(*(has_uid(study.c.studyinstanceuid, uid) for uid in uids))
    rows = database.rows(select(study.c.studyinstanceuid).where(named, *scope.studies()))
    return frozenset(str(row[0]).rstrip() for row in rows) & frozenset(uids)
