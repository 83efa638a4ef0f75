"""Small archives, written into an index as its own writer would.

Columns are given as AWS's writer has them, with its texts for "absent" and its padding. Own tables have their meaning.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Table, select

from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.located_image_sets import LocatedImageSet
from ahi.retrieval.metadata_reader import MetadataReader
from db import index_schema as own
from db import schema
from db.comparison import fold, fold_name
from db.engine import Database
from db.index_kind import IndexKind, find_kind
from db.scope import EVERYTHING, Scope
from dicomweb import respond
from dicomweb.errors import ProxyError
from qido import routes
from qido.image_sets.archive import Archive
from qido.parse.attributes import ATTRIBUTES, Matching
from tests.servers import engine_of

ROOT = "http://proxy.example:8080/aetitle"


@dataclass(frozen=True)
class Series:
    """One series: `uid`, columns of the table, for each instance its columns, and where there are image sets of it.

    An instance with `datastore` among its columns is in the image set of its series there.
    """

    uid: str
    columns: Mapping[str, Any] = field(default_factory=dict)
    instances: tuple[Mapping[str, Any], ...] = ()
    datastores: tuple[str, ...] = ()


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
        put = _write_own if find_kind(connection) is IndexKind.OWN else _write_study
        for study in studies:
            put(connection, study)


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
        for datastore in series.datastores:
            _image_set(connection, series_key, datastore)
        for columns in series.instances:
            held_by, values = columns.get("datastore"), {k: v for k, v in columns.items() if k != "datastore"}
            image_set_key = _image_set(connection, series_key, held_by) if held_by else 1
            _insert(connection, schema.instance, series_pkey=series_key, imageset_pkey=image_set_key, **values)


def _write_own(connection: Connection, study: Study) -> None:
    """Write a study into own tables, a row for each data store that it is in; without image sets it is in one."""
    stores = {store for one in study.series for store in _stores(one)}
    for store in sorted(stores) or [_NOWHERE]:
        parts = [one for one in study.series if store in _stores(one) or not stores]
        _write_own_study(connection, study, store, parts)


_NOWHERE = "nowhere"


def _stores(series: Series) -> set[str]:
    return {*series.datastores, *(one["datastore"] for one in series.instances if "datastore" in one)}


def _write_own_study(connection: Connection, study: Study, store: str, parts: Sequence[Series]) -> None:
    issuer = _meant(own.issuer, {"issuerofpatientid": study.issuer})["issuerofpatientid"] or ""
    patient = _meant(own.patient, {"patientid": None, **study.patient})
    identity = repr((patient["patientid"], issuer) if patient["patientid"] else study.uid)[-64:]
    issuer_key = _key(connection, own.issuer, issuerofpatientid=issuer)
    found = select(own.patient.c.patient_pkey).filter_by(identity=identity, datastoreid=store)
    patient_key = connection.execute(found).scalar()
    if patient_key is None:
        values = {"identity": identity, "datastoreid": store, "issuer_pkey": issuer_key, **patient}
        patient_key = _insert(connection, own.patient, **values)
    else:
        connection.execute(own.patient.update().filter_by(patient_pkey=patient_key).values(**patient))
    held = [[one for one in part.instances if one.get("datastore", store) == store] for part in parts]
    counted = {"numberofstudyrelatedseries": len(parts), "numberofstudyrelatedinstances": sum(map(len, held))}
    values = {"patient_pkey": patient_key, "datastoreid": store, "studyinstanceuid": study.uid}
    study_key = _insert(connection, own.study, **values, **{**_meant(own.study, study.columns), **counted})
    for part, instances in zip(parts, held, strict=True):
        columns = {**_meant(own.series, part.columns), "numberofseriesrelatedinstances": len(instances)}
        series_key = _insert(connection, own.series, study_pkey=study_key, seriesinstanceuid=part.uid, **columns)
        name = f"{series_key}-{store}"
        key = _insert(connection, own.imageset, series_pkey=series_key, datastoreid=store, imagesetid=name)
        for one in instances:
            meant = _meant(own.instance, {name: value for name, value in one.items() if name != "datastore"})
            _insert(connection, own.instance, series_pkey=series_key, imageset_pkey=key, **meant)


def _meant(table: Table, columns: Mapping[str, Any]) -> dict[str, Any]:
    """The values of own columns, and of the folded ones beside them, that columns of AWS's tables mean."""
    found: dict[str, Any] = {}
    for name, value in columns.items():
        attribute = _ATTRIBUTES.get(name)
        if isinstance(value, str) or (isinstance(value, int) and name == "seriesnumber"):
            text = str(value).strip(" ")
            absent = attribute and text in attribute.placeholders and attribute.matching is not Matching.UID
            value = None if absent else text
        found[name] = value
        if f"{name}{own.FOLDED}" in table.c:
            fold_text = fold_name if attribute and attribute.matching is Matching.NAME else fold
            found[f"{name}{own.FOLDED}"] = None if value is None else fold_text(value)
    return found


_ATTRIBUTES = {one.column: one for one in ATTRIBUTES}


def _image_set(connection: Connection, series_key: int, datastore: str) -> int:
    name = f"{series_key}-{datastore}"
    return _key(connection, schema.imageset, series_pkey=series_key, datastoreid=datastore, imagesetid=name)


def _key(connection: Connection, table: Table, **unique: Any) -> int:
    """The key of the row with these columns, which is made if there is none."""
    found = connection.execute(select(*table.primary_key).filter_by(**unique)).scalar()
    return found or _insert(connection, table, **unique)


def _insert(connection: Connection, table: Table, **columns: Any) -> int:
    inserted = connection.execute(table.insert().values(**columns)).inserted_primary_key
    key: int = inserted[0]  # type: ignore[index]  # every table has one
    return key


class _Gone(MetadataReader):
    """What AHI tells of image sets that are in the index only: it no longer has them."""

    def __init__(self) -> None:
        """It asks nobody."""

    def locate_readable(
        self, _keys: Sequence[ImageSetKey]
    ) -> tuple[Mapping[ImageSetKey, LocatedImageSet], Mapping[ImageSetKey, ProxyError]]:
        return {}, {}


def index_alone(database: Database) -> Archive:
    """An archive of which there is nothing but the index."""
    return Archive(database, _Gone(), 100, lambda: ROOT)


def client(database: Database, max_results: int = 1000, scope: Scope = EVERYTHING) -> FlaskClient:
    """A client, who may see what is in `scope`, of a service that does nothing but search."""
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(routes.blueprint(index_alone(database), lambda: scope, max_results), url_prefix="/aetitle")
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
