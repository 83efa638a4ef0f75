"""Searches and retrievals on own tables are those of a model in memory, without any exception.

UIDs are used again at all levels and in two data stores, patients share IDs or have none, image sets disagree about
what they share, and texts are those that mean "absent" in AWS's tables. `IDENTITY_EXAMPLES` asks for more.
"""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qsl

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from app.ae_titles import parse_ae_titles
from app.factory import create_app
from app.services import Services
from app.settings import Settings
from db.engine import Database
from db.index_kind import IndexKind
from dicomweb.dicom_json import DataSet
from index.writing.writer import IndexWriter
from qido.image_sets.matching import fulfils
from qido.parse.attributes import MODALITIES_IN_STUDY, MODALITY, SERIES_UID, STUDY_UID, Level
from qido.parse.conditions import AnyOf, Condition
from qido.parse.query import parse_query
from tests.identity.archive import STORES, HereFetchers, ImageSet, Memory, Patient, marks_in, preferred, shown
from tests.servers import Sqlite, empty

EXAMPLES = int(os.environ.get("IDENTITY_EXAMPLES", "20"))
PHASES = [Phase.generate] if os.environ.get("QUICK") else list(Phase)
ROOTS = {"aetitle": frozenset(STORES), "first": frozenset(STORES[:1]), "second": frozenset(STORES[1:])}
AE_TITLES = parse_ae_titles(
    json.dumps({name: {"datastores": sorted(stores)} for name, stores in ROOTS.items() if name != "aetitle"})
)

PATIENTS = [
    Patient("P1", "ONE^ANNA"),
    Patient("P1", "Öne^Other"),
    Patient("p1", "LOWER^X"),
    Patient("Pé1", "TWO^BERT^^^"),
    Patient("P1", "ISSUED^ELSEWHERE=山田", "HOSPITAL-2"),
    Patient(None, "THETA^ONE"),
    Patient("", "None"),
    Patient("NO_PID", "NO^PIDD"),
    Patient("None", "NONE^X", "DEFAULT_DOMAIN"),
]
STUDIES, SERIES, INSTANCES = (
    [f"1.2.3.{level}{number}" for number in range(count)] for level, count in ((1, 3), (2, 3), (3, 3))
)
TOLD = ("00100010", "00100020", "00081030", "00080060")
MODALITIES = ("CT", "MR", "None")
TIMES = (None, "101500", "101500.25", "1015", "235959.999999")


@st.composite
def archives(draw: st.DrawFn) -> list[ImageSet]:
    """A few image sets, among which UIDs and IDs are scarce."""
    found, mark = list[ImageSet](), 0
    for number in range(1, draw(st.integers(1, 6)) + 1):
        uids = draw(st.lists(st.sampled_from(INSTANCES), min_size=1, max_size=2, unique=True))
        marks = tuple((uid, mark + at + 1) for at, uid in enumerate(uids))
        mark += len(marks)
        found.append(
            ImageSet(
                number,
                draw(st.sampled_from(STORES)),
                draw(st.sampled_from(PATIENTS)),
                draw(st.sampled_from(STUDIES)),
                draw(st.sampled_from(SERIES)),
                draw(st.sampled_from(MODALITIES)),
                draw(st.sampled_from(["Thorax", "Tête", "None", "", "['a', 'b']"])),
                marks,
                draw(st.booleans()),
                draw(st.sampled_from(TIMES)),
            )
        )
    return found


@contextmanager
def served(url: str, image_sets: Sequence[ImageSet], order: Sequence[int]) -> Iterator[tuple[FlaskClient, Memory]]:
    """The application on own tables, into which the image sets were put in this order."""
    empty(url)
    writer = IndexWriter(url)
    for at in order:
        one = image_sets[at]
        updated_at = datetime(2026, 1, 1) + timedelta(seconds=one.number)
        writer.put(one.store, one.metadata(), 1, one.is_primary, updated_at)
    writer.close()
    memory, database = Memory({one.key: one for one in image_sets}), Database(url)
    with TemporaryDirectory(prefix="own-tables-") as folder:
        made = Settings(cache_root=Path(folder), ae_titles=AE_TITLES, dcm4chee_paths=False)
        try:
            yield create_app(Services.of(made, database, HereFetchers(memory, Path(folder)))).test_client(), memory
        finally:
            database.close()


