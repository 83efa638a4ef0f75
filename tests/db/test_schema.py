"""The index has the tables and columns that its writer fills, on every database."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import inspect
from sqlalchemy.engine import Inspector

from tests.servers import engine_of

COLUMNS = {  # doc: the AWS sample project metadata-index, backend/lambda/db_init/schema
    "issuer": "issuer_pkey issuerofpatientid description",
    "patient": "patient_pkey issuer_pkey patientid patientname patientbirthdate patientsex patientcomments",
    "study": "study_pkey patient_pkey studyinstanceuid accessionnumber studyid studydate studytime studydescription"
    " referringphysicianname numberofstudyrelatedseries numberofstudyrelatedinstances",
    "series": "series_pkey study_pkey seriesinstanceuid modality seriesnumber seriesdescription institutionname"
    " bodypartexamined stationname manufacturer protocolname laterality numberofseriesrelatedinstances",
    "instance": "instance_pkey series_pkey sopinstanceuid sopclassuid imagetype instancenumber acquisitiondate"
    " acquisitiontime contentdate contenttime photometricinterpretation numberofframes rows columns bitsallocated"
    " bitsstored highbit rescaleslope rescaleintercept pixelrepresentation windowcenter windowwidth observationtime"
    " contentdescription imageset_pkey",
    "imageset": "imageset_pkey series_pkey imagesetid datastoreid",
    "frame": "frame_pkey instance_pkey imageset_pkey framenumber frameid",
    "conflict": "conflict_pkey series_pkey imageset_pkey priority conflict_type",
}


@pytest.fixture(scope="module")
def index(new_index: Callable[[], str]) -> Iterator[Inspector]:
    with engine_of(new_index()) as engine:
        yield inspect(engine)


@pytest.mark.parametrize("table", COLUMNS)
def test_a_table_has_the_columns_of_the_index(index: Inspector, table: str) -> None:
    assert {column["name"] for column in index.get_columns(table)} == set(COLUMNS[table].split())


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("issuer", ["issuerofpatientid"]),
        ("patient", ["patientid", "issuer_pkey"]),
        ("study", ["studyinstanceuid"]),
        ("series", ["seriesinstanceuid"]),
        ("instance", ["sopinstanceuid"]),
        ("imageset", ["imagesetid", "datastoreid"]),
        ("frame", ["frameid"]),
    ],
)
def test_what_identifies_a_row_is_unique(index: Inspector, table: str, columns: list[str]) -> None:
    assert columns in [found["column_names"] for found in index.get_unique_constraints(table)]


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("patient", "issuer_pkey"),
        ("study", "patient_pkey"),
        ("series", "study_pkey"),
        ("instance", "series_pkey"),
        ("frame", "instance_pkey"),
        ("patient", "patientid"),
        ("study", "accessionnumber"),
        ("imageset", "imagesetid"),
    ],
)
def test_a_column_that_searches_go_by_is_indexed(index: Inspector, table: str, column: str) -> None:
    assert column in [found["column_names"][0] for found in index.get_indexes(table)]
