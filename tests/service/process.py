"""The service as its users start it: `python main.py` in a process of its own, on a free port."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import requests

from tests.servers import free_port
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, str(ROOT / "main.py"))


class Service:
    """A running service; its log is in `log`."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        *,
        healthy: bool = True,
        under: Sequence[str] = (),
        program: Sequence[str] = PROGRAM,
    ) -> None:
        """Start it with the variables of `environment` and its cache in `folder`; wait until it is healthy.

        `under` is a command that runs the command that follows it, in its own process; `program` is what is started.
        """
        self._program = program
        folder.mkdir(parents=True, exist_ok=True)
        self.log_path = folder / "log"
        self.port = free_port()
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        own = {"HOST": "127.0.0.1", "PORT": str(self.port), "CACHE_ROOT": str(folder / "cache")}
        self._environment = {**inherited, **own, **environment}
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*under, *program],
                cwd=folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait(lambda: self.status("/health") == 200 if healthy else self.status("/health") != 0, 120)

    @property
    def root(self) -> str:
        """The service root, as a client is configured."""
        return f"http://127.0.0.1:{self.port}/aetitle"

    @property
    def log(self) -> str:
        """All that it logged."""
        return self.log_path.read_text()

    def logs(self, text: str) -> None:
        """Wait until it has logged this text; a request is logged when its answer has been sent."""
        self.wait(lambda: text in self.log)

    def status(self, path: str) -> int:
        """The status of a GET; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(self.root + path, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 - our own loopback
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    def answer(self, path: str, status: int) -> requests.Response:
        """The first answer with this status: each web process has its own view of what it depends on."""
        answers: list[requests.Response] = []

        def has_it() -> bool:
            answers[:] = [requests.get(self.root + path, timeout=PATIENCE_SECONDS)]
            return answers[0].status_code == status

        self.wait(has_it)
        return answers[0]

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Another command of the program, run with the same settings."""
        command = [*self._program, *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False, timeout=120)

    def wait(self, condition: Callable[..., bool], seconds: float = 0) -> None:
        """Until the condition holds, for PATIENCE_SECONDS or longer if it may need that; a failure shows the log."""
        deadline = time.monotonic() + max(seconds, PATIENCE_SECONDS)
        while not condition():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log[-3000:]
            time.sleep(0.05)

    def children(self) -> set[int]:
        """The processes below it that are alive."""
        return {pid for pid, parent in _processes() if parent == self.process.pid}

    def named(self, beginning: str) -> list[int]:
        """The processes below it whose name, as `ps` shows it, begins like that; one that has just begun has none."""
        return sorted(pid for pid in self.children() if _name(pid).startswith(beginning))

    def all_named(self, beginning: str, count: int) -> list[int]:
        """The same, once there are so many of them: the first one answers before the last one has its name."""
        self.wait(lambda: len(self.named(beginning)) == count)
        return self.named(beginning)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its end; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE_SECONDS)


def _processes() -> Iterator[tuple[int, int]]:
    """Every process that is not a zombie, with its parent."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                yield int(path.parent.name), int(parent)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:  # it ended meanwhile
        return ""


def alive(pid: int) -> bool:
    """Whether a process still runs."""
    return pid in dict(_processes())
