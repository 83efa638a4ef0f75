"""Nothing that a rule forbids appears in any answer: rules are models, too, and all answers are held to them."""

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import bcrypt
import numpy as np
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from datastore.embedded import Embedded
from tests.service.process import ROOT, Service

RESOURCES = [
    line.split("`")[1] for line in (ROOT / "doc/conformance.md").read_text().splitlines() if line[:4] == "| `/"
]
BELOW_A_STUDY = [path for path in RESOURCES if "<study>" in path]
URI = "/wado?requestType=WADO&studyUID=<study>&seriesUID=<series>&objectUID=<instance>"
OF_FLOATS = ("/bulkdata/7FE00008", "/bulkdata/7FE00009")
"""Of pixels that this archive has none of: tests/service/test_float_pixels.py."""
SEARCHES = [path for path in RESOURCES if re.fullmatch(r"/(patients|studies|series|instances)(/count)?", path)]
_BULK_BYTES = 40 * 2**10


@dataclass(frozen=True)
class Made:
    """One instance of the archive, by what rules may ask of it; `value` is that of all its pixels."""

    number: int
    patient: int
    modality: str
    institution: str
    description: str
    modalities: frozenset[str]
    path: tuple[str, str, str]

    @property
    def value(self) -> int:
        return 0x4100 + self.number

    @property
    def patient_id(self) -> str:
        return f"PATIENT-{self.patient}"

    def data_set(self) -> Dataset:
        made = Dataset()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.SOPClassUID = CTImageStorage
        made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID = self.path
        made.PatientID, made.PatientName = self.patient_id, f"NAME-{self.patient}^X"
        made.StudyDate, made.StudyTime, made.Modality = "20240101", "101010", self.modality
        made.InstitutionName, made.StudyDescription = self.institution, self.description
        made.InstanceNumber = made.SeriesNumber = self.number
        made.Rows = made.Columns = 16
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
        made.PixelData = np.full((16, 16), self.value, "<u2").tobytes()
        made.ICCProfile = self.bulk
        return made

    @property
    def bulk(self) -> bytes:
        return f"bulk of {self.number:02} ".encode() * (_BULK_BYTES // 11)

    @property
    def marks(self) -> set[bytes]:
        """What an answer that has anything of this instance has."""
        pixels = np.full(16, self.value, "<u2").tobytes()
        return {*(uid.encode() for uid in self.path), self.bulk[:11], pixels}


def made_archive() -> tuple[Made, ...]:
    """Six studies of four patients, with one to three series, of one or two instances."""
    found: list[Made] = []
    for study in range(6):
        kinds = (("CT", "MR", "OT")[study % 3 :] + ("CT", "MR"))[: study % 3 + 1]
        for series, modality in enumerate(kinds):
            uids = f"1.2.826.7{study}", f"1.2.826.7{study}.8{series}"
            found += [
                Made(
                    len(found) + each,
                    study % 4,
                    modality,
                    ("North Hospital", "South", "Northern")[(study + series) % 3],
                    ("Knee", "Thorax")[study % 2],
                    frozenset(kinds),
                    (*uids, f"{uids[1]}.9{each}"),
                )
                for each in range(1 + (study + series) % 2)
            ]
    return tuple(found)


ARCHIVE = made_archive()
STUDIES = sorted({one.path[0] for one in ARCHIVE})

Model = Callable[[Made], bool]
USERS: dict[str, tuple[dict[str, Any], Model]] = {
    "all": ({}, lambda _: True),
    "nobody": ({"filter": {"PatientID": "NOBODY"}}, lambda _: False),
    "elsewhere": ({"datastores": ["0" * 32]}, lambda _: False),
    "studies": ({"studies": STUDIES[1:3]}, lambda one: one.path[0] in STUDIES[1:3]),
    "mr": ({"filter": {"Modality": "MR"}}, lambda one: one.modality == "MR"),
    "north": ({"filter": {"InstitutionName": "North*"}}, lambda one: one.institution.startswith("North")),
    "patients": ({"filter": {"PatientID": ["PATIENT-0", "PATIENT-3"]}}, lambda one: one.patient in (0, 3)),
    "knee": ({"filter": {"StudyDescription": "Knee"}}, lambda one: one.description == "Knee"),
    "with-ot": ({"filter": {"ModalitiesInStudy": "OT"}}, lambda one: "OT" in one.modalities),
    "both": (
        {"studies": STUDIES[2:], "filter": {"Modality": ["CT", "OT"]}},
        lambda one: one.path[0] in STUDIES[2:] and one.modality in ("CT", "OT"),
    ),
}


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("filtered")
    (folder / "files").mkdir()
    for one in ARCHIVE:
        one.data_set().save_as(folder / "files" / str(one.number), enforce_file_format=True)
    Embedded(folder / "store").fill([folder / "files"])
    hashed = {name: bcrypt.hashpw(name.encode(), bcrypt.gensalt(4)).decode() for name in USERS}
    (folder / "users").write_text("".join(f"{name}:{value}\n" for name, value in hashed.items()))
    (folder / "rules").write_text(json.dumps([{"name": name, **rule} for name, (rule, _) in USERS.items()]))
    service = Service(
        folder / "service",
        {
            "DATASTORE_ROOT": str(folder / "store"),
            "AUTH": "basic",
            "AUTH_USERS_FILE": str(folder / "users"),
            "ACCESS_RULES": str(folder / "rules"),
            "WEB_PROCESSES": "1",
        },
    )
    yield service
    assert service.stop() == 0


def get(service: Service, user: str, path: str, accept: str = "*/*") -> requests.Response:
    return requests.get(service.root + path, auth=(user, user), headers={"Accept": accept}, timeout=60)


def told(answer: requests.Response) -> bytes:
    """All that an answer says; its headers, and its body without compression."""
    body = answer.content
    if answer.headers.get("Content-Type") == "application/zip":
        with zipfile.ZipFile(BytesIO(body)) as archive:
            body = b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    return repr(dict(answer.headers)).encode() + body


def forbidden(user: str, asked: str) -> set[bytes]:
    """What must not be told to a user, but for what they wrote themselves."""
    _, shows = USERS[user]
    shown, hidden = ([one for one in ARCHIVE if shows(one) is wanted] for wanted in (True, False))
    marks = {mark for one in hidden for mark in one.marks} - {mark for one in shown for mark in one.marks}
    patients = {one.patient for one in hidden} - {one.patient for one in shown}
    marks |= {text.encode() for patient in patients for text in (f"PATIENT-{patient}", f"NAME-{patient}")}
    inner = {uid.encode() for one in shown for uid in one.path}
    return {mark for mark in marks if mark not in asked.encode() and not any(mark in uid for uid in inner)}


def holds(user: str, asked: str, answer: requests.Response) -> None:
    said = told(answer)
    assert not {mark for mark in forbidden(user, asked) if mark in said}, (user, asked, answer.status_code)


paths = st.builds(
    lambda one, other, exchanged: tuple((other if level in exchanged else one).path[level] for level in range(3)),
    st.sampled_from(ARCHIVE),
    st.sampled_from(ARCHIVE),
    st.sets(st.integers(0, 2), max_size=1),
)
ACCEPTS = ("*/*", "application/zip", 'multipart/related; type="application/dicom"; transfer-syntax=*', "image/png")


def filled(resource: str, uids: tuple[str, ...]) -> str:
    known = {**dict(zip(("study", "series", "instance"), uids, strict=True)), "frame_list": "1"}
    return re.sub(r"<(?:path:)?(\w+)>", lambda name: known.get(name[1], "00282000"), resource)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    user=st.sampled_from(sorted(USERS)),
    resource=st.sampled_from([*BELOW_A_STUDY, URI]),
    uids=paths,
    accept=st.sampled_from(ACCEPTS),
)
def test_no_resource_of_a_study_tells_of_what_is_hidden(
    filtered: Service, user: str, resource: str, uids: tuple[str, str, str], accept: str
) -> None:
    asked = filled(resource, uids)
    answer = get(filtered, user, asked, accept)
    holds(user, asked, answer)
    depth = 3 if resource == URI else len(re.findall("<(study|series|instance)>", resource))
    _, shows = USERS[user]
    there = [one for one in ARCHIVE if one.path[:depth] == uids[:depth]]
    if any(map(shows, there)):
        assert answer.status_code == get(filtered, "all", asked, accept).status_code
    else:
        assert answer.status_code == 404
    assert answer.status_code in (200, 404, 406)