@dataclass(frozen=True)
class Row:
    """What the model has for one result: its UIDs, its own values, and the modalities of its study.

    Of a study in several data stores, the values in each; a search that names no study or series finds those by which
    one of them is found.
    """

    uids: tuple[str, ...]
    data_set: DataSet
    modalities: frozenset[str]
    in_stores: tuple[DataSet, ...] = ()

    def fulfils_all(self, conditions: Sequence[Condition]) -> bool:
        """Whether the result fulfils all conditions of a search."""
        of_study = [
            one
            for one in conditions
            if all(key.level is Level.STUDY and key is not MODALITIES_IN_STUDY for key in one.keys)
        ]
        named = any(key in (STUDY_UID, SERIES_UID) for one in conditions for key in one.keys)
        found = named or not self.in_stores or any(fulfils(one, of_study) for one in self.in_stores)
        return found and all(map(self._fulfils, conditions))

    def _fulfils(self, condition: Condition) -> bool:
        match condition:
            case AnyOf(attribute, matches) if attribute is MODALITIES_IN_STUDY:
                told = ({MODALITY.tag: {"vr": "CS", "Value": [one]}} for one in self.modalities)
                return any(fulfils(one, [AnyOf(MODALITY, matches)]) for one in told)
        return fulfils(self.data_set, [condition])

    @property
    def told(self) -> tuple[Hashable, ...]:
        """What a result says."""
        return (*self.uids, *(first(self.data_set, tag) for tag in TOLD))


def patient_of(one: ImageSet) -> Hashable:
    """What makes a patient: data store, ID and issuer; or the study, if there is no ID."""
    patient = one.patient
    identity = (patient.patient_id, patient.issuer) if patient.patient_id else one.study
    return one.store, identity


def best(image_sets: Sequence[ImageSet]) -> ImageSet:
    return preferred(image_sets)[0]


def patient_data(one: ImageSet) -> dict[str, str | None]:
    patient = one.patient
    return {"00100010": patient.name, "00100020": patient.patient_id, "00100021": patient.issuer}


def study_data(one: ImageSet) -> dict[str, str | None]:
    return {"00081030": one.description, "00080030": one.study_time, "0020000D": one.study, "00080020": "20240101"}


def series_data(one: ImageSet) -> dict[str, str | None]:
    return {"00080060": one.modality, "0020000E": one.series}


def data_set(values: dict[str, str | None]) -> DataSet:
    persons = {"00100010"}
    return {
        tag: {"Value": [{"Alphabetic": value.partition("=")[0], "Ideographic": value.partition("=")[2]}]}
        if tag in persons
        else {"Value": [value]}
        for tag, value in values.items()
        if value
    }


def first(result: DataSet, tag: str) -> Any:
    found = (result.get(tag, {}).get("Value") or [None])[0]
    return (found.get("Alphabetic") or None) if isinstance(found, dict) else found


