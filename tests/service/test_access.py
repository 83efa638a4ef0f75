"""Who may see what, over a real socket: rules and links hold at every resource, not only at the obvious ones."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
import requests

from tests.service.archive import Sample
from tests.service.process import Service
from tests.service.resources import BELOW_A_STUDY, path_of

CT, MR = "CT_small.dcm", "MR_small.dcm"


@pytest.fixture(scope="module")
def guarded(
    datastore_root: Path, samples: dict[str, Sample], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service where `all` sees everything, and `ct` one study of CT."""
    folder = tmp_path_factory.mktemp("guarded")
    hashes = {name: bcrypt.hashpw(name.encode(), bcrypt.gensalt(4)).decode() for name in ("all", "ct", "nothing")}
    (folder / "users").write_text("".join(f"{name}:{value}\n" for name, value in hashes.items()))
    rules = [{"name": "all"}, {"name": "ct", "studies": [samples[CT].study_instance_uid]}]
    (folder / "rules").write_text(json.dumps(rules))
    environment = {
        "DATASTORE_ROOT": str(datastore_root),
        "AUTH": "basic",
        "AUTH_USERS_FILE": str(folder / "users"),
        "ACCESS_RULES": str(folder / "rules"),
        "LINK_SECRET": "s" * 40,
    }
    service = Service(folder / "service", environment)
    yield service
    assert service.stop() == 0


def get(service: Service, user: str | None, path: str, sample: Sample, root: str = "/aetitle") -> requests.Response:
    path = path_of(path, sample)
    login = (user, user) if user else None
    return requests.get(f"http://127.0.0.1:{service.port}{root}{path}", auth=login, timeout=60)


@pytest.mark.parametrize("path", BELOW_A_STUDY)
def test_a_study_that_may_not_be_seen_is_not_there(guarded: Service, samples: dict[str, Sample], path: str) -> None:
    expected, shown = (get(guarded, user, path, samples[CT]) for user in ("all", "ct"))
    assert shown.status_code == expected.status_code
    assert get(guarded, "all", path, samples[MR]).status_code != 403
    hidden = get(guarded, "ct", path, samples[MR])
    assert hidden.status_code == 404
    assert samples[MR].study_instance_uid not in hidden.text
    assert get(guarded, "nothing", path, samples[CT]).status_code == 403
    assert get(guarded, None, path, samples[CT]).status_code == 401


@pytest.mark.parametrize("path", ["/patients", "/studies", "/series", "/instances"])
def test_nothing_else_is_found_or_counted(guarded: Service, samples: dict[str, Sample], path: str) -> None:
    answer = get(guarded, "ct", f"{path}?includefield=all&count=true", samples[CT])
    assert answer.headers["X-Total-Count"] == "1"
    assert len(answer.json()) == 1
    assert get(guarded, "ct", f"{path}/count", samples[CT]).json() == {"count": 1}
    assert get(guarded, "all", f"{path}/count", samples[CT]).json()["count"] > 1


def test_a_link_from_the_command_line_opens_one_study(guarded: Service, samples: dict[str, Sample]) -> None:
    made = guarded.command("link", samples[MR].study_instance_uid, "--hours", "1")
    root = re.search(r"DICOMweb  http://[^/]+(/link/\S+)", made.stdout)
    assert root, made.stderr
    shown = get(guarded, None, "/studies/<study>/series/<series>/metadata", samples[MR], root[1])
    assert shown.status_code == 200
    assert get(guarded, None, "/studies/<study>", samples[CT], root[1]).status_code == 404
    (found,) = get(guarded, None, "/studies", samples[MR], root[1]).json()
    assert found["00081190"]["Value"][0].endswith(f"{root[1]}/studies/{samples[MR].study_instance_uid}")
    guarded.logs(f"request={shown.headers['X-Request-ID']}")
    assert root[1].rpartition("/")[2] not in guarded.log