PARAMETERS = (
    *("includefield=all", "count=true", "limit=2", "offset=1", "fuzzymatching=true", "PatientName=NAME*"),
    *("PatientID=PATIENT-1", "PatientID=*", "Modality=CT", "ModalitiesInStudy=MR", "InstitutionName=South"),
    *("orderby=-PatientID", "emptyvaluematching=true", "StudyInstanceUID=1.2.826.71,1.2.826.72"),
    *("includefield=00201200,00201202,00201204,00201206,00201208", "SOPInstanceUID=1.2.826.70.80.90"),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    user=st.sampled_from(sorted(USERS)),
    resource=st.sampled_from(SEARCHES),
    parameters=st.lists(st.sampled_from(PARAMETERS), max_size=3, unique_by=lambda text: text.partition("=")[0]),
    accept=st.sampled_from(["application/dicom+json", 'multipart/related; type="application/dicom+xml"', "text/csv"]),
)
def test_no_search_finds_or_counts_what_is_hidden(
    filtered: Service, user: str, resource: str, parameters: list[str], accept: str
) -> None:
    asked = f"{resource}?{'&'.join(parameters)}"
    answer = get(filtered, user, asked, accept if "/count" not in resource else "*/*")
    holds(user, asked, answer)
    assert answer.status_code in (200, 204, 400), answer.text
    if parameters and parameters != ["includefield=all"]:
        return
    _, shows = USERS[user]
    level = {"patients": None, "studies": 1, "series": 2, "instances": 3}[resource.split("/")[1]]
    number = len({one.path[:level] if level else one.patient for one in ARCHIVE if shows(one)})
    if resource.endswith("/count"):
        assert answer.json() == {"count": number}
    elif accept == "application/dicom+json":
        assert len(answer.json() if answer.content else []) == number


