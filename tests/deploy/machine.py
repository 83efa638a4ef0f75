"""A machine to install things on: the files of this one under a layer of its own, and processes of its own.

It shares the network with this machine, so that servers of a test can be reached. Needs root, and that the Python of
the tests is on the same file system as `/`. All is gone when it is closed.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.deploy.files import ROOT

_ENTER = """
set -e
mount -t tmpfs -o size=6g tmpfs "$FOLDER"
cd "$FOLDER"
mkdir upper work root
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
cd root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s /proc/self/fd dev/fd
ln -s pts/ptmx dev/ptmx
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "dev/${node%:*}" c 1 "${node#*:}"; done
mknod -m 666 dev/tty c 5 0
mknod dev/console c 5 1
rm -rf etc/systemd/system/*.wants
mkdir .old
pivot_root . .old
umount -l /.old
rmdir /.old
mount --make-rshared /
touch /run/ready
exec "$@"
"""

_START_SECONDS = 30


class Machine:
    """Runs its first process, and whatever else it is asked to."""

    def __init__(self, first: Sequence[str]) -> None:
        """Start it; what `first` starts from here, say systemd, is its process 1."""
        self._folder = Path(tempfile.mkdtemp(prefix="test-machine-"))
        apart = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
        self._outer = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", *apart, "bash", "-c", _ENTER, "enter", *first],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "FOLDER": str(self._folder), "container": "other"},
            stdin=subprocess.DEVNULL,
        )
        give_up = time.monotonic() + _START_SECONDS
        while self.run("test", "-e", "/run/ready").returncode:
            if self._outer.poll() is not None or time.monotonic() > give_up:
                self.close()
                pytest.fail("the machine does not start")
            time.sleep(0.2)

    def run(self, *command: str, text_in: bytes = b"") -> "subprocess.CompletedProcess[str]":
        """Run a command on it as root."""
        (first,) = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split() or ("0",)
        inside = ["nsenter", f"--target={first}", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root", "--wd"]
        done = subprocess.run(
            [*inside, *command],
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
            input=text_in,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(errors="replace"))

    def check(self, *command: str, text_in: bytes = b"") -> str:
        """Run a command that must succeed; what it said."""
        done = self.run(*command, text_in=text_in)
        assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}"
        return done.stdout

    def receive(self, *sources: str, folder: str) -> None:
        """Copy files and folders of the project, without what git does not know, into a folder there."""
        listed = subprocess.run(["git", "ls-files", "-z", *sources], cwd=ROOT, check=True, capture_output=True).stdout
        archive = ["tar", "--create", "--null", "--files-from=-", "--owner=0", "--group=0"]
        packed = subprocess.run(archive, cwd=ROOT, check=True, capture_output=True, input=listed).stdout
        self.check("mkdir", "-p", folder)
        self.check("tar", "--extract", "--directory", folder, text_in=packed)

    def close(self) -> None:
        """End all of it."""
        self._outer.send_signal(signal.SIGKILL)  # which its first process gets with it
        self._outer.wait()
        os.rmdir(self._folder)  # noqa: PTH106 - what was in it is gone with its mounts
