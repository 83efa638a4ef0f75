"""Nobody stores into what they may not see: rules, filters and AE titles, with a real index behind."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from app.auth.bearer import new_token
from store.outcome import FailureReason
from tests.service.storing import Storing, storing
from tests.store.dicom_files import content_type, file, multipart

RULES: list[dict[str, Any]] = [
    {"name": "admin", "rights": ["read", "store"]},
    {"name": "ward", "rights": ["read", "store"], "filter": {"PatientID": "W*"}},
    {"name": "trial", "rights": ["store"], "studies": ["1.5.1"]},
    {"name": "mr", "rights": ["read", "store"], "filter": {"Modality": "MR"}},
    {"name": "mixed", "rights": ["read", "store"], "filter": {"ModalitiesInStudy": "MR"}},
    {"name": "reader"},
]
AE_TITLES = {"north": {"filter": {"InstitutionName": "North*"}}}


@dataclass
class Clients:
    """The users of the rules, and the service."""

    running: Storing
    tokens: dict[str, str]

    def post(self, user: str, *files: bytes, root: str = "aetitle", study: str = "") -> requests.Response:
        """Store as a user."""
        headers = {"Authorization": f"Bearer {self.tokens[user]}", "Content-Type": content_type()}
        url = f"http://127.0.0.1:{self.running.service.port}/{root}/studies{study}"
        return requests.post(url, multipart(files), headers=headers, timeout=120)


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    folder = tmp_path_factory.mktemp("access")
    made = {rule["name"]: new_token(rule["name"]) for rule in RULES}
    (folder / "tokens").write_text("\n".join(line for _, line in made.values()))
    (folder / "rules").write_text(json.dumps(RULES))
    settings = {
        "AUTH": "bearer",
        "AUTH_TOKENS_FILE": str(folder / "tokens"),
        "ACCESS_RULES": str(folder / "rules"),
        "AE_TITLES": json.dumps(AE_TITLES),
    }
    with storing(folder / "running", **settings) as running:
        yield Clients(running, {name: token for name, (token, _) in made.items()})


def of(study: str, number: int = 1, **attributes: Any) -> bytes:
    """An image of a study, in a series for each number."""
    return file(f"{study}.{number}.1", study=study, series=f"{study}.{number}", **attributes)


def check_refused(answer: requests.Response) -> None:
    assert answer.status_code == 409, answer.text
    (item,) = answer.json()["00081198"]["Value"]
    assert item["00081197"]["Value"] == [int(FailureReason.NOT_AUTHORIZED)]


def test_without_the_right_nothing_is_stored(clients: Clients) -> None:
    assert clients.post("reader", of("1.1.1")).status_code == 403
    anonymous = requests.post(f"{clients.running.service.root}/studies", b"x", timeout=60)
    assert anonymous.status_code == 401


def test_an_instance_must_meet_the_filters(clients: Clients) -> None:
    assert clients.post("ward", of("1.2.1", PatientID="W1")).status_code == 200
    check_refused(clients.post("ward", of("1.2.2", PatientID="X1")))
    check_refused(clients.post("ward", of("1.2.3", PatientID="")))
    check_refused(clients.post("ward", of("1.2.4", PatientID=None)))
    mixed = clients.post("ward", of("1.2.5", PatientID="W1"), of("1.2.6", PatientID="X1"))
    assert mixed.status_code == 202


def test_a_hidden_study_gets_nothing(clients: Clients) -> None:
    """An instance may claim to be of the right patient, and of a study of another one."""
    assert clients.post("admin", of("1.3.1", PatientID="X1")).status_code == 200
    check_refused(clients.post("ward", of("1.3.1", 2, PatientID="W1")))
    assert clients.post("admin", of("1.3.2", PatientID="W2")).status_code == 200
    assert clients.post("ward", of("1.3.2", 2, PatientID="W2")).status_code == 200


def test_a_rule_for_one_study(clients: Clients) -> None:
    assert clients.post("trial", of("1.5.1")).status_code == 200
    assert clients.post("trial", of("1.5.1", 2)).status_code == 200
    check_refused(clients.post("trial", of("1.5.2")))


def test_a_filter_of_series(clients: Clients) -> None:
    assert clients.post("mr", of("1.6.1", Modality="MR")).status_code == 200
    check_refused(clients.post("mr", of("1.6.1", 2, Modality="CT")))


def test_a_filter_of_some_series(clients: Clients) -> None:
    """A report may be added to a study that has an MR series; it is no study that has one by itself."""
    check_refused(clients.post("mixed", of("1.7.1", Modality="SR")))
    assert clients.post("mixed", of("1.7.1", Modality="MR")).status_code == 200
    assert clients.post("mixed", of("1.7.1", 2, Modality="SR")).status_code == 200
    assert clients.post("admin", of("1.7.2", Modality="CT")).status_code == 200
    check_refused(clients.post("mixed", of("1.7.2", 2, Modality="MR")))


def test_the_filter_of_an_ae_title(clients: Clients) -> None:
    assert clients.post("admin", of("1.8.1", InstitutionName="North 1"), root="north").status_code == 200
    check_refused(clients.post("admin", of("1.8.2", InstitutionName="South"), root="north"))
    check_refused(clients.post("admin", of("1.8.3"), root="north"))