@pytest.mark.parametrize("user", sorted(USERS))
def test_counts_within_results_are_of_what_is_shown(filtered: Service, user: str) -> None:
    _, shows = USERS[user]
    fields = "includefield=00201206,00201208,00080061"
    for found in get(filtered, user, f"/studies?{fields}").json():
        study = found["0020000D"]["Value"][0]
        shown = [one for one in ARCHIVE if one.path[0] == study and shows(one)]
        assert found["00201206"]["Value"] == [len({one.path[1] for one in shown})]
        assert found["00201208"]["Value"] == [len(shown)]
        assert set(found["00080061"]["Value"]) == {one.modality for one in shown}


@pytest.mark.parametrize("user", sorted(USERS))
def test_only_what_is_shown_may_be_prefetched(filtered: Service, user: str) -> None:
    _, shows = USERS[user]
    for study, series in sorted({one.path[:2] for one in ARCHIVE}):
        answer = requests.post(
            f"{filtered.root}/prefetch",
            json={"series": [{"study": study, "series": series}]},
            auth=(user, user),
            timeout=60,
        )
        there = any(shows(one) for one in ARCHIVE if one.path[:2] == (study, series))
        assert answer.status_code == (202 if there else 404)


@pytest.mark.parametrize("resource", [one for one in [*BELOW_A_STUDY, URI] if not one.endswith(OF_FLOATS)])
def test_every_resource_tells_something_to_who_may_see_it(filtered: Service, resource: str) -> None:
    """Else nothing would be shown by what it does not tell."""
    asked = filled(resource, ARCHIVE[-1].path)
    assert 200 in {get(filtered, "all", asked, accept).status_code for accept in ACCEPTS}


def test_a_model_that_shows_more_than_the_rule_would_be_noticed(filtered: Service) -> None:
    """The check itself can fail: what one user sees is forbidden to another."""
    asked = filled("/studies/<study>/metadata", ARCHIVE[0].path)
    with pytest.raises(AssertionError):
        holds("nobody", "", get(filtered, "all", asked))
