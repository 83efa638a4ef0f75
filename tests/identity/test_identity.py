"""No answer holds anything of who is not meant or may not be seen, and everything that may be seen can be opened.

The archives are random: UIDs are used again at all levels, patients share IDs or have none, there are two data stores,
rows of the index were overwritten by its writer, have gone or point to nothing. `IDENTITY_EXAMPLES` asks for more.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from app.ae_titles import parse_ae_titles
from app.auth.links import Link, Links
from app.factory import create_app
from app.services import Services
from app.settings import Settings
from datastore.index.filler import IndexFiller
from db import schema
from db.engine import Database
from tests.identity.archive import (
    STORES,
    HereFetchers,
    ImageSet,
    Memory,
    Patient,
    mark_of_picture,
    marks_in,
    shown,
    text_of,
)
from tests.servers import empty, engine_of

EXAMPLES = int(os.environ.get("IDENTITY_EXAMPLES", "30"))
SECRET = "s" * 40
PHASES = [Phase.generate] if os.environ.get("QUICK") else list(Phase)

PATIENTS = [
    Patient("P1", "ONE^ANNA"),
    Patient("P1", "ONE^OTHER"),  # of another hospital, whose IDs begin anew
    Patient("p1", "LOWER^X"),
    Patient("P2", "TWO^BERT"),
    Patient(None, "THETA^ONE"),
    Patient(None, "THETA^TWOO"),
    Patient("NO_PID", "NO^PIDD"),
    Patient("P1", "ISSUED^ELSEWHERE", "HOSPITAL-2"),
    Patient("", "THETA^EMPTY"),
]
STUDIES, SERIES, INSTANCES = (
    [f"1.2.3.{level}{number}" for number in range(count)] for level, count in ((1, 3), (2, 3), (3, 3))
)


@dataclass(frozen=True)
class Caller:
    """Who calls: the root below which it does, and the filter and the data stores that apply there."""

    root: str
    datastores: frozenset[str] | None = None
    keys: tuple[tuple[str, str], ...] = ()

    def sees(self, image_sets: list[ImageSet]) -> list[ImageSet]:
        """Those of all image sets that the caller may see."""
        own = [one for one in image_sets if self._may_see(one)]
        wanted = dict(self.keys).get("ModalitiesInStudy")
        return [
            one
            for one in own
            if wanted is None or any(other.study == one.study and other.modality == wanted for other in own)
        ]

    def _may_see(self, one: ImageSet) -> bool:
        told = {
            "PatientID": one.patient.patient_id,
            "PatientName": one.patient.name,
            "Modality": one.modality,
            "StudyInstanceUID": one.study,
            "StudyDescription": one.description,
            "IssuerOfPatientID": one.patient.issuer,
        }
        met = all(told[key] == value for key, value in self.keys if key in told)
        return met and (self.datastores is None or one.store in self.datastores)


FILTERS: dict[str, tuple[frozenset[str] | None, dict[str, str]]] = {
    "aetitle": (None, {}),
    "p1": (None, {"PatientID": "P1"}),
    "two": (None, {"PatientName": "TWO^BERT"}),
    "theta": (None, {"PatientName": "THETA^ONE"}),
    "ct": (None, {"Modality": "CT"}),
    "issued": (None, {"IssuerOfPatientID": "HOSPITAL-2"}),
    "knee": (None, {"StudyDescription": "Knee"}),
    "withct": (None, {"ModalitiesInStudy": "CT"}),
    "first": (frozenset(STORES[:1]), {}),
    "second-p1": (frozenset(STORES[1:]), {"PatientID": "P1"}),
}


def callers() -> list[Caller]:
    """Below AE titles, and by share links."""
    found = [Caller(f"/{name}", stores, tuple(keys.items())) for name, (stores, keys) in FILTERS.items()]
    links = ((study, Links(SECRET).token(Link(study, 2**33))) for study in STUDIES)
    return found + [Caller(f"/link/{token}", None, (("StudyInstanceUID", study),)) for study, token in links]


AE_TITLES = parse_ae_titles(
    json.dumps(
        {
            name: {"filter": keys, **({"datastores": sorted(stores)} if stores else {})}
            for name, (stores, keys) in FILTERS.items()
            if name != "aetitle"
        }
    )
)


@st.composite
def archives(draw: st.DrawFn) -> list[ImageSet]:
    """A few image sets, among which UIDs and IDs are scarce."""
    found, mark = list[ImageSet](), 0
    for number in range(draw(st.integers(2, 6))):
        uids = draw(st.lists(st.sampled_from(INSTANCES), min_size=1, max_size=2, unique=True))
        marks = tuple((uid, mark + at + 1) for at, uid in enumerate(uids))
        mark += len(marks)
        store = draw(st.sampled_from(STORES))
        found.append(
            ImageSet(
                number + 1,
                store,
                draw(st.sampled_from([one for one in PATIENTS if one is not PATIENTS[store == STORES[0]]])),
                draw(st.sampled_from(STUDIES)),
                draw(st.sampled_from(SERIES)),
                draw(st.sampled_from(["CT", "MR"])),
                draw(st.sampled_from(["Thorax", "Thorax", "Knee"])),
                marks,
                draw(st.booleans()),
            )
        )
    return found


@dataclass(frozen=True)
class Harm:
    """What became of the index and the data store after the import."""

    deleted: tuple[int, ...] = ()  # image sets that AHI has no more
    unnamed: tuple[int, ...] = ()  # image sets whose rows have gone
    lost_series: tuple[str, ...] = ()
    lost_studies: tuple[str, ...] = ()

    def strayed(self, image_sets: list[ImageSet]) -> set[str]:
        """Instances whose rows point to rows of image sets that are not there: nothing tells whose they are."""
        return {uid for one in image_sets if one.number in self.unnamed for uid, _ in one.marks}


HARMS = st.builds(
    Harm,
    st.lists(st.integers(1, 6), max_size=1).map(tuple),
    st.lists(st.integers(1, 6), max_size=1).map(tuple),
    st.lists(st.sampled_from(SERIES), max_size=1).map(tuple),
    st.lists(st.sampled_from(STUDIES), max_size=1).map(tuple),
)


@contextmanager
def served(
    image_sets: list[ImageSet],
    harm: Harm,
    of: list[Caller] | None = None,
    *,
    instances: bool = True,
    url: str | None = None,
    **more: Any,
) -> Iterator[tuple[FlaskClient, Memory]]:
    """The application on an archive, for these callers; AHI has lost what `harm` says, and so has the index.

    The index is at `url`, or in a file of its own; `more` are settings.
    """
    folder = Path(tempfile.mkdtemp(prefix="identity-"))
    filler = IndexFiller(url or f"sqlite:///{folder / 'index.sqlite'}", populate_instances=instances)
    if url:
        empty(url)
    else:
        url = f"sqlite:///{folder / 'index.sqlite'}"
        filler.create_schema()
    for one in image_sets:
        filler.put(one.store, one.metadata())
    filler.close()
    memory = Memory({one.key: one for one in image_sets if one.number not in harm.deleted})
    with engine_of(url) as engine, engine.begin() as connection:
        stores = [one.store for one in image_sets if one.number not in harm.unnamed]  # the index must know of the store
        unnamed = [one.key.image_set_id for one in image_sets if one.number in harm.unnamed and one.store in stores]
        connection.execute(delete(schema.imageset).where(schema.imageset.c.imagesetid.in_(unnamed)))
        connection.execute(delete(schema.series).where(schema.series.c.seriesinstanceuid.in_(harm.lost_series)))
        connection.execute(delete(schema.study).where(schema.study.c.studyinstanceuid.in_(harm.lost_studies)))
    database = Database(url)
    roots = {one.root for one in of or ()}
    titles = tuple(one for one in AE_TITLES if f"/{one.name}" in roots)  # to register all takes longer than to ask
    made = Settings(cache_root=folder / "cache", ae_titles=titles, link_secret=SECRET, dcm4chee_paths=False, **more)
    try:
        app = create_app(Services.of(made, database, HereFetchers(memory, folder / "cache")))
        yield app.test_client(), memory
    finally:
        database.close()
        shutil.rmtree(folder)


def got(client: FlaskClient, path: str, accept: str = "*/*") -> tuple[int, bytes, str]:
    answer = client.get(path, headers={"Accept": accept})
    assert answer.status_code in (200, 204, 404), (path, answer.status_code, answer.data)
    return answer.status_code, answer.data, str(answer.mimetype)


OBJECTS = (
    ("/metadata", "application/dicom+json"),
    ("", "multipart/related; type=application/dicom; transfer-syntax=*"),
    ("", "application/zip"),
    ("/bulkdata", "multipart/related; type=application/octet-stream"),
    ("/pixeldata", "multipart/related; type=application/octet-stream"),
)
OF_INSTANCES = (
    *OBJECTS,
    *((resource, "*/*") for resource in ("/frames/1", "/bulkdata/00420011", "/bulkdata/7FE00010")),
)
PICTURES = ("/rendered", "/thumbnail")
OF_FRAMES = (*PICTURES, "/frames/1/rendered", "/frames/1/thumbnail")


def holds_of_objects(client: FlaskClient, caller: Caller, path: str, model: dict[tuple[str, str], int]) -> None:
    """All resources of a path give what the model has, and nothing else."""
    for resource, accept in OF_INSTANCES if "/instances/" in path else OBJECTS:
        status, body, media_type = got(client, f"{caller.root}{path}{resource}", accept)
        found = marks_in(body, media_type)
        assert found == set(model.values()), (caller, path, resource, accept, status, found, model)
        assert (status == 200) is bool(model), (caller, path, resource, status)
    for resource in OF_FRAMES if "/instances/" in path else PICTURES:
        status, body, media_type = got(client, f"{caller.root}{path}{resource}", "image/png")
        assert (status == 200) is bool(model), (caller, path, resource, status)
        if model:
            assert mark_of_picture(body) in model.values(), (caller, path, resource)


@settings(max_examples=EXAMPLES, deadline=None, derandomize="IDENTITY_EXAMPLES" not in os.environ,
          suppress_health_check=list(HealthCheck), phases=PHASES)  # fmt: skip
@given(archives(), HARMS, st.booleans(), st.data())
@pytest.mark.slow
def test_every_object_is_what_its_path_says_and_for_who_asks(
    image_sets: list[ImageSet], harm: Harm, instances: bool, data: st.DataObject
) -> None:
    of = data.draw(st.lists(st.sampled_from(callers()), min_size=2, max_size=3, unique=True))
    with served(image_sets, harm, of, instances=instances) as (client, _):
        there = [one for one in image_sets if one.number not in harm.deleted]
        for caller in of:
            seen = caller.sees(there)
            one = data.draw(st.sampled_from(image_sets))
            study, series, (uid, _) = one.study, data.draw(st.sampled_from([one.series, *SERIES])), one.marks[0]
            note(f"{caller} {study} {series} {uid}")
            of_series = shown(seen, study, series)
            holds_of_objects(client, caller, f"/studies/{study}/series/{series}", of_series)
            own = {key: mark for key, mark in of_series.items() if key[1] == uid}
            holds_of_objects(client, caller, f"/studies/{study}/series/{series}/instances/{uid}", own)
            uri = f"{caller.root}/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={uid}"
            status, body, media_type = got(client, f"{uri}&contentType=application/dicom", "*/*")
            assert marks_in(body, media_type) == set(own.values()), (caller, uri, status)
            holds_of_study(client, caller, study, shown(seen, study), harm, instances=instances)


def holds_of_study(
    client: FlaskClient, caller: Caller, study: str, model: dict[tuple[str, str], int], harm: Harm, *, instances: bool
) -> None:
    """The same of a study. What leaves no trace in the index is found by its series only: whole rows that are gone."""
    untraced = bool(harm.lost_series) or (bool(harm.unnamed) and not instances)
    status, body, media_type = got(client, f"{caller.root}/studies/{study}/metadata")
    found = marks_in(body, media_type)
    assert found <= set(model.values()), (caller, study, found, model)
    if not untraced:
        assert found == set(model.values()), (caller, study, status, found, model)
        holds_of_objects(client, caller, f"/studies/{study}", model)


SEARCHES = ("/patients", "/studies", "/series", "/instances", "/studies/{study}/series", "/studies/{study}/instances",
            "/studies/{study}/series/{series}/instances")  # fmt: skip
CONDITIONS = ("", "PatientName=THETA^ONE", "PatientName=*", "PatientID=P1", "Modality=CT", "StudyInstanceUID={study}",
              "SeriesInstanceUID={series}", "ModalitiesInStudy=MR", "limit=2", "limit=2&offset=1",
              "StudyDescription=Knee", "IssuerOfPatientID=HOSPITAL-2", "orderby=PatientName",
              "fuzzymatching=true&PatientName=theta")  # fmt: skip
FIELDS = (
    "includefield=PatientName,PatientID,PatientBirthDate,StudyInstanceUID,SeriesInstanceUID",  # of the index alone
    "includefield=PatientName,PatientID,PatientBirthDate,ImageComments,StudyInstanceUID,SeriesInstanceUID",
    "includefield=all",
)


def value(result: dict[str, Any], tag: str) -> Any:
    found = result.get(tag, {}).get("Value", [None])[0]
    return found.get("Alphabetic") if isinstance(found, dict) else found


def searches_hold(
    image_sets: list[ImageSet], harm: Harm, instances: bool, data: st.DataObject, url: str | None
) -> None:
    """Whatever is searched for, and by whom, the answer tells of nothing else than the image sets that may be seen."""
    of = data.draw(st.lists(st.sampled_from(callers()), min_size=4, max_size=4, unique=True))
    with served(image_sets, harm, of, instances=instances, url=url) as (client, _):
        for caller in of:
            seen = caller.sees(image_sets)
            one = data.draw(st.sampled_from(image_sets))
            for resource in SEARCHES:  # to make an archive takes longer than to ask for all of them
                condition, fields = data.draw(st.sampled_from(CONDITIONS)), data.draw(st.sampled_from(FIELDS))
                path = f"{resource}?{condition}".format(study=one.study, series=one.series)
                note(f"{caller} {path}")
                status, body, _ = got(client, f"{caller.root}{path}&{fields}", "application/dicom+json")
                found = json.loads(body) if status == 200 else []
                if "/patients" not in resource:
                    uids = [tuple(value(one, tag) for tag in ("0020000D", "0020000E", "00080018")) for one in found]
                    assert len(set(uids)) == len(uids), (caller, path, uids)
                for result in found:
                    if caller.root == "/aetitle" and value(result, "00080018") in harm.strayed(image_sets):
                        continue
                    limited = caller.keys or caller.datastores
                    told = [] if limited else strangers(value(result, "0020000D"), image_sets, url)
                    holds_of_result(caller, path, result, seen, told)
                marks = {mark for one in seen for _, mark in one.marks}
                assert marks_in(body, "application/dicom+json") <= marks, (caller, path)
                got(client, f"{caller.root}{path}".replace("?", "/count?"))


@settings(max_examples=EXAMPLES, deadline=None, derandomize="IDENTITY_EXAMPLES" not in os.environ,
          suppress_health_check=list(HealthCheck), phases=PHASES)  # fmt: skip
@given(archives(), st.one_of(st.just(Harm()), HARMS), st.booleans(), st.data())
@pytest.mark.slow
def test_no_search_tells_of_another_patient(
    image_sets: list[ImageSet], harm: Harm, instances: bool, data: st.DataObject
) -> None:
    searches_hold(image_sets, harm, instances, data, None)


@pytest.fixture(scope="module", params=["mariadb", "postgresql"])
def server_url(request: pytest.FixtureRequest) -> str:
    """An index on a server of databases."""
    url: str = request.getfixturevalue(request.param).new_index()
    return url


@settings(max_examples=max(5, EXAMPLES // 3), deadline=None, derandomize="IDENTITY_EXAMPLES" not in os.environ,
          suppress_health_check=list(HealthCheck), phases=PHASES)  # fmt: skip
@given(archives(), st.one_of(st.just(Harm()), HARMS), st.booleans(), st.data())
def test_no_search_of_a_server_tells_of_another_patient(
    server_url: str, image_sets: list[ImageSet], harm: Harm, instances: bool, data: st.DataObject
) -> None:
    searches_hold(image_sets, harm, instances, data, server_url)


def strangers(study: str | None, image_sets: list[ImageSet], url: str | None) -> list[Patient]:
    """Patients whose names a row of a study may have though it is of others: the limit of what is checked.

    Nothing in the index tells that objects of two patients share a Study Instance UID, and no series, in one data
    store; nor that MariaDB and MySQL have taken two IDs for one that differ in case only.
    """
    own = [one for one in image_sets if one.study == study]
    told = any(one.patient.patient_id in (None, "", "NO_PID") for one in own[-1:])
    told = told or any(one.series == other.series for one in own for other in image_sets if other is not one)
    found = [] if told else [one.patient for one in own]
    if url and "mysql" in url:
        ids = {(one.patient.patient_id or "").lower() for one in own}
        found += [one.patient for one in image_sets if (one.patient.patient_id or "").lower() in ids]
    return found


def holds_of_result(
    caller: Caller, path: str, result: dict[str, Any], seen: list[ImageSet], more: list[Patient]
) -> None:
    """What a result says is true of an image set that the caller may see, or else of one of `more` patients."""
    uids = [value(result, tag) for tag in ("0020000D", "0020000E", "00080018")]
    own = [
        one
        for one in seen
        if uids[0] in (None, one.study)
        and uids[1] in (None, one.series)
        and (uids[2] is None or uids[2] in dict(one.marks))
    ]
    told = (value(result, "00100010"), value(result, "00100020"), value(result, "00100030"))
    assert own, (caller, path, result)
    patients = [*(one.patient for one in own), *more]
    names = {one.name for one in patients}
    assert told[0] in {None, *names}, (caller, path, told, names)
    assert told[2] in {None, *(one.elements()["PatientBirthDate"] for one in patients)}, (caller, path, told)
    marks = {text_of(mark) for one in own for _, mark in one.marks}
    assert value(result, "00204000") in {None, *marks}, (caller, path, result)


@settings(max_examples=EXAMPLES, deadline=None, derandomize="IDENTITY_EXAMPLES" not in os.environ,
          suppress_health_check=list(HealthCheck), phases=PHASES)  # fmt: skip
@given(archives(), st.booleans())
@pytest.mark.slow
def test_search_counts_and_retrieval_agree(image_sets: list[ImageSet], instances: bool) -> None:
    with served(image_sets, Harm(), instances=instances) as (client, _):
        studies = {one.study: {other.patient for other in image_sets if other.study == one.study} for one in image_sets}
        for study, patients in sorted(studies.items()):
            model = shown(image_sets, study)
            listed = json.loads(got(client, f"/aetitle/studies/{study}/instances")[1])
            assert sorted((value(one, "0020000E"), value(one, "00080018")) for one in listed) == sorted(model)
            counted = json.loads(got(client, f"/aetitle/studies/{study}/instances/count")[1])
            assert counted == {"count": len(model)}
            (of_study,) = json.loads(got(client, f"/aetitle/studies?StudyInstanceUID={study}")[1])
            assert value(of_study, "00201208") == len(model)
            assert value(of_study, "00201206") == len({series for series, _ in model})
            if len(patients) == 1:
                named = json.loads(got(client, f"/aetitle/studies?PatientName={[*patients][0].name}")[1])
                assert study in [value(one, "0020000D") for one in named], (study, patients)
        listed = json.loads(got(client, "/aetitle/studies")[1])
        assert sorted(value(one, "0020000D") for one in listed) == sorted(studies)
        assert json.loads(got(client, "/aetitle/studies/count")[1]) == {"count": len(listed)}


NAMELESS = [
    ImageSet(number, STORES[0], PATIENTS[4 + number % 2], f"1.2.3.1{number}", f"1.2.3.2{number}", "CT", "Thorax",
             ((f"1.2.3.3{number}", number),))
    for number in range(1, 8)
]  # fmt: skip
"""Studies of two patients without an ID; their row has the name of the one who came last."""


@pytest.mark.parametrize("most", [0, 2, 5])
@pytest.mark.parametrize("root", ["theta", "first"])
def test_beyond_the_bound_a_limited_caller_sees_no_doubtful_row(root: str, most: int) -> None:
    own = Patient("OWN", "THETA^ONE")
    certain = ImageSet(9, STORES[0], own, "1.2.3.19", "1.2.3.29", "CT", "Thorax", (("1.2.3.39", 9),))
    (caller,) = (one for one in callers() if one.root == f"/{root}")
    true = {one.study: one.patient.name for one in [*NAMELESS, certain]}
    with served([*NAMELESS, certain], Harm(), [caller], search_max_image_sets=most) as (client, _):
        for level in ("studies", "series"):
            answer = client.get(f"/{root}/{level}?{FIELDS[0]}", headers={"Accept": "application/dicom+json"})
            assert answer.status_code == 200
            found = {value(one, "0020000D"): value(one, "00100010") for one in answer.get_json()}
            assert found.items() <= true.items(), "no row that was not checked"
            assert len(found) <= most + 1
            assert certain.study in found, "what is not in doubt is there"
            assert "have been left out" in answer.headers.get("Warning", ""), "it is told"
            counted = client.get(f"/{root}/{level}/count").get_json()
            assert counted["count"] <= most + 1


@pytest.mark.parametrize("most", [0, 2, 5])
def test_beyond_the_bound_others_see_doubtful_rows_without_what_is_shared(most: int) -> None:
    true = {one.study: one.patient.name for one in NAMELESS}
    with served(NAMELESS, Harm(), search_max_image_sets=most) as (client, _):
        answer = client.get(f"/aetitle/studies?{FIELDS[0]}", headers={"Accept": "application/dicom+json"})
        found = {value(one, "0020000D"): value(one, "00100010") for one in answer.get_json()}
        assert found.keys() == true.keys()
        checked = {study: name for study, name in found.items() if name is not None}
        assert checked.items() <= true.items()
        assert len(checked) == most
        assert "could not be checked" in answer.headers["Warning"]
        assert client.get("/aetitle/studies/count").get_json() == {"count": len(NAMELESS)}


def test_a_search_finds_patients_of_two_data_stores_who_have_the_same_id() -> None:
    """The index has the name of the second one for both."""
    first = ImageSet(1, STORES[0], PATIENTS[1], STUDIES[0], SERIES[0], "CT", "Thorax", ((INSTANCES[0], 1),))
    second = ImageSet(2, STORES[1], PATIENTS[0], STUDIES[1], SERIES[1], "CT", "Thorax", ((INSTANCES[1], 2),))
    with served([first, second], Harm()) as (client, _):
        for one in (first, second):
            (found,) = json.loads(got(client, f"/aetitle/studies?PatientName={one.patient.name}")[1])
            assert (value(found, "0020000D"), value(found, "00100010")) == (one.study, one.patient.name)
        patients = json.loads(got(client, "/aetitle/patients")[1])
        assert sorted(value(one, "00100010") for one in patients) == sorted([PATIENTS[0].name, PATIENTS[1].name])


def test_a_search_finds_who_shares_a_row() -> None:
    """Two patients without an ID; the index has the name of the second one for both."""
    first = ImageSet(1, STORES[0], PATIENTS[4], STUDIES[0], SERIES[0], "CT", "Thorax", ((INSTANCES[0], 1),))
    second = ImageSet(2, STORES[0], PATIENTS[5], STUDIES[1], SERIES[1], "CT", "Thorax", ((INSTANCES[1], 2),))
    with served([first, second], Harm()) as (client, _):
        for one in (first, second):
            for asked in (f"StudyInstanceUID={one.study}", f"PatientName={one.patient.name}"):
                (found,) = json.loads(got(client, f"/aetitle/studies?{asked}")[1])
                assert value(found, "0020000D") == one.study
                assert value(found, "00100010") == one.patient.name


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("root", ["p1", "two", "knee", "ct"])
@pytest.mark.slow
def test_a_filter_holds_where_patients_share_a_study(root: str, last: int) -> None:
    """Two patients, one Study Instance UID, no series in common: the row of the study is of who came last."""
    both = [
        ImageSet(1, STORES[0], PATIENTS[0], STUDIES[0], SERIES[0], "MR", "Thorax", ((INSTANCES[0], 1),)),
        ImageSet(2, STORES[0], PATIENTS[3], STUDIES[0], SERIES[1], "CT", "Knee", ((INSTANCES[1], 2),)),
    ]
    (caller,) = (one for one in callers() if one.root == f"/{root}")
    (hidden,) = (one for one in both if one not in caller.sees(both))
    with served(both if last else both[::-1], Harm(), [caller]) as (client, _):
        for resource in SEARCHES:
            for fields in FIELDS:
                path = f"/{root}{resource}?{fields}".format(study=STUDIES[0], series=hidden.series)
                _, body, media_type = got(client, path, "application/dicom+json")
                assert hidden.patient.name.encode() not in body, path
                assert hidden.description.encode() not in body, path
                assert not marks_in(body, media_type) & {hidden.number}, path
                assert hidden.series.encode() not in body, path


@pytest.mark.parametrize("last", [0, 1])
def test_an_instance_uid_in_two_series(last: int) -> None:
    """The index has one row for both; searches, counts and retrieval agree that both are there."""
    both = [
        ImageSet(
            1,
            STORES[0],
            PATIENTS[0],
            STUDIES[0],
            SERIES[0],
            "MR",
            "Thorax",
            tuple(zip(INSTANCES, (1, 2, 3), strict=True)),
        ),
        ImageSet(2, STORES[0], PATIENTS[3], STUDIES[1], SERIES[1], "CT", "Knee", ((INSTANCES[1], 4),)),
    ]
    with served(both if last else both[::-1], Harm()) as (client, _):
        for one in both:
            uids, marks = sorted(uid for uid, _ in one.marks), {mark for _, mark in one.marks}
            study, series = f"/aetitle/studies/{one.study}", f"/aetitle/studies/{one.study}/series/{one.series}"
            for path in (f"{study}/instances", f"{series}/instances",
                         "/aetitle/instances?SeriesInstanceUID=" + one.series):  # fmt: skip
                listed = json.loads(got(client, path)[1])
                assert sorted(value(result, "00080018") for result in listed) == uids, path
                counted = json.loads(got(client, path.replace("/instances", "/instances/count"))[1])
                assert counted == {"count": len(uids)}, path
                _, body, media_type = got(client, f"{path}{'&' if '?' in path else '?'}includefield=all")
                assert marks_in(body, media_type) == marks, path
            for path in (f"{study}/metadata", f"{series}/metadata"):
                assert marks_in(got(client, path)[1], "application/dicom+json") == marks, path
        _, body, media_type = got(client, "/aetitle/instances?includefield=all")
        for result in json.loads(body):
            (own,) = (one for one in both if one.series == value(result, "0020000E"))
            assert value(result, "00204000") == text_of(dict(own.marks)[value(result, "00080018")])
            assert value(result, "00100010") == own.patient.name


def test_a_study_whose_series_another_uses_opens() -> None:
    """The index has moved the series of the first study to the second one."""
    first = ImageSet(1, STORES[0], PATIENTS[0], STUDIES[0], SERIES[0], "CT", "Thorax", ((INSTANCES[0], 1),))
    second = ImageSet(2, STORES[0], PATIENTS[3], STUDIES[1], SERIES[0], "CT", "Thorax", ((INSTANCES[1], 2),))
    with served([first, second], Harm()) as (client, memory):
        for one in (first, second, first):
            _, body, media_type = got(client, f"/aetitle/studies/{one.study}/metadata")
            assert marks_in(body, media_type) == {one.number}
        assert memory.searched.count((STORES[0], first.study)) == 1, "what was found is remembered"


@pytest.mark.parametrize("uid", ["no_uid", "hash-0123"])
def test_ahi_is_not_asked_for_what_is_no_uid(uid: str) -> None:
    with served([], Harm()) as (client, memory):
        assert client.get(f"/aetitle/studies/{uid}/metadata").status_code == 400
        assert memory.searched == []
