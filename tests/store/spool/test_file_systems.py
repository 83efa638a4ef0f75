"""A file system that ends with the machine or the task is recognised, on real mounts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from store.spool.layout import passing_file_system
from tests.mounts import FARGATE, OVERLAY, TASK, TMPFS, mounted

ROOT = Path(__file__).parents[3]
TELL = "import sys; from pathlib import Path; from store.spool.layout import passing_file_system as kind; "
TELL += "print(kind(Path(sys.argv[1])))"


@pytest.mark.parametrize("name", ["disk", "a disk", "disk\twith\\all", "größe"])
@pytest.mark.parametrize(
    ("mount", "environment", "kind"),
    [(TMPFS, {}, "tmpfs"), (OVERLAY, {}, ""), (OVERLAY, TASK, "overlay"), (OVERLAY, FARGATE, "overlay")],
)
def test_a_mount_that_does_not_last(
    mount: str, environment: dict[str, str], kind: str, name: str, tmp_path: Path
) -> None:
    if mount == OVERLAY and "\\" in name:
        pytest.skip("the options of an overlay cannot name this folder")
    under, spool = mounted(mount, tmp_path / name), tmp_path / name / "below" / "spool"
    command = [*under, "sh", "-c", 'mkdir -p "$0" && exec "$@"', str(spool), sys.executable, "-c", TELL, str(spool)]
    told = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
    )
    assert (told.stdout, told.stderr) == (f"{kind}\n", "")


def test_no_disk_of_a_fargate_task_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are deleted with the task, whatever their kind. A file system on the network is not."""
    for name, value in FARGATE.items():
        monkeypatch.setenv(name, value)
    assert passing_file_system(tmp_path)
    monkeypatch.setenv("AWS_EXECUTION_ENV", "AWS_ECS_EC2")
    assert passing_file_system(tmp_path) in ("", "overlay")


def test_a_link_leads_to_its_file_system(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/shm")  # noqa: S108 - the folder of every Linux that is in memory
    assert passing_file_system(tmp_path / "link") == "tmpfs"
