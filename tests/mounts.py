"""Mounts that one command and its processes see, and the variable by which a program knows that it is an ECS task."""

import subprocess
from pathlib import Path

import pytest

TASK = {"ECS_CONTAINER_METADATA_URI_V4": "http://127.0.0.1/v4"}
FARGATE = {**TASK, "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"}
TMPFS = 'mount -t tmpfs tmpfs "$0"'
OVERLAY = 'mkdir "$0.up" "$0.work" && mount -t overlay -o "lowerdir=$0,upperdir=$0.up,workdir=$0.work" overlay "$0"'


def mounted(mount: str, folder: Path) -> list[str]:
    """A command under which another sees this mount at the folder; skips where this user may not mount."""
    folder.mkdir(parents=True)
    with_mount = ["unshare", "--mount", "--map-root-user", "sh", "-c", f'{mount} && exec "$@"', str(folder)]
    if subprocess.run([*with_mount[:5], "true", str(folder)], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount")
    return with_mount
