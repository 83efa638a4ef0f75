"""Sample data never pass for an archive: a start without an index is refused, or the service says what it serves."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import requests

from app.commands.serve import check_index_is_meant
from app.settings import Settings, SettingsError
from tests.service.process import PROGRAM, Service

SAMPLE = json.loads((Path(__file__).parents[1] / "deploy" / "sample_commands.json").read_text())
"""What the proxy of the AWS sample logs and answers."""

BOTH = {"DATABASE_URL": "sqlite:///index", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.mark.parametrize(
    "settings",
    [
        {"HOST": "0.0.0.0"},  # noqa: S104 - refused
        {"HOST": "192.0.2.1", "DB_SECRET_ARN": ""},
        {"EMBEDDED": "false"},
        {"EMBEDDED": "false", "HOST": "127.0.0.1", "DATABASE_URL": " "},
    ],
)
def test_a_forgotten_setting_is_one_line(tmp_path: Path, settings: dict[str, str]) -> None:
    environment = {"PATH": os.environ["PATH"], **settings}
    ended = subprocess.run(PROGRAM, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    (line,) = ended.stderr.splitlines()
    assert all(name in line for name in ("DB_SECRET_ARN", "DATABASE_URL", "EMBEDDED=true"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "refused"),
    [
        ({}, False),
        ({"HOST": ""}, False),
        ({"HOST": "::1"}, False),
        ({"HOST": "0.0.0.0", "EMBEDDED": "true"}, False),  # noqa: S104 - nothing listens
        ({"HOST": "0.0.0.0"}, True),  # noqa: S104
        ({"EMBEDDED": "false", **BOTH}, False),
        ({"HOST": "0.0.0.0", **BOTH}, False),  # noqa: S104
        ({"EMBEDDED": "true", **BOTH}, True),
    ],
)
def test_the_embedded_data_store_is_for_loopback_or_a_wish(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], *, refused: bool
) -> None:
    monkeypatch.setattr(os, "environ", environment)
    settings = Settings.from_env(environment)
    if refused:
        with pytest.raises(SettingsError, match="EMBEDDED=true"):
            check_index_is_meant(settings)
    else:
        check_index_is_meant(settings)


def test_the_embedded_data_store_says_that_its_data_are_samples(datastore_root: Path, tmp_path: Path) -> None:
    service = Service(tmp_path, {"DATASTORE_ROOT": str(datastore_root)})
    service.logs("WARNING app.commands.serve this service serves sample data, not AHI")
    for line in SAMPLE["log"]:
        service.logs(line.format(host="127.0.0.1", port=service.port))
    for path, status in SAMPLE["paths"].items():
        assert requests.get(service.root.removesuffix("/aetitle") + path, timeout=60).status_code == status, path
    answer = requests.get(f"{service.root}/health", timeout=60)
    assert 'sample data, not AHI"' in answer.headers["Warning"]
    front_door = requests.get(service.root.removesuffix("aetitle"), timeout=60)
    assert (front_door.status_code, front_door.text) == (200, "OK")
    assert "Warning" not in front_door.headers
    assert service.stop() == 0
