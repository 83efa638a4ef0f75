"""The index that the filler leaves, on every database: that of the AWS index writer."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest
from sqlalchemy import Table, select
from sqlalchemy.exc import SQLAlchemyError

from datastore.index.filler import IndexFiller
from db.engine import Database
from db.schema import conflict, frame, imageset, instance, issuer, patient, series, study
from tests.servers import empty

STORE = "0" * 31 + "1"
CT = "1.2.840.10008.5.1.4.1.1.2"


def metadata(
    image_set: str = "a",
    *,
    study_uid: str = "1.1",
    series_uid: str = "1.1.1",
    instances: tuple[str, ...] = ("1.1.1.1",),
    frames: int = 1,
    patient: Mapping[str, Any] | None = None,
    study: Mapping[str, Any] | None = None,
    series: Mapping[str, Any] | None = None,
    instance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The metadata of an image set, as AHI gives it; the last four arguments are DICOM elements of their levels."""
    return {
        "SchemaVersion": "1.1",
        "DatastoreID": STORE,
        "ImageSetID": image_set * 32,
        "Patient": {"DICOM": {"PatientID": "P1"} if patient is None else patient},
        "Study": {
            "DICOM": {"StudyInstanceUID": study_uid, **(study or {})},
            "Series": {
                series_uid: {
                    "DICOM": {"SeriesInstanceUID": series_uid, **(series or {})},
                    "Instances": {
                        uid: {
                            "DICOM": {"SOPInstanceUID": uid, "SOPClassUID": CT, **(instance or {})},
                            "DICOMVRs": {},
                            "ImageFrames": [{"ID": frame_id(image_set, uid, number)} for number in range(frames)],
                        }
                        for uid in instances
                    },
                }
            },
        },
    }


def frame_id(*parts: object) -> str:
    return uuid5(NAMESPACE_OID, repr(parts)).hex


