"""The image: linted, complete, and of wheels alone on both kinds of processor. There is no engine to build it with."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from shutil import copy, copytree
from threading import Thread

import pytest
from packaging.requirements import Requirement

from app.settings import Settings
from db.rds import BUNDLE
from tests.deploy.files import DOCKERFILE, ROOT, container, environment, instructions
from tests.servers import free_port

PYTHON, GLIBC_MINOR = "3.13", 36
"""Of the base image, Debian 12."""


def test_the_dockerfile_is_linted() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_base_image_is_named_by_its_digest() -> None:
    (base,) = [words for name, words in instructions() if name == "ARG" and words.startswith("PYTHON=")]
    assert re.fullmatch(rf"PYTHON={PYTHON}-slim-bookworm@sha256:[0-9a-f]{{64}}", base)
    assert {words.split()[0] for name, words in instructions() if name == "FROM"} == {"python:${PYTHON}"}
    assert base.partition("@sha256:")[2] in (ROOT / "doc" / "security.md").read_text(), (
        "it tells where the digest is from"
    )


INDEX = b'{"schemaVersion": 2}'
REGISTRIES = {
    "docker": 'echo "sha256:$(printf %s "$INDEX" | sha256sum | cut -d " " -f 1)"',
    "skopeo": 'printf %s "$INDEX"',
}
"""Stand for the programs that ask a registry: one says the digest, one the document itself."""


@pytest.mark.parametrize("program", REGISTRIES)
def test_the_digest_is_renewed(tmp_path: Path, program: str) -> None:
    done = renewed(tmp_path, {program: REGISTRIES[program]})
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256(INDEX).hexdigest()
    (before,) = re.findall(r"^ARG PYTHON=.*", DOCKERFILE.read_text(), flags=re.MULTILINE)
    after = f"ARG PYTHON={PYTHON}-slim-bookworm@sha256:{digest}"
    assert (tmp_path / "Dockerfile").read_text() == DOCKERFILE.read_text().replace(before, after)


@pytest.mark.parametrize("said", ["exit 1", "echo sha256:12", "case $2 in version) ;; *) exit 1 ;; esac"])
def test_what_is_no_digest_changes_nothing(tmp_path: Path, said: str) -> None:
    done = renewed(tmp_path, {"docker": said})
    assert done.returncode == 1
    assert done.stderr.startswith("renew-base-image: ") and done.stderr.count("\n") == 1
    assert (tmp_path / "Dockerfile").read_text() == DOCKERFILE.read_text()


def renewed(folder: Path, programs: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run the script on a copy of the Dockerfile, with these programs as all that can ask a registry."""
    (folder / "script").mkdir()
    for source in ("Dockerfile", "script/renew-base-image", "script/lib.sh"):
        copy(ROOT / source, folder / source)
    for name, lines in {"docker": "exit 1", "skopeo": "exit 1", **programs}.items():
        (folder / name).write_text(f"#!/bin/sh\n{lines}\n")
        (folder / name).chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "INDEX": INDEX.decode()}
    command = [folder / "script" / "renew-base-image"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_user_is_a_number_and_not_root() -> None:
    assert ("USER", "10001:10001") in instructions()


def test_what_is_copied_is_what_the_service_needs(tmp_path: Path) -> None:
    copied = [words.split()[0] for name, words in instructions() if name == "COPY" and not words.startswith("--from")]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for source in copied:
        assert f"!{source}" in ignored or f"!{source}/" in ignored
        path = ROOT / source
        copytree(path, tmp_path / source) if path.is_dir() else copy(path, tmp_path / path.name)
    command = [sys.executable, "-c", "import main; from app.commands.embedded import Embedded"]
    subprocess.run(command, cwd=tmp_path, check=True, env={"PATH": ""})
    needed = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"main.py"}
    assert needed <= set(copied)


def test_the_certificates_of_rds_come_with_the_code() -> None:
    assert "ADD" not in {name for name, _ in instructions()}  # nothing is fetched that nobody checks
    assert BUNDLE.relative_to(ROOT).parts[0] in {words.split()[0] for name, words in instructions() if name == "COPY"}
    assert "DB_TLS_CA" not in {one["Name"] for one in environment()}


@pytest.mark.service
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_dependency_is_a_wheel(machine: str, tmp_path: Path) -> None:
    environment = {"platform_machine": machine, "python_version": PYTHON, "python_full_version": f"{PYTHON}.0"}
    pins = [Requirement(line.partition(" #")[0]) for line in (ROOT / "requirements.txt").read_text().splitlines()
            if line and not line.startswith("#")]  # fmt: skip
    wanted = [f"{pin.name}{''.join(f'[{extra}]' for extra in pin.extras)}{pin.specifier}" for pin in pins
              if pin.marker is None or pin.marker.evaluate(environment)]  # fmt: skip
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in range(17, GLIBC_MINOR + 1)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
    options = ["--no-deps", "--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp"]
    target = [f"--target={tmp_path}", "--ignore-installed"]
    subprocess.run([*command, *options, *platforms, *target, *wanted], check=True, capture_output=True)


def health_checks() -> Iterator[list[str]]:
    """The commands that ask a container whether it lives: those of the image and of ECS."""
    (of_image,) = [words.partition("CMD ")[2] for name, words in instructions() if name == "HEALTHCHECK"]
    yield json.loads(of_image)
    yield container()["HealthCheck"]["Command"][1:]


@pytest.mark.service
def test_a_health_check_asks_the_service() -> None:
    with answering(200) as port, answering(503) as busy:
        for check in health_checks():
            assert [asked(check, PORT=str(number)).returncode for number in (port, busy, free_port())] == [0, 1, 1]


@pytest.mark.service
def test_a_health_check_loads_none_of_the_service() -> None:
    """It is run every few seconds, beside a service that may need all processors."""
    for check in health_checks():
        loaded = asked([check[0], "-X", "importtime", *check[1:]], PORT=str(free_port())).stderr
        assert "http.client" in loaded
        assert not [name for name in ("pydicom", "boto", "flask", "app.settings") if name in loaded]


@pytest.mark.service
def test_without_variables_a_health_check_asks_where_the_service_listens() -> None:
    for check in health_checks():
        assert asked(check, PORT=str(free_port())).stderr.startswith("127.0.0.1 port ")
        assert asked(check, HOST="nowhere.invalid").stderr.startswith(f"nowhere.invalid port {Settings().port}: ")
    assert Settings().host == "0.0.0.0"  # noqa: S104 - compared


def asked(check: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    """A health check, run where the image runs it."""
    path = {"PATH": str(Path(sys.executable).parent)}
    return subprocess.run(check, cwd=ROOT, env={**path, **environment}, capture_output=True, text=True, check=False)


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers everything with that status; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
