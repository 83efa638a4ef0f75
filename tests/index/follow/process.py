"""`python main.py index --follow` as its users start it: a process of its own, with settings of the environment."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.service.process import PROGRAM
from tests.waiting import PATIENCE_SECONDS, wait_for


class FollowerProcess:
    """A running follower; its log is in `log`."""

    def __init__(self, folder: Path, environment: Mapping[str, str], program: Sequence[str] = PROGRAM) -> None:
        """Start it, and wait until it follows."""
        self._path = folder / "follower.log"
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        with self._path.open("ab") as log:
            self._process = subprocess.Popen(
                [*program, "index", "--follow"],
                cwd=folder,
                env={**inherited, **credentials, **environment},
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: "following by" in self.log or self._process.poll() is not None)
        assert self._process.poll() is None, self.log

    @property
    def log(self) -> str:
        """All that it logged, those included that ran in this folder before."""
        return self._path.read_text()

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)

    def stop(self) -> int:
        """End it as systemd does; the exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE_SECONDS)