class Index:
    """An index to fill and to look into."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._reader = Database(url)
        self._fillers: list[IndexFiller] = []

    def filler(self, **switches: bool) -> IndexFiller:
        filler = IndexFiller(self.url, **switches)
        self._fillers.append(filler)
        return filler

    def put(self, *image_sets: dict[str, Any], **switches: bool) -> None:
        filler = self.filler(**switches)
        for image_set in image_sets:
            filler.put(STORE, image_set)

    def rows(self, table: Table) -> list[dict[str, Any]]:
        ordered = select(table).order_by(*table.primary_key.columns)
        return [dict(row._mapping) for row in self._reader.rows(ordered)]

    def column(self, table: Table, name: str) -> list[Any]:
        return [row[name] for row in self.rows(table)]

    def close(self) -> None:
        self._reader.close()
        for filler in self._fillers:
            filler.close()


@pytest.fixture(scope="module")
def shared_url(new_index: Callable[[], str]) -> str:
    return new_index()


@pytest.fixture
def index(shared_url: str) -> Iterator[Index]:
    empty(shared_url)  # quicker than a fresh one
    found = Index(shared_url)
    yield found
    found.close()


def test_an_image_set_fills_every_level(index: Index) -> None:
    index.put(
        metadata(
            patient={"PatientID": "P1", "PatientName": "DOE^JANE", "IssuerOfPatientID": "HOSPITAL"},
            study={"StudyDescription": "HEAD", "AccessionNumber": "A1"},
            series={"Modality": "CT", "SeriesNumber": "2", "StationName": "CT01"},
            instance={"Rows": 512, "Columns": 256, "InstanceNumber": "1"},
        ),
        populate_frames=True,
    )
    assert index.column(issuer, "issuerofpatientid") == ["HOSPITAL"]
    assert index.column(patient, "patientname") == ["DOE^JANE"]
    assert index.column(study, "studydescription") == ["HEAD"]
    assert index.column(series, "stationname") == ["CT01"]
    assert [(row["rows"], row["columns"], row["sopclassuid"]) for row in index.rows(instance)] == [(512, 256, CT)]
    assert [(row["imagesetid"], row["datastoreid"]) for row in index.rows(imageset)] == [("a" * 32, STORE)]
    assert index.column(frame, "framenumber") == [1]
    assert index.column(instance, "imageset_pkey") == index.column(imageset, "imageset_pkey")
    assert index.rows(conflict) == []


@pytest.mark.parametrize(
    ("elements", "known"),
    [
        pytest.param({"PatientID": "P1"}, ("P1", "DEFAULT_DOMAIN"), id="issuer absent"),
        pytest.param({}, ("NO_PID", "DEFAULT_DOMAIN"), id="both absent"),
        pytest.param({"PatientID": None, "IssuerOfPatientID": None}, ("None", "None"), id="both empty"),
        pytest.param({"PatientID": "P1 ", "IssuerOfPatientID": "X"}, ("P1 ", "X"), id="padding"),
    ],
)
def test_a_patient_is_known_by(index: Index, elements: Mapping[str, Any], known: tuple[str, str]) -> None:
    index.put(metadata(patient=elements))
    found = (index.column(patient, "patientid")[0], index.column(issuer, "issuerofpatientid")[0])
    assert found == known


def test_absent_attributes_are_null(index: Index) -> None:
    index.put(metadata())
    names = {"study": "studydescription studydate studytime", "series": "modality laterality", "instance": "imagetype"}
    for table in (study, series, instance):
        row = index.rows(table)[0]
        assert [row[name] for name in names[table.name].split()] == [None] * len(names[table.name].split())


def test_text_of_any_script_and_length_is_stored(index: Index) -> None:
    index.put(metadata(patient={"PatientID": "P" * 300, "PatientName": "Ünï^山田\0"}))
    assert index.column(patient, "patientid") == ["P" * 64]
    assert index.column(patient, "patientname") == ["Ünï^山田"]


def test_uids_longer_than_their_column_are_cut(index: Index) -> None:
    uid = "1." + "2" * 100
    index.put(metadata(study_uid=uid, series_uid=uid, instances=(uid,)), populate_frames=True)
    assert index.column(study, "studyinstanceuid") == [uid[:63] + "~"]
    assert index.column(instance, "sopinstanceuid") == [uid[:63] + "~"]


def test_the_newest_image_set_overwrites_also_with_null(index: Index) -> None:
    index.put(
        metadata("a", study={"StudyDescription": "HEAD", "StudyID": "7"}, series={"Modality": "CT"}),
        metadata("b", study={"StudyDescription": "NECK"}, instances=("1.1.1.2",)),
    )
    assert [(row["studydescription"], row["studyid"]) for row in index.rows(study)] == [("NECK", None)]
    assert index.column(series, "modality") == [None]


def test_a_study_moves_under_the_newest_patient(index: Index) -> None:
    index.put(metadata("a"), metadata("b", patient={"PatientID": "P2"}))
    newest = next(row["patient_pkey"] for row in index.rows(patient) if row["patientid"] == "P2")
    assert index.column(study, "patient_pkey") == [newest]
    assert index.column(patient, "patientid") == ["P1", "P2"]


def test_an_instance_moves_to_the_newer_image_set(index: Index) -> None:
    index.put(metadata("a"), metadata("b"))
    assert index.column(instance, "imageset_pkey") == [index.column(imageset, "imageset_pkey")[1]]


def test_counts_are_those_of_the_instance_table(index: Index) -> None:
    index.put(
        metadata("a", instances=("1", "2", "3")),
        metadata("b", series_uid="1.1.2", instances=("4", "5")),
        metadata("c", instances=("3", "6")),
        metadata("d", study_uid="9", series_uid="9.1", instances=("9.1.1",)),
    )
    counts = [(row["numberofstudyrelatedseries"], row["numberofstudyrelatedinstances"]) for row in index.rows(study)]
    assert counts == [(2, 6), (1, 1)]
    assert index.column(series, "numberofseriesrelatedinstances") == [4, 2, 1]


@pytest.mark.parametrize(
    ("switches", "instances", "frames"),
    [
        pytest.param({"populate_instances": True, "populate_frames": False}, 2, 0, id="down to instances"),
        pytest.param({"populate_instances": True, "populate_frames": True}, 2, 6, id="down to frames"),
        pytest.param({"populate_instances": False, "populate_frames": True}, 2, 6, id="frames force instances"),
        pytest.param({"populate_instances": False, "populate_frames": False}, 0, 0, id="down to series"),
    ],
)
def test_the_switches_say_which_levels_are_filled(
    index: Index, switches: dict[str, bool], instances: int, frames: int
) -> None:
    index.put(metadata(instances=("1", "2"), frames=3), **switches)
    assert (len(index.rows(instance)), len(index.rows(frame))) == (instances, frames)
    assert len(index.rows(imageset)) == 1
    assert index.column(series, "numberofseriesrelatedinstances") == [instances or None]


@pytest.mark.parametrize(
    ("image_sets", "rows"),
    [
        pytest.param("a", [], id="one is no conflict"),
        pytest.param("aa", [], id="nor is its repetition"),
        pytest.param("ab", [1, 2], id="two are both noted"),
        pytest.param("abc", [1, 2, 3], id="each further one is noted"),
        pytest.param("abb", [1, 2, 1, 2], id="repeated events repeat rows"),
        pytest.param("abcc", [1, 2, 3, 3], id="so does the third"),
    ],
)
def test_conflicts_are_noted_as_the_aws_writer_does(index: Index, image_sets: str, rows: list[int]) -> None:
    index.put(*(metadata(name) for name in image_sets))
    order = {pkey: number for number, pkey in enumerate(index.column(imageset, "imageset_pkey"), start=1)}
    assert [order[pkey] for pkey in index.column(conflict, "imageset_pkey")] == rows
    assert {(row["priority"], row["conflict_type"]) for row in index.rows(conflict)} <= {(1, None)}


def test_instances_and_frames_that_went_away_stay(index: Index) -> None:
    versions = (metadata(instances=("1", "2")), metadata(instances=("2", "3")))
    index.put(*versions, populate_frames=True)
    assert sorted(index.column(instance, "sopinstanceuid")) == ["1", "2", "3"]
    assert len(index.rows(frame)) == 3


def test_an_upsert_resets_the_description_of_an_issuer(index: Index) -> None:
    index.put(metadata(patient={"PatientID": "P1", "Description": "X"}))
    assert index.column(issuer, "description") == [None]


def test_repetition_changes_nothing(index: Index) -> None:
    index.put(metadata(frames=2), populate_frames=True)
    tables = (issuer, patient, study, series, imageset)
    before = [index.rows(table) for table in tables]
    index.put(metadata(frames=2), populate_frames=True)
    assert [index.rows(table) for table in tables] == before
    assert len(index.rows(instance)) == 1
    assert index.column(frame, "framenumber") == [1, 2]


def test_more_instances_than_one_statement_takes(index: Index) -> None:
    uids = tuple(f"1.1.1.{number}" for number in range(1203))
    index.put(metadata(instances=uids), metadata(instances=uids))
    assert index.column(series, "numberofseriesrelatedinstances") == [1203]


def test_patients_without_an_id_are_mixed_up(index: Index) -> None:
    nameless = [{"PatientName": "DOE^JANE"}, {"PatientName": "ROE^RICHARD"}]
    index.put(
        metadata("a", patient=nameless[0], study={"StudyDescription": "HEAD"}),
        metadata("b", patient=nameless[1], study={"StudyDescription": "NECK"}, study_uid="2", series_uid="2.1"),
        metadata("a", patient=nameless[0], study={"StudyDescription": "HEAD"}),
    )
    assert index.column(study, "studydescription") == ["HEAD", "NECK"]
    assert index.column(patient, "patientname") == ["DOE^JANE"]


def test_an_image_set_is_put_whole_or_not_at_all(index: Index) -> None:
    broken = metadata(frames=1)
    node = broken["Study"]["Series"]["1.1.1"]["Instances"]["1.1.1.1"]
    node["ImageFrames"] = [{"ID": None}]
    with pytest.raises(SQLAlchemyError):
        index.put(broken, populate_frames=True)
    assert [index.rows(table) for table in (imageset, instance, series, study, patient)] == [[]] * 5


@pytest.mark.parametrize(
    "broken", [{}, {"ImageSetID": "a" * 32}, metadata() | {"Patient": None}, metadata() | {"Study": {"DICOM": {}}}]
)
def test_what_is_no_image_set_is_refused(index: Index, broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not the metadata of an image set"):
        index.put(broken)


def test_the_schema_is_created_where_it_is_missing(tmp_path: Any) -> None:
    filler = IndexFiller(f"sqlite:///{tmp_path / 'index.sqlite'}")
    filler.create_schema()
    filler.create_schema()
    filler.put(STORE, metadata())
    filler.close()