def rows_of(image_sets: Sequence[ImageSet], seen: Sequence[ImageSet], level: Level) -> Iterator[list[Row]]:
    """The rows that may stand for each result, of which the first that fulfils all conditions does.

    The rows of a study in one data store follow from the image sets of that data store. Of a study in several, each
    image set is a row.
    """
    patients: dict[Hashable, list[ImageSet]] = defaultdict(list)
    for one in image_sets:
        patients[patient_of(one)].append(one)
    rows: dict[tuple[str, str], list[ImageSet]] = defaultdict(list)  # of studies, each in one data store
    for one in seen:
        rows[one.store, one.study].append(one)
    if level is Level.PATIENT:
        shown_patients = {patient_of(best(of)) for of in rows.values()}
        for patient, of in patients.items():
            if patient in shown_patients:
                yield [Row((), data_set(patient_data(best(of))), frozenset())]
        return
    for study in dict.fromkeys(one.study for one in seen):
        own = [one for one in seen if one.study == study]
        by_series = {uid: [one for one in own if one.series == uid] for uid in dict.fromkeys(one.series for one in own)}
        several = len({one.store for one in own}) > 1
        in_stores = tuple(data_set(study_data(best(of))) for (_, uid), of in rows.items() if uid == study)
        modalities = frozenset(one.modality for of in by_series.values() for one in (of if several else [best(of)]))
        if level is Level.STUDY:
            groups: list[tuple[tuple[str, ...], list[ImageSet]]] = [((study,), own)]
        else:
            groups = [((study, uid), of) for uid, of in by_series.items()]
        for uids, of in groups:
            if several:
                candidates = [
                    (one, {**patient_data(one), **study_data(one), **series_data(one)}) for one in preferred(of)
                ]
            else:
                of_patient = patient_data(best(patients[patient_of(best(own))]))
                candidates = [(best(of), {**of_patient, **study_data(best(own)), **series_data(best(of))})]
            if level is not Level.INSTANCE:
                yield [
                    Row(uids, data_set(_of_level(level, values)), modalities, in_stores if several else ())
                    for _, values in candidates
                ]
                continue
            for uid in dict.fromkeys(uid for one in of for uid, _ in one.marks):
                holders = [values for one, values in candidates if not several or uid in dict(one.marks)]
                yield [
                    Row((*uids, uid), data_set(values), modalities, in_stores if several else ()) for values in holders
                ]


def _of_level(level: Level, values: dict[str, str | None]) -> dict[str, str | None]:
    of_series = {"00080060", "0020000E"}
    return {tag: value for tag, value in values.items() if level > Level.STUDY or tag not in of_series}


RESOURCES = {
    "/patients": Level.PATIENT,
    "/studies": Level.STUDY,
    "/series": Level.SERIES,
    "/instances": Level.INSTANCE,
}
TEXTS = {
    Level.PATIENT: [
        *("PatientName=one*", "PatientName=%3D山*", "PatientName=THETA%5EONE", "PatientName=none", "PatientID=P1"),
        *("PatientID=None", "PatientID=p?", "PatientID=NO_PID", "IssuerOfPatientID=HOSPITAL-2"),
        *("IssuerOfPatientID=DEFAULT_DOMAIN", "fuzzymatching=true&PatientName=theta"),
    ],
    Level.STUDY: [
        *("StudyDescription=tete", "StudyDescription=None", "StudyDescription=*a*", "StudyTime=101500"),
        *("StudyTime=1015", "StudyTime=-1014", "StudyTime=1000-", "StudyTime=101500.3-2359", "ModalitiesInStudy=CT"),
        *("ModalitiesInStudy=None,MR", f"StudyInstanceUID={STUDIES[0]}", "emptyvaluematching=true&StudyTime=%22%22"),
        *("StudyDate=20240101-20240102&StudyTime=10-", "emptyvaluematching=true&StudyDescription=%22%22"),
    ],
    Level.SERIES: ["Modality=None", "Modality=C*", f"SeriesInstanceUID={SERIES[0]}"],
    Level.INSTANCE: [],
}


def check(client: FlaskClient, image_sets: Sequence[ImageSet], root: str, resource: str, text: str) -> None:
    """A search and its count say what the model says."""
    level = RESOURCES[resource]
    fields = "includefield=PatientName,PatientID,StudyDescription,StudyTime" + (
        ",Modality" if level > Level.STUDY else ""
    )
    conditions = parse_query(parse_qsl(text, keep_blank_values=True), level, max_results=99).conditions
    seen = [one for one in image_sets if one.store in ROOTS[root]]
    expected = []
    for candidates in rows_of(image_sets, seen, level):
        fitting = [row for row in candidates if row.fulfils_all(conditions)]
        expected += [fitting[0].told] if fitting else []
    answer = client.get(f"/{root}{resource}?{text}&{fields}")
    assert answer.status_code == 200, answer.text
    assert "Warning" not in answer.headers
    told = (*("0020000D", "0020000E", "00080018")[:level], *TOLD)
    found = [tuple(first(one, tag) for tag in told) for one in answer.get_json(force=True)]
    assert sorted(map(str, found)) == sorted(map(str, expected)), (root, resource, text)
    counted = client.get(f"/{root}{resource}/count?{text}").get_json()
    assert counted == {"count": len(expected)}, (root, resource, text)


