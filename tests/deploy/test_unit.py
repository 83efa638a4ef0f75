"""The systemd unit: understood, hardened, and told when the service is ready."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.deploy.files import UNIT
from tests.service.process import Service

EXPOSURE_AT_MOST = 15  # tenths of 10, which is a unit without any protection


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """With the interpreter of the unit replaced by one that is here."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/ahi-dicomweb-proxy/.venv/bin/python", "/bin/true"))
    found = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (found.returncode, [line for line in found.stderr.splitlines() if UNIT.name in line]) == (0, [])


def test_the_unit_is_hardened() -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_AT_MOST}", "--no-pager", UNIT]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


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
