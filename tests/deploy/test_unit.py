"""The systemd unit: understood, hardened, and told when the service is ready."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.commands.check_service import _AUDIT_ADVICE
from index.follow.queue import WAIT_SECONDS
from tests.deploy.files import ENVIRONMENT_FILE, INDEX_UNIT, ROOT, UNIT, UNITS
from tests.service.process import Service

EXPOSURE_AT_MOST = 15  # tenths of 10, which is a unit without any protection


@pytest.mark.service
@pytest.mark.parametrize("source", UNITS, ids=lambda path: path.name)
def test_systemd_understands_the_unit(source: Path, tmp_path: Path) -> None:
    """With the interpreter of the unit replaced by one that is here."""
    unit = tmp_path / source.name
    unit.write_text(source.read_text().replace("/opt/ahi-dicomweb-proxy/.venv/bin/python", "/bin/true"))
    found = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (found.returncode, [line for line in found.stderr.splitlines() if unit.name in line]) == (0, [])


@pytest.mark.service
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_the_unit_is_hardened(unit: Path) -> None:
    command = [
        "systemd-analyze",
        "security",
        "--offline=true",
        f"--threshold={EXPOSURE_AT_MOST}",
        "--no-pager",
        str(unit),
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_the_command_for_operators_runs_as_the_service_does() -> None:
    unit = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if re.match("[A-Z][A-Za-z]+=", line))
    words = shlex.split((UNIT.parent / "dicomweb").read_text().partition("exec ")[2])
    given = dict(word.removeprefix("--property=").split("=", 1) for word in words if word.startswith("--property="))
    assert given.pop("User") == UNIT.stem  # what systemd calls a dynamic user without a name
    assert given == {name: unit[name] for name in given}
    shared = {"CacheDirectory", "LogsDirectory", "DynamicUser", "Environment", "EnvironmentFile", "WorkingDirectory"}
    assert shared <= given.keys()
    assert words[-3:] == [*unit["ExecStart"].split(), "$@"]


def test_the_units_share_no_settings() -> None:
    """The login that may write is in a file of its own."""
    files = [re.findall(r"^EnvironmentFile=(.+)$", unit.read_text(), flags=re.MULTILINE) for unit in UNITS]
    assert files == [[f"/etc/{file.name}"] for file in UNITS.values()]
    assert "INDEX_WRITE" not in ENVIRONMENT_FILE.read_text()


def test_the_index_has_time_to_end_what_it_has_begun() -> None:
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", INDEX_UNIT.read_text(), flags=re.MULTILINE)
    assert int(seconds) > WAIT_SECONDS + 60


def test_the_audit_file_is_in_the_folder_that_the_unit_makes() -> None:
    (name,) = re.findall(r"^LogsDirectory=(.+)$", UNIT.read_text(), flags=re.MULTILINE)
    assert f"#AUDIT_FILE=/var/log/{name}/" in ENVIRONMENT_FILE.read_text()
    assert f"/var/log/{name}" in _AUDIT_ADVICE["file"]


@pytest.mark.service
@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_tells_when_it_is_ready_and_when_it_stops(tmp_path: Path, *, abstract: bool) -> None:
    name = f"@notify-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(name.replace("@", "\0"))
        told.settimeout(60)
        index = {"DATABASE_URL": f"sqlite:///{tmp_path}/index", "AWS_DEFAULT_REGION": "us-east-1"}
        service = Service(tmp_path / "service", {**index, "NOTIFY_SOCKET": name}, healthy=False)
        assert told.recv(100) == b"READY=1"
        assert service.command("probe").returncode == 0
        assert service.stop() == 0
        assert told.recv(100) == b"STOPPING=1"
        assert service.command("probe").returncode == 1


@pytest.mark.service
def test_the_service_tells_that_it_looks_after_its_processes_until_it_cannot(tmp_path: Path) -> None:
    (seconds,) = re.findall(r"^WatchdogSec=(\d+)$", UNIT.read_text(), flags=re.MULTILINE)
    assert int(seconds) >= 60
    assert "NotifyAccess=main" in UNIT.read_text().splitlines()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(60)
        index = {"DATABASE_URL": f"sqlite:///{tmp_path}/index", "AWS_DEFAULT_REGION": "us-east-1"}
        watched = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": f"{seconds}000000"}
        service = Service(tmp_path / "service", {**index, **watched}, healthy=False)
        assert told.recv(100) == b"READY=1"
        assert [told.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        service.process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        told.settimeout(0.1)
        with pytest.raises(TimeoutError):
            while told.recv(100):  # what was told before
                pass
        with pytest.raises(TimeoutError):
            told.settimeout(4)
            told.recv(100)
        service.process.send_signal(signal.SIGCONT)
        told.settimeout(60)
        assert told.recv(100) == b"WATCHDOG=1"
        assert service.stop() == 0


NOBODY = {"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:9", "AWS_EC2_METADATA_DISABLED": "true"}
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
SECRET = {"DB_SECRET_ARN": "arn:aws:secretsmanager:us-east-1:1:secret:index", "HOME": "/nowhere", **NOBODY}


@pytest.mark.service
@pytest.mark.parametrize(
    ("environment", "tried_again"),
    [
        pytest.param({"PORT": "none"}, False, id="a wrong setting"),
        pytest.param({**SECRET, **KEYS}, True, id="Secrets Manager does not answer"),
        pytest.param({**SECRET, "AWS_DEFAULT_REGION": "us-east-1"}, True, id="the role is not there yet"),
    ],
)
def test_a_start_that_fails_is_tried_again_where_that_may_help(
    tmp_path: Path, environment: dict[str, str], *, tried_again: bool
) -> None:
    command = [sys.executable, str(ROOT / "main.py")]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    (gives_up_at,) = re.findall(r"^RestartPreventExitStatus=(\d+)$", UNIT.read_text(), flags=re.MULTILINE)
    assert (ended.returncode != int(gives_up_at)) is tried_again
    assert len(ended.stderr.splitlines()) == 1
    assert "StartLimitIntervalSec=0" in UNIT.read_text().splitlines()
