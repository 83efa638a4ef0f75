"""The index of `bench.index` in own tables, made of it by SQL on the same server."""

import time
from collections.abc import Callable, Iterator

from sqlalchemy import inspect

from bench.index import DATA_STORES, DATABASE
from index.writing.writer import IndexWriter
from tests.servers import MariaDb, engine_of

OWN_DATABASE = "ownindex"


def _known(column: str) -> str:
    """The meaning of a column of AWS's tables."""
    return f"NULLIF(NULLIF(NULLIF(TRIM({column}), 'None'), 'NO_PID'), '')"


def _folded(column: str) -> str:
    return f"REPLACE(REPLACE(LOWER({_known(column)}), 'ü', 'u'), 'ö', 'o')"


def _name(column: str) -> str:
    return f"CONCAT('=', TRIM(TRAILING '^' FROM {_folded(column)}), '=')"


_STORE = f"IF(study_pkey MOD 10, '{DATA_STORES[0]}', '{DATA_STORES[1]}')"
_MOST_PATIENTS = f"(SELECT MAX(patient_pkey) FROM {DATABASE}.patient)"  # noqa: S608 - names of ours


def _statements() -> Iterator[str]:
    issuer = "IF(issuerofpatientid = 'DEFAULT_DOMAIN', '', issuerofpatientid)"
    yield f"INSERT INTO issuer SELECT issuer_pkey, {issuer} FROM {DATABASE}.issuer"
    for store, offset in ((DATA_STORES[0], "0"), (DATA_STORES[1], _MOST_PATIENTS)):
        yield f"""
            INSERT INTO patient (patient_pkey, issuer_pkey, datastoreid, identity, patientid, patientname,
                patientname_folded, patientbirthdate, patientsex)
            SELECT patient_pkey + {offset}, issuer_pkey, '{store}', SHA2(patient_pkey, 256), {_known("patientid")},
                {_known("patientname")}, {_name("patientname")}, patientbirthdate, {_known("patientsex")}
            FROM {DATABASE}.patient"""  # noqa: S608
    of_study = f"FROM {DATABASE}.series JOIN {DATABASE}.instance USING (series_pkey)"
    yield f"""
        INSERT INTO study (study_pkey, patient_pkey, datastoreid, studyinstanceuid, accessionnumber, studyid, studydate,
            studytime, studydescription, studydescription_folded, referringphysicianname,
            referringphysicianname_folded, numberofstudyrelatedseries, numberofstudyrelatedinstances)
        SELECT study_pkey, patient_pkey + IF(study_pkey MOD 10, 0, {_MOST_PATIENTS}), {_STORE}, studyinstanceuid,
            {_known("accessionnumber")}, {_known("studyid")}, studydate, studytime, {_known("studydescription")},
            {_folded("studydescription")}, {_known("referringphysicianname")}, {_name("referringphysicianname")},
            (SELECT COUNT(*) FROM {DATABASE}.series WHERE series.study_pkey = study.study_pkey),
            (SELECT COUNT(*) {of_study} WHERE series.study_pkey = study.study_pkey)
        FROM {DATABASE}.study"""  # noqa: S608
    texts = ("seriesdescription", "institutionname", "stationname", "manufacturer")
    yield f"""
        INSERT INTO series (series_pkey, study_pkey, seriesinstanceuid, modality, seriesnumber, bodypartexamined,
            {", ".join(f"{name}, {name}_folded" for name in texts)}, numberofseriesrelatedinstances)
        SELECT series_pkey, study_pkey, seriesinstanceuid, {_known("modality")}, {_known("seriesnumber")},
            {_known("bodypartexamined")}, {", ".join(f"{_known(name)}, {_folded(name)}" for name in texts)},
            (SELECT COUNT(*) FROM {DATABASE}.instance WHERE instance.series_pkey = series.series_pkey)
        FROM {DATABASE}.series"""  # noqa: S608
    yield f"INSERT INTO imageset (imageset_pkey, series_pkey, imagesetid, datastoreid) SELECT imageset_pkey, series_pkey, imagesetid, datastoreid FROM {DATABASE}.imageset"  # noqa: E501, S608
    columns = """series_pkey, sopinstanceuid, sopclassuid, instancenumber, contentdate, photometricinterpretation,
        numberofframes, `rows`, `columns`, bitsallocated, bitsstored, highbit, pixelrepresentation, imageset_pkey"""
    yield f"INSERT INTO instance (instance_pkey, {columns}) SELECT instance_pkey, {columns} FROM {DATABASE}.instance"  # noqa: S608
    yield f"""
        INSERT INTO indexed_image_set (datastoreid, imagesetid, version, isprimary, updatedat, indexedat, lossy,
            attempts, studyinstanceuid)
        SELECT datastoreid, imagesetid, 1, 1, NOW(6), NOW(6), 0, 0, studyinstanceuid
        FROM {DATABASE}.imageset JOIN {DATABASE}.series USING (series_pkey) JOIN {DATABASE}.study USING (study_pkey)"""  # noqa: S608
    yield "DELETE FROM patient WHERE patient_pkey NOT IN (SELECT patient_pkey FROM study)"


def make_own(server: MariaDb, tell: Callable[[str], None]) -> str:
    """The URL of the own tables, which are made if they are not there."""
    url = server.url(OWN_DATABASE)
    server.execute(f"CREATE DATABASE IF NOT EXISTS {OWN_DATABASE}")
    with engine_of(url) as engine:
        made = inspect(engine).has_table("made")
    if made:
        return url
    started = time.monotonic()
    writer = IndexWriter(url)
    writer.create_or_migrate()
    writer.close()
    quick = "SET SESSION unique_checks = 0, foreign_key_checks = 0"
    for statement in _statements():
        server.execute(f"USE {OWN_DATABASE}", quick, statement)
    tables = "issuer, patient, study, series, imageset, instance, indexed_image_set"
    server.execute(f"USE {OWN_DATABASE}", f"ANALYZE TABLE {tables}", "CREATE TABLE made (of_it_all INTEGER)")
    tell(f"own tables: {time.monotonic() - started:.0f} s")
    return url
