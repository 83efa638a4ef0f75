"""The Dockerfile, replayed on a machine of its own where no engine is at hand. Run by script/try-image, as root.

Python is that of this machine and not of the base image, and both stages are one machine; all else is as in an image:
what RUN says is run, what COPY says is copied, and the service runs as the user, on a root file system that is
read-only, without rights.
"""

import json
import shlex
from collections.abc import Iterator

import pytest
import requests

from tests.deploy.files import instructions
from tests.deploy.machine import Machine
from tests.servers import free_port
from tests.waiting import wait_for

pytestmark = pytest.mark.service

SECONDS = 300  # to import the sample images


class Image:
    """What the instructions made."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.environment: dict[str, str] = {}
        self.folder, self.user, self.volumes = "/", "0:0", list[str]()
        self.health_check = self.command = list[str]()
        for name, words in instructions():
            getattr(self, f"_{name.lower()}")(words)

    def _arg(self, words: str) -> None:
        """The base image, which this machine stands for; what comes from Amazon is not had here."""

    _from = _expose = _stopsignal = _add = _arg

    def _workdir(self, words: str) -> None:
        self.folder = words
        self.machine.check("mkdir", "-p", words)

    def _copy(self, words: str) -> None:
        source, target = words.split()[-2:]
        if not words.startswith("--from"):
            assert target in ("./", f"./{source}")
            self.machine.receive(source, folder=self.folder)

    def _run(self, words: str) -> None:
        command = json.loads(words) if words.startswith("[") else ["sh", "-c", words]
        self.machine.check("env", f"--chdir={self.folder}", *command)

    def _env(self, words: str) -> None:
        usual = "/usr/local/bin:/usr/bin:/bin"
        self.environment |= dict(one.replace("$PATH", usual).split("=", 1) for one in shlex.split(words))

    def _user(self, words: str) -> None:
        self.user = words

    def _volume(self, words: str) -> None:
        self.volumes = json.loads(words)

    def _healthcheck(self, words: str) -> None:
        self.health_check = json.loads(words.partition("CMD ")[2])

    def _cmd(self, words: str) -> None:
        self.command = json.loads(words)

    def start(self, environment: dict[str, str]) -> None:
        """Make the root read-only but for volumes, as `docker run --read-only` does, and run the command."""
        for folder in self.volumes:
            owner = self.machine.check("stat", "--format=uid=%u,gid=%g,mode=%a", folder).strip()
            self.machine.check("mount", "-t", "tmpfs", "-o", owner, "tmpfs", folder)
        self.machine.check("mount", "-o", "remount,ro", "/")
        started = ["sh", "-c", 'exec "$@" >/run/log 2>&1 & echo $! >/run/pid', "start", *self.as_user(environment)]
        self.machine.check(*started, *self.command)

    def as_user(self, environment: dict[str, str]) -> list[str]:
        """What runs a command as the container would."""
        user, _, group = self.user.partition(":")
        rights = [f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
        variables = [f"{name}={value}" for name, value in {**self.environment, **environment}.items()]
        return ["setpriv", *rights, "env", "--ignore-environment", f"--chdir={self.folder}", *variables]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    machine = Machine(["sleep", "infinity"])
    try:
        machine.check("ln", "-sf", "/usr/bin/python3", "/usr/local/bin/python")
        yield Image(machine)
    finally:
        machine.close()


@pytest.mark.parametrize("settings", [{}, {"AWS_DEFAULT_REGION": "us-east-1"}, {"DB_SECRET_ARN": ""}])
def test_without_an_index_the_image_does_not_start(image: Image, settings: dict[str, str]) -> None:
    """As `docker run` in a script whose variables are empty."""
    ended = image.machine.run(*image.as_user(settings), *image.command)
    (line,) = ended.stdout.splitlines()
    assert ended.returncode == 2
    assert all(name in line for name in ("DB_SECRET_ARN", "DATABASE_URL", "EMBEDDED=true"))


def test_the_image_serves_read_only_without_root(image: Image) -> None:
    environment = {"PORT": str(free_port()), "EMBEDDED": "true"}
    image.start(environment)
    root = f"http://127.0.0.1:{environment['PORT']}/aetitle"
    asked = [*image.as_user(environment), *image.health_check]
    try:
        wait_for(lambda: not image.machine.run(*asked).returncode, SECONDS, pause_seconds=0.5)
    except AssertionError as error:
        raise AssertionError(image.machine.check("cat", "/run/log")) from error
    health = requests.get(f"{root}/health", timeout=60)
    assert (health.status_code, "sample data, not AHI" in health.headers["Warning"]) == (200, True)
    log = image.machine.check("cat", "/run/log")
    assert f"Serving on http://0.0.0.0:{environment['PORT']}" in log
    assert "this service serves sample data, not AHI" in log
    studies = requests.get(f"{root}/studies?limit=3", timeout=60).json()
    assert len(studies) == 3
    for study in studies:
        assert requests.get(study["00081190"]["Value"][0], timeout=60).status_code == 200
    pid = image.machine.check("cat", "/run/pid").strip()
    status = image.machine.check("cat", f"/proc/{pid}/status")
    assert "Uid:\t10001\t10001\t10001\t10001" in status
    assert "CapBnd:\t0000000000000000" in status
    image.machine.check("kill", "-TERM", pid)
    wait_for(lambda: image.machine.run("test", "-e", f"/proc/{pid}/exe").returncode, pause_seconds=0.5)
    assert "[Shutdown] - done" in image.machine.check("cat", "/run/log")
