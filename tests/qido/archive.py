"""Small archives, written into an index as its own writer would: with its texts for "absent", and its padding."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Table, select

from ahi.cache import Cache
from ahi.described import Described
from ahi.fetchers import Fetchers
from ahi.store import ImageSets
from db import schema
from db.engine import Database
from dicomweb import respond
from dicomweb.errors import ProxyError
from qido import routes
from qido.image_sets import Archive
from tests.servers import engine_of

ROOT = "http://proxy.example:8080/aetitle"


@dataclass(frozen=True)
class Series:
    """One series: `uid`, columns of the table, and for each instance its columns."""

    uid: str
    columns: Mapping[str, Any] = field(default_factory=dict)
    instances: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Study:
    """One study: `uid`, columns of the tables patient (by `patient`) and study, and its series."""

    uid: str
    patient: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    series: tuple[Series, ...] = ()
    issuer: str = "DEFAULT_DOMAIN"


def write(url: str, studies: Iterable[Study]) -> None:
    """Put `studies` into the empty index at `url`."""
    with engine_of(url) as engine, engine.begin() as connection:
        for study in studies:
            _write_study(connection, study)


def _write_study(connection: Connection, study: Study) -> None:
    patient_id = study.patient.get("patientid", "NO_PID")
    issuer_key = _key(connection, schema.issuer, issuerofpatientid=study.issuer)
    patient_key = _key(connection, schema.patient, patientid=patient_id, issuer_pkey=issuer_key)
    if study.patient:
        patient = schema.patient.update().where(schema.patient.c.patient_pkey == patient_key)
        connection.execute(patient.values(**study.patient))
    study_key = _insert(connection, schema.study, patient_pkey=patient_key, studyinstanceuid=study.uid, **study.columns)
    for series in study.series:
        series_key = _insert(
            connection, schema.series, study_pkey=study_key, seriesinstanceuid=series.uid, **series.columns
        )
        for columns in series.instances:
            _insert(connection, schema.instance, series_pkey=series_key, imageset_pkey=1, **columns)


def _key(connection: Connection, table: Table, **unique: Any) -> int:
    """The key of the row with these columns, which is made if there is none."""
    found = connection.execute(select(*table.primary_key).filter_by(**unique)).scalar()
    return found or _insert(connection, table, **unique)


def _insert(connection: Connection, table: Table, **columns: Any) -> int:
    key: int = connection.execute(table.insert().values(**columns)).inserted_primary_key[0]
    return key


def client(database: Database, max_results: int = 1000) -> FlaskClient:
    """A client of a service that does nothing but search."""
    fetchers, cache = Fetchers([]), Cache(Path("unused"), 0)  # these archives have no image sets
    described = Described(ImageSets(fetchers, cache, fresh_seconds=60), fetchers)
    app = Flask(__name__, static_folder=None)
    archive = Archive(database, described, 100, lambda: ROOT)
    app.register_blueprint(routes.blueprint(archive, max_results), url_prefix="/aetitle")
    app.register_error_handler(ProxyError, respond.problem)
    return app.test_client()


CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"


def image(uid: str, number: int | None, **columns: Any) -> Mapping[str, Any]:
    """The columns of an instance."""
    return {"sopinstanceuid": uid, "sopclassuid": CT_CLASS, "instancenumber": number, **columns}


SAMPLE = (
    Study(
        "1.2.1",
        {"patientid": "P1", "patientname": "Doe^John", "patientbirthdate": date(1970, 1, 31), "patientsex": "M"},
        {
            "studydate": date(2024, 1, 10),
            "studytime": time(10, 11, 12),
            "accessionnumber": "ACC1",
            "studyid": "S1",
            "studydescription": "Café Thorax",
            "referringphysicianname": "Müller^Ärztin",
            "numberofstudyrelatedseries": 2,
            "numberofstudyrelatedinstances": 4,
        },
        (
            Series(
                "1.2.1.1",
                {
                    "modality": "CT",
                    "seriesnumber": "2 ",
                    "seriesdescription": "None",
                    "numberofseriesrelatedinstances": 3,
                },
                (
                    image("1.2.1.1.3", 10, rows=512, columns=256, bitsallocated=16),
                    image("1.2.1.1.1", 2, rows=512, columns=512, bitsallocated=16, contenttime=time(9, 30)),
                    image("1.2.1.1.2", None, numberofframes=7),
                ),
            ),
            Series(
                "1.2.1.2",
                {"modality": "SR", "seriesnumber": "10", "seriesdescription": "Report 50%_done "},
                (image("1.2.1.2.1", 1, sopclassuid="1.2.840.10008.5.1.4.1.1.88.11"),),
            ),
        ),
    ),
    Study(
        "1.2.2",
        {"patientid": "p1", "patientname": "DOE^JANE^^^", "patientsex": "F"},
        {
            "studydate": date(2024, 1, 12),
            "accessionnumber": "ACC2",
            "studyid": "None",
            "studydescription": "None",
            "numberofstudyrelatedseries": 0,
            "numberofstudyrelatedinstances": 0,
        },
        (
            Series(
                "1.2.2.1",
                {"modality": "MR", "seriesnumber": "1", "bodypartexamined": "HEAD"},
                (image("1.2.2.1.1", 1, sopclassuid=MR_CLASS), image("1.2.2.1.2", 2, sopclassuid=MR_CLASS)),
            ),
        ),
        issuer="WARD",
    ),
    Study(
        "1.2.3",
        {"patientid": "NO_PID", "patientname": "None", "patientsex": "None"},
        {"studydate": None, "accessionnumber": "ACC_3"},
    ),
    Study(
        "1.2.4",
        {"patientid": "P4 ", "patientname": "Yamada^Tarou=山田^太郎=やまだ^たろう", "patientsex": "O"},
        {"studydate": date(2024, 1, 10), "studytime": time(18, 0), "accessionnumber": "ACCX3", "studyid": "s1"},
        (Series("1.2.4.1", {"modality": "CT", "seriesnumber": "None"}), Series("1.2.4.2", {"modality": "None"})),
        issuer="HOSPITAL",
    ),
    Study(
        "1.2.5",
        {"patientid": "P5", "patientname": "Döring^Jörg"},
        {"studydate": date(2023, 12, 31), "studytime": time(23, 59, 59), "referringphysicianname": "Muller^X"},
        (Series("1.2.5.1", {"modality": "US"}, (image("1.2.5.1.1", 1),)),),
    ),
)
"""Five studies: an ordinary one; one without time and counts, whose patient's ID differs in case only; one of an
unknown patient, without date and series; one with three groups in its name and no instances; one with accents."""