def all_texts(level: Level) -> list[str]:
    return ["", *(text for at, texts in TEXTS.items() if at <= level for text in texts)]


def holds(url: str, image_sets: list[ImageSet], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(image_sets))))
    with served(url, image_sets, order) as (client, memory):
        for resource, level in RESOURCES.items():
            for root in ROOTS:
                for text in data.draw(st.lists(st.sampled_from(all_texts(level)), min_size=2, max_size=4, unique=True)):
                    note(f"{root} {resource} {text}")
                    check(client, image_sets, root, resource, text)
        for root, stores in ROOTS.items():
            seen = [one for one in image_sets if one.store in stores]
            for study in STUDIES:
                model = shown(seen, study)
                answer = client.get(f"/{root}/studies/{study}/metadata", headers={"Accept": "application/dicom+json"})
                assert answer.status_code == (200 if model else 404)
                assert marks_in(answer.data, "application/dicom+json") == set(model.values())
                known = any(one.study == study for one in image_sets)
                for series in SERIES:
                    answer = client.get(f"/{root}/studies/{study}/series/{series}/metadata")
                    assert answer.status_code == (200 if shown(seen, study, series) else 404)
                assert not (known and any(asked == study for _, asked in memory.searched)), "the index has lost nothing"


run = settings(
    deadline=None,
    derandomize="IDENTITY_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=PHASES,
)


@pytest.fixture(scope="module")
def file_url(sqlite: Sqlite) -> str:
    return sqlite.new_index(IndexKind.OWN)


@settings(parent=run, max_examples=EXAMPLES)
@given(archives(), st.data())
@pytest.mark.slow
def test_own_tables_answer_as_the_model(file_url: str, image_sets: list[ImageSet], data: st.DataObject) -> None:
    holds(file_url, image_sets, data)


@pytest.fixture(scope="module", params=["mariadb", "postgresql"])
def server_url(request: pytest.FixtureRequest) -> str:
    new_index: Callable[[IndexKind], str] = request.getfixturevalue(request.param).new_index
    return new_index(IndexKind.OWN)


@settings(parent=run, max_examples=max(4, EXAMPLES // 6))
@given(archives(), st.data())
def test_own_tables_of_a_server_answer_as_the_model(
    server_url: str, image_sets: list[ImageSet], data: st.DataObject
) -> None:
    holds(server_url, image_sets, data)


def test_each_text_is_searched_for(file_url: str) -> None:
    """An archive with one of everything, and all searches of the model."""
    image_sets = [
        ImageSet(number + 1, STORES[number % 2], patient, STUDIES[number % 3], SERIES[number % 2],
                 MODALITIES[number % 3], ["Thorax", "Tête", "None", ""][number % 4],
                 ((INSTANCES[number % 3], number + 1),), number % 2 == 0,
                 TIMES[number % len(TIMES)])
        for number, patient in enumerate(PATIENTS)
    ]  # fmt: skip
    with served(file_url, image_sets, range(len(image_sets))) as (client, _):
        for resource, level in RESOURCES.items():
            for text in all_texts(level) if level <= Level.STUDY else TEXTS[level]:
                check(client, image_sets, "aetitle", resource, text)


def test_what_did_not_fit_a_column_is_read_in_the_image_set(file_url: str) -> None:
    """A description of more than 512 characters is cut in the index, and a search is for the whole of it."""
    long = "Knee " * 110 + "left"
    image_sets = [
        ImageSet(1, STORES[0], PATIENTS[0], STUDIES[0], SERIES[0], "CT", long, ((INSTANCES[0], 1),)),
        ImageSet(2, STORES[0], PATIENTS[0], STUDIES[1], SERIES[1], "CT", "Knee left", ((INSTANCES[1], 2),)),
    ]
    with served(file_url, image_sets, (0, 1)) as (client, _):
        for text in ("StudyDescription=*left", "StudyDescription=knee*", "StudyDescription=*right", "PatientID=P1"):
            for resource in ("/studies", "/series", "/instances"):
                check(client, image_sets, "aetitle", resource, text)
