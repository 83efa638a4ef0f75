"""What is out of scope is as if it were not there: at every resource, in every count, with every parameter."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql

from db.engine import Database
from db.scope import EVERYTHING, Scope
from dicomweb.errors import BadRequest
from qido.image_sets.row_filters import parse_filter
from qido.parse.attributes import Level
from qido.parse.query import parse_query
from qido.plan import result_columns, statements
from tests.qido.archive import SAMPLE, Series, Study, client, image, write
from tests.servers import empty


def scope(*datastores: str, **keys: str) -> Scope:
    """Of data stores, all without any, and of matching keys, whose values are separated by `|`."""
    filters = (parse_filter(name, text.split("|")) for name, text in keys.items())
    return Scope(frozenset(datastores) if datastores else None, tuple(filters))


SERIES_KEYS = {"Modality", "InstitutionName"}


def visible(studies: tuple[Study, ...], scope: "Wanted") -> list[Study]:
    """What of the archive is in scope, by the words of db/scope.py: the model."""
    found = []
    for study in studies:
        series = [
            replace(
                one,
                instances=tuple(of for of in one.instances if scope.has(of["datastore"])),
                datastores=tuple(datastore for datastore in one.datastores if scope.has(datastore)),
            )
            for one in study.series
            if all(matches(pattern, one.columns[name.lower()]) for name, pattern in scope.keys if name in SERIES_KEYS)
        ]
        series = [one for one in series if one.datastores or not scope.datastores]
        of_study = {
            "PatientID": study.patient["patientid"],
            "IssuerOfPatientID": study.issuer,
            "StudyInstanceUID": study.uid,
            "StudyDescription": study.columns["studydescription"],
        }
        met = all(matches(pattern, of_study[name]) for name, pattern in scope.keys if name in of_study)
        some = all(
            any(matches(pattern, one.columns["modality"]) for one in series)
            for name, pattern in scope.keys
            if name == "ModalitiesInStudy"
        )
        if met and some and (series or not scope.hides_series):
            found.append(counted(replace(study, series=tuple(series))))
    return found


def matches(pattern: str, value: str) -> bool:
    return any(fnmatchcase(value, one) for one in pattern.split("|"))


def counted(study: Study) -> Study:
    """The study with the number of instances that the writer of the index finds."""
    columns = {**study.columns, "numberofstudyrelatedinstances": sum(len(one.instances) for one in study.series)}
    series = tuple(
        replace(one, columns={**one.columns, "numberofseriesrelatedinstances": len(one.instances)})
        for one in study.series
    )
    return replace(study, columns=columns, series=series)


@dataclass(frozen=True)
class Wanted:
    """A scope as the model reads it."""

    datastores: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]

    def has(self, datastore: str) -> bool:
        return not self.datastores or datastore in self.datastores

    @property
    def hides_series(self) -> bool:
        return bool(self.datastores or SERIES_KEYS.intersection(dict(self.keys)))


KEYS = {
    "Modality": ["CT", "MR", "C*", "CT|MR"],
    "ModalitiesInStudy": ["CT", "?R"],
    "InstitutionName": ["North", "S*"],
    "PatientID": ["P1", "P?", "P2|P3"],
    "IssuerOfPatientID": ["WARD"],
    "StudyInstanceUID": ["1.1", "1.1|1.3", "1.9"],
    "StudyDescription": ["Thorax*"],
}
wanted_scopes = st.builds(
    Wanted,
    st.sampled_from([(), ("A",), ("A",), ("B",), ("A", "B"), ("C",)]),
    st.lists(st.sampled_from([(name, text) for name, texts in KEYS.items() for text in texts]), max_size=2)
    .map(dict).map(lambda keys: tuple(keys.items())),
)  # fmt: skip


@st.composite
def archives(draw: st.DrawFn) -> tuple[Study, ...]:
    """Studies of patients whose rows depend on their IDs alone, spread over two data stores."""

    def pick(*values: str) -> str:
        return draw(st.sampled_from(values))

    studies = []
    for n in range(1, draw(st.integers(2, 5)) + 1):
        series = []
        for m in range(draw(st.integers(0, 3))):
            uid = f"1.{n}.{m}"
            stores = draw(st.lists(st.sampled_from(["A", "B"]), min_size=1, max_size=3))
            instances = tuple(image(f"{uid}.{i}", i, datastore=store) for i, store in enumerate(stores))
            columns = {"modality": pick("CT", "MR", "SR"), "institutionname": pick("North", "South"), "seriesnumber": m}
            some = instances[: draw(st.integers(0, 3))]
            series.append(Series(uid, columns, some, tuple(dict.fromkeys(stores))))
        patient, issuer = pick("P1", "P2", "P3"), pick("WARD", "DEFAULT_DOMAIN")
        columns = {"studydescription": pick("Thorax A", "Knee")}
        studies.append(counted(Study(f"1.{n}", {"patientid": patient}, columns, tuple(series), issuer)))
    return tuple(studies)


RESOURCES = (
    "patients", "patients/count", "patients?PatientID=P1", "studies", "studies/count", "studies?limit=1",
    "studies?ModalitiesInStudy=CT", "studies?includefield=all", "studies/count?ModalitiesInStudy=MR", "series",
    "studies?includefield=00201200,00201202,00201204", "series/count", "series?limit=1", "instances",
    "series?ModalitiesInStudy=MR,SR", "instances/count", "instances?limit=1&count=true&includefield=all",
    "studies?emptyvaluematching=true&ModalitiesInStudy=%22%22", "studies/1.1/series", "studies/1.1/series/count",
    "studies/1.1/instances", "studies/1.1/instances/count", "studies/1.2/series/1.2.1/instances",
    "studies/1.2/series/1.2.1/instances/count", "studies/1.2/series/1.2.0/instances",
)  # fmt: skip


SEARCHES = ("patients", "studies", "series", "instances", "studies/1.1/series", "studies/count", "instances/count")
PARAMETERS = (
    *("PatientID=P1", "PatientID=*", "00100020=P?", "Modality=CT", "ModalitiesInStudy=*R", "InstitutionName=s*"),
    *("emptyvaluematching=true", "StudyDescription=%22%22", "fuzzymatching=true", "count=true", "limit=2", "offset=1"),
    *("orderby=-SeriesNumber", "orderby=PatientID,-StudyInstanceUID", "includefield=all", "StudyInstanceUID=1.1,1.2"),
    *("SOPInstanceUID=1.1.1.0", "Modality=CT%27%20OR%201=1", "SliceThickness=1", "StudyDate=x"),
)
searches = st.builds(
    "{}?{}".format, st.sampled_from(SEARCHES), st.lists(st.sampled_from(PARAMETERS), max_size=3).map("&".join)
)


def answers(archive: FlaskClient, searches: list[str]) -> dict[str, tuple[int, Any, Any]]:
    """All that can be known of an archive, and what is found by `searches`."""
    found = {}
    for resource in (*RESOURCES, *searches):
        response = archive.get(f"/aetitle/{resource}")
        told = {name: response.headers.get(name) for name in ("Warning", "X-Total-Count")}
        found[resource] = (response.status_code, response.get_json(force=True), told)
    return found


@pytest.fixture(scope="module")
def indexes(new_tables: Callable[[], str]) -> Iterator[tuple[str, str, Database, Database]]:
    """Two indexes, the one for the whole and the other for what is in scope."""
    whole, part = new_tables(), new_tables()
    of_whole, of_part = Database(whole), Database(part)
    yield whole, part, of_whole, of_part
    of_whole.close()
    of_part.close()


@settings(
    max_examples=8, phases=[Phase.generate], deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(
    studies=archives(),
    wanted=wanted_scopes,
    other=st.none() | wanted_scopes,
    asked=st.lists(searches, min_size=6, max_size=6),
)
@pytest.mark.slow
def test_an_index_answers_as_one_that_has_no_more_than_what_is_in_scope(
    indexes: tuple[str, str, Database, Database],
    studies: tuple[Study, ...],
    wanted: Wanted,
    other: Wanted | None,
    asked: list[str],
) -> None:
    whole, part, of_whole, of_part = indexes
    seen, limited = visible(studies, wanted), scope(*wanted.datastores, **dict(wanted.keys))
    if other and not any(name == "ModalitiesInStudy" for name, _ in wanted.keys):
        seen, limited = visible(tuple(seen), other), limited & scope(*other.datastores, **dict(other.keys))
    empty(whole)
    empty(part)
    write(whole, studies)
    write(part, seen)
    assert answers(client(of_whole, scope=limited), asked) == answers(client(of_part), asked), limited


def test_an_unlimited_scope_asks_what_was_asked_before() -> None:
    unlimited = scope() & EVERYTHING
    assert unlimited == EVERYTHING
    keys = [("ModalitiesInStudy", "CT"), ("PatientID", "P")]
    queries = [parse_query(keys, level, max_results=9, scope=unlimited) for level in Level]
    planned = [statements.sort_all(query) for query in queries]
    planned += [statements.collect_and_sort(query, 9) for query in queries]
    planned += [statements.scan_newest(query, 9) for query in queries[1:]]
    planned += [result_columns.studies_of_patients(unlimited)]
    planned += [of(unlimited) for of in (result_columns.series_of_studies, result_columns.instances_of_studies)]
    texts = [str(statement.compile(dialect=mysql.dialect())) for statement in planned]
    assert not [text for text in texts if text.count("imageset.datastoreid") > ("imagesetid" in text)]
    assert not [text for text in texts if " IN (SELECT" in text]


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (EVERYTHING, scope("A"), scope("A")),
        (scope("A", "B"), scope("B", "C"), scope("B")),
        (scope("A"), scope("B"), Scope(frozenset())),
        (scope(Modality="CT"), scope("A", PatientID="P"), scope("A", Modality="CT", PatientID="P")),
        (scope(Modality="CT"), scope(Modality="CT"), scope(Modality="CT")),
    ],
)
def test_both_of_two_scopes_must_show_it(one: Scope, other: Scope, both: Scope) -> None:
    assert one & other == both
    assert hash(one & other) == hash(both)


def test_no_data_store_is_nothing(sample: Database) -> None:
    nothing = client(sample, scope=Scope(frozenset()))
    assert [nothing.get(f"/aetitle/{name}").get_json(force=True) for name in ("patients", "studies", "instances")] == [
        [], [], [],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "studies"),
    [
        ({"PatientName": "döring*"}, ["1.2.5"]),
        ({"PatientID": "p1"}, ["1.2.2"]),
        ({"StudyDate": "20240111-"}, ["1.2.2"]),
        ({"ReferringPhysicianName": "MULLER*"}, ["1.2.1", "1.2.5"]),
        ({"BodyPartExamined": "HEAD"}, ["1.2.2"]),
        ({"00080060": "CT,US"}, ["1.2.4", "1.2.1", "1.2.5"]),
        ({"SeriesNumber": "2"}, ["1.2.1"]),
        ({"AccessionNumber": "ACC_3|ACC1"}, ["1.2.1", "1.2.3"]),
    ],
)
def test_filters_match_as_the_keys_of_a_search(sample: Database, keys: dict[str, str], studies: list[str]) -> None:
    found = client(sample, scope=scope(**keys)).get("/aetitle/studies").get_json(force=True)
    assert [result["0020000D"]["Value"][0] for result in found] == studies


def test_a_filter_on_series_hides_what_other_series_add_to_their_study(sample: Database) -> None:
    only_ct = client(sample, scope=scope(Modality="CT"))
    (study,) = only_ct.get("/aetitle/studies?StudyInstanceUID=1.2.1").get_json(force=True)
    assert [study[tag]["Value"] for tag in ("00080061", "00201206", "00201208")] == [["CT"], [1], [3]]
    assert only_ct.get("/aetitle/studies/1.2.1/series/1.2.1.2/instances").status_code == 404
    assert only_ct.get("/aetitle/studies/1.2.2/series").status_code == 404
    assert len(SAMPLE) == 5


def test_modalities_in_study_are_those_of_series_in_scope(new_tables: Callable[[], str]) -> None:
    url = new_tables()
    series = (Series("1.1.1", {"modality": "CT"}, (), ("A",)), Series("1.1.2", {"modality": "MR"}, (), ("B",)))
    write(url, [Study("1.1", {"patientid": "P"}, {}, series)])
    database = Database(url)
    counts = [
        client(database, scope=scope("A", ModalitiesInStudy=modality)).get("/aetitle/studies/count").get_json()
        for modality in ("CT", "MR", "?R|CT")
    ]
    database.close()
    assert [found["count"] for found in counts] == [1, 0, 1]


@pytest.mark.parametrize(
    ("name", "values", "problem"),
    [
        ("SOPClassUID", ["1.2"], "SOPClassUID is not an attribute of patients, studies or series"),
        ("SliceThickness", ["1"], "SliceThickness is not"),
        ("Unheard", ["1"], "Unheard is not"),
        ("NumberOfStudyRelatedSeries", ["1"], "NumberOfStudyRelatedSeries is not"),
        ("00400275.00400009", ["1"], "is not an attribute"),
        ("Modality", [], "Modality has no text to match"),
        ("Modality", ["CT", "*"], "matches everything"),
        ("StudyDate", ["2024"], "StudyDate is not a date"),
        ("StudyInstanceUID", ["1.2*"], "StudyInstanceUID is not a UID"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(name: str, values: list[str], problem: str) -> None:
    with pytest.raises(BadRequest, match=problem):
        parse_filter(name, values)
