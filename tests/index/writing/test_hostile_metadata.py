"""Whatever metadata says, a database takes its rows, or it is refused as no metadata; nothing of it is left half."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from db import index_schema as tables
from index.writing.values import ImageSetRows
from index.writing.writer import IndexWriter, Outcome
from tests.index.writing.made import Index, metadata, moment
from tests.servers import engine_of

_STORE, _ID = "1" * 32, "a" * 32


@pytest.fixture(scope="module")
def index(new_database: Callable[[], str]) -> Iterator[Index]:
    found = Index(new_database())
    yield found
    found.writer.close()


def put(index: Index, document: Any) -> Outcome:
    index.fill([])
    return index.writer.put(_STORE, document, 1, True, moment(1))


def column(index: Index, of: Any) -> list[Any]:
    with engine_of(index.url) as engine, engine.connect() as connection:
        return list(connection.scalars(select(of)))


TEXTS = ["a\0b", "\ud800", "𝒟𝑜𝑒^😀", "İıßŸ", "ﬃ" * 400, "\u0301" * 700, "é" * 100_000, "\u202e^\u200b",
         "'; DROP TABLE study; --", "100%_\\", "\x1b[31m", "=^=^=", "\uffff\ufffe", "　", "a\r\nb",
         "Å" * 324]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_any_text_is_taken_at_every_level(index: Index, text: str) -> None:
    names = ("PatientID", "PatientName", "PatientComments", "IssuerOfPatientID", "PatientSex", "StudyDescription",
             "StudyID", "ReferringPhysicianName", "SeriesDescription", "Modality", "SeriesNumber",
             "ContentDescription",
             "ImageType", "SOPClassUID", "WindowCenter", "StudyDate", "StudyTime", "Rows")  # fmt: skip
    elements = dict.fromkeys(names, text)
    document = metadata(
        _ID, patient=elements, study=elements, series=elements, instances={f"1{text}": elements, "2": elements},
        study_uid=f"1{text}", series_uid=f"1{text}",
    )  # fmt: skip
    expected = ImageSetRows.from_metadata(document)
    assert put(index, document) is Outcome.WRITTEN
    assert column(index, tables.patient.c.patientname) == [expected.patient["patientname"]]
    assert column(index, tables.study.c.studyinstanceuid) == [expected.study_instance_uid]
    assert column(index, tables.study.c.studydescription_folded) == [expected.study["studydescription_folded"]]
    assert set(column(index, tables.instance.c.sopinstanceuid)) == set(expected.instances)


@pytest.mark.parametrize("day", ["00010101", "99991231", "19000229"])
@pytest.mark.parametrize("number", [2**31 - 1, -(2**31), "-0", 2**63, 1e308])
def test_dates_and_numbers_at_their_ends_are_taken(index: Index, day: str, number: Any) -> None:
    elements = {"Rows": number, "InstanceNumber": number, "ContentDate": day, "ContentTime": "235959.999999"}
    document = metadata(_ID, study={"StudyDate": day}, instances={"1": elements})
    expected = ImageSetRows.from_metadata(document)
    assert put(index, document) is Outcome.WRITTEN
    assert column(index, tables.study.c.studydate) == [expected.study["studydate"]]
    assert column(index, tables.instance.c.rows) == [expected.instances["1"]["rows"]]
    assert column(index, tables.instance.c.contenttime) == [expected.instances["1"]["contenttime"]]


def test_uids_that_differ_by_padding_or_case_end_as_the_service_reads_them(index: Index) -> None:
    document = metadata(_ID, instances={"1": {}, "1 ": {}, "1\0": {}, "a": {}, "A": {}})
    assert put(index, document) is Outcome.WRITTEN
    assert sorted(column(index, tables.instance.c.sopinstanceuid)) == ["1", "A", "a"]


def test_an_image_set_of_thousands_of_instances_is_written_and_changed_and_removed(index: Index) -> None:
    instances = {
        f"1.{number}": {"ContentDescription": "x" * 512, "InstanceNumber": str(number)} for number in range(5000)
    }
    assert put(index, metadata(_ID, instances=instances)) is Outcome.WRITTEN
    assert column(index, tables.study.c.numberofstudyrelatedinstances) == [5000]
    fewer = dict(list(instances.items())[:2000])
    assert index.writer.put(_STORE, metadata(_ID, instances=fewer), 2, True, moment(2)) is Outcome.WRITTEN
    other = metadata("b" * 32, instances=instances)
    assert index.writer.put(_STORE, other, 1, False, moment(3)) is Outcome.WRITTEN
    assert column(index, tables.series.c.numberofseriesrelatedinstances) == [5000]
    assert len(column(index, tables.instance_duplicate.c.instance_duplicate_pkey)) == 2000
    assert index.writer.remove(_STORE, _ID) is Outcome.WRITTEN
    assert column(index, tables.series.c.numberofseriesrelatedinstances) == [5000]
    assert column(index, func.count(tables.instance_duplicate.c.instance_duplicate_pkey)) == [0]
    index.writer.remove(_STORE, "b" * 32)
    assert column(index, tables.patient.c.patientid) == []


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
_elements = st.dictionaries(
    st.sampled_from(("PatientID", "IssuerOfPatientID", "PatientName", "PatientComments", "StudyDate", "StudyTime",
                     "Modality", "Rows", "InstanceNumber", "ContentDescription", "SOPClassUID")), _json, max_size=5
)  # fmt: skip


@given(
    elements=_elements,
    uid=st.text(st.characters(), max_size=300),
    instances=st.dictionaries(st.text(), _elements, max_size=3),
)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_metadata_is_taken_or_refused(index: Index, elements: Any, uid: str, instances: Any) -> None:
    document = metadata(_ID, patient=elements, study=elements, series=elements, instances=instances, study_uid=uid)
    try:
        expected = ImageSetRows.from_metadata(document)
    except ValueError:
        with pytest.raises(ValueError, match="metadata"):
            put(index, document)
        assert column(index, tables.indexed_image_set.c.imagesetid) == []
        return
    assert put(index, document) is Outcome.WRITTEN
    assert len(column(index, tables.instance.c.sopinstanceuid)) == len(expected.instances)


@pytest.mark.parametrize("image_set_id", [None, "", "a" * 33, "é" * 32, "../../x", 5, ["a"], "a\0"])
def test_an_image_set_without_an_id_is_refused(sqlite: Any, image_set_id: Any) -> None:
    writer = IndexWriter(sqlite.new_database())
    with pytest.raises(ValueError, match="not the ID"):
        writer.put(_STORE, {**metadata(_ID), "ImageSetID": image_set_id}, 1, True, moment(1))
    writer.close()


def test_no_value_of_an_image_set_is_in_an_error(sqlite: Any) -> None:
    told = "ROE^RICHARD"
    with pytest.raises(ValueError, match="metadata") as refused:
        ImageSetRows.from_metadata({"Study": {"DICOM": {"StudyInstanceUID": "1"}, "Series": {told: told}}})
    assert told not in str(refused.value) and json.dumps(told) not in repr(refused.value)
