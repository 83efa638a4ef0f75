"""The index filler: metadata of image sets in, rows of the metadata index out.

It writes the rows that the index writer of the AWS sample project `metadata-index` writes, into AWS's tables, for tests
and benchmarks of them: the newest image set overwrites everything, and nothing is ever removed.
`datastore.index.values` converts the values.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from sqlalchemy import (
    Connection,
    Table,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.engine import URL, make_url

from datastore.index.values import convert, cut
from db.indexes import missing_in
from db.schema import conflict, frame, imageset, instance, issuer, metadata, patient, series, study

_ROWS_AT_ONCE = 500
_ABSENT_PATIENT_ID = "NO_PID"
_ABSENT_ISSUER = "DEFAULT_DOMAIN"

Json = Mapping[str, Any]
Values = dict[str, Any]


class IndexFiller:
    """Writes image sets into an index. Not safe for several threads."""

    def __init__(self, url: str | URL, *, populate_instances: bool = True, populate_frames: bool = False) -> None:
        """`populate_frames` implies `populate_instances`, as in the AWS index writer."""
        self._engine = create_engine(make_url(url), hide_parameters=True, pool_pre_ping=True)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _start_sqlite)
        self._instances = populate_instances or populate_frames
        self._frames = populate_frames

    def create_schema(self) -> None:
        """Create missing tables, and the indexes that searches use."""
        metadata.create_all(self._engine)
        with self._engine.begin() as connection:
            for wanted in missing_in(connection):
                connection.execute(text(wanted.create(self._engine.dialect.name)))

    def put(self, datastore_id: str, image_set: Json) -> None:
        """Insert or update all rows of an image set in one transaction; `image_set` is its decoded metadata.

        ValueError if patient, study or series are not where AHI puts them.
        """
        try:
            image_set_id = image_set["ImageSetID"]
            patient_dicom, study_dicom = image_set["Patient"]["DICOM"], image_set["Study"]["DICOM"]
            study_uid, series_nodes = study_dicom["StudyInstanceUID"], image_set["Study"]["Series"].items()
        except (KeyError, TypeError, AttributeError):
            raise ValueError("this is not the metadata of an image set") from None
        with self._engine.begin() as connection:
            patient_pkey = self._put_patient(connection, patient_dicom)
            study_values = self._values(study, study_dicom) | {"patient_pkey": patient_pkey}
            study_pkey = _put_row(connection, study, {"studyinstanceuid": study_uid}, study_values)
            for series_uid, node in series_nodes:
                series_values = self._values(series, node["DICOM"]) | {"study_pkey": study_pkey}
                series_pkey = _put_row(connection, series, {"seriesinstanceuid": series_uid}, series_values)
                key = {"imagesetid": image_set_id, "datastoreid": datastore_id}
                imageset_pkey = _put_row(connection, imageset, key, {"series_pkey": series_pkey})
                _put_conflicts(connection, series_pkey, imageset_pkey)
                if self._instances:
                    self._put_instances(connection, node.get("Instances") or {}, series_pkey, imageset_pkey)
                    _count(connection, study_pkey, series_pkey)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _put_patient(self, connection: Connection, dicom: Json) -> int:
        domain = self._values(issuer, dicom)["issuerofpatientid"] or _ABSENT_ISSUER
        issuer_pkey = _put_row(connection, issuer, {"issuerofpatientid": domain}, {"description": None})
        values = self._values(patient, dicom)
        patient_id = values.pop("patientid")
        key = {"patientid": patient_id or _ABSENT_PATIENT_ID, "issuer_pkey": issuer_pkey}
        return _put_row(connection, patient, key, values)

    def _put_instances(self, connection: Connection, nodes: Json, series_pkey: int, imageset_pkey: int) -> None:
        parents = {"series_pkey": series_pkey, "imageset_pkey": imageset_pkey}
        uids = {uid: cut(instance.c.sopinstanceuid, uid) for uid in nodes}
        rows = {uids[uid]: self._values(instance, node["DICOM"]) | parents for uid, node in nodes.items()}
        instance_pkeys = _put_rows(connection, instance, "sopinstanceuid", rows)
        if self._frames:
            frames = {
                image_frame["ID"]: {
                    "instance_pkey": instance_pkeys[uids[uid]],
                    "imageset_pkey": imageset_pkey,
                    "framenumber": frame_number,
                }
                for uid, node in nodes.items()
                for frame_number, image_frame in enumerate(node.get("ImageFrames") or (), start=1)
            }
            _put_rows(connection, frame, "frameid", frames)

    def _values(self, table: Table, dicom: Json) -> Values:
        """The value of each column that is not a key; its name is the keyword of the attribute in lower case."""
        by_name = {keyword.lower(): value for keyword, value in dicom.items()}
        values: Values = {}
        for column in table.columns:
            if column.name.endswith("_pkey"):
                continue
            value = by_name.get(column.name, _ABSENT)
            converted = None if value is _ABSENT else convert(column, value)
            values[column.name] = "" if converted is None and not column.nullable else converted
        return values


_ABSENT = object()


def _start_sqlite(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")  # searches can read while an import writes


def _put_row(connection: Connection, table: Table, key: Values, values: Values) -> int:
    """Insert or overwrite the row with this key; returns its primary key."""
    key = {name: cut(table.c[name], value) if isinstance(value, str) else value for name, value in key.items()}
    (primary_key,) = table.primary_key.columns
    found = select(primary_key).where(*(table.c[name] == value for name, value in key.items()))
    pkey: int | None = connection.scalar(found)
    return _write_row(connection, table, pkey, values | key)


def _write_row(connection: Connection, table: Table, pkey: int | None, values: Values) -> int:
    """Overwrite the row with this primary key, or insert a row if it is None; returns the primary key."""
    if pkey is None:
        inserted = connection.execute(insert(table).values(values)).inserted_primary_key
        return int(inserted[0])  # type: ignore[index]  # every table has one
    (primary_key,) = table.primary_key.columns
    connection.execute(update(table).where(primary_key == pkey).values(values))
    return pkey


def _put_rows(connection: Connection, table: Table, key: str, rows: Mapping[str, Values]) -> dict[str, int]:
    """Insert or overwrite rows by key; returns their primary keys."""
    (primary_key,) = table.primary_key.columns
    known = _primary_keys(connection, table, key, rows)
    new = [values | {key: name} for name, values in rows.items() if name not in known]
    old = [values | {key: name, "known_pkey": known[name]} for name, values in rows.items() if name in known]
    if new:
        connection.execute(insert(table), new)
    if old:
        connection.execute(update(table).where(primary_key == bindparam("known_pkey")), old)
    return known | _primary_keys(connection, table, key, rows.keys() - known.keys())


def _primary_keys(connection: Connection, table: Table, key: str, names: Iterable[str]) -> dict[str, int]:
    (primary_key,) = table.primary_key.columns
    column = table.c[key]
    found: dict[str, int] = {}
    for some in _batches(names):
        found |= {row[0]: row[1] for row in connection.execute(select(column, primary_key).where(column.in_(some)))}
    return found


def _batches(names: Iterable[str]) -> Iterator[Collection[str]]:
    rest = iter(names)
    while some := list(islice(rest, _ROWS_AT_ONCE)):
        yield some


def _put_conflicts(connection: Connection, series_pkey: int, imageset_pkey: int) -> None:
    """Note that a series has several image sets: the first two together, then each further one.

    Rows repeat if an image set is put again, as in AWS.
    """
    others = connection.scalars(select(imageset.c.imageset_pkey).where(imageset.c.series_pkey == series_pkey)).all()
    if len(others) == 1:
        return
    noted = others if len(others) == 2 else [imageset_pkey]
    rows = [{"series_pkey": series_pkey, "imageset_pkey": pkey, "priority": 1} for pkey in noted]
    connection.execute(insert(conflict), rows)


def _count(connection: Connection, study_pkey: int, series_pkey: int) -> None:
    """Recompute the counts of a study and a series from the instance table."""
    of_study = select(series.c.series_pkey).where(series.c.study_pkey == study_pkey)
    in_study = select(
        func.count(func.distinct(instance.c.series_pkey)).label("numberofstudyrelatedseries"),
        func.count().label("numberofstudyrelatedinstances"),
    ).where(instance.c.series_pkey.in_(of_study))
    in_series = select(func.count().label("numberofseriesrelatedinstances")).where(
        instance.c.series_pkey == series_pkey
    )
    for table, pkey, counts in ((study, study_pkey, in_study), (series, series_pkey, in_series)):
        (primary_key,) = table.primary_key.columns
        counted = connection.execute(counts).one()._asdict()
        connection.execute(update(table).where(primary_key == pkey).values(counted))
