"""Handlers may hold any lock while they wait for anything: others who want the lock wait too, and nobody for good."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import product
from pathlib import Path
from random import Random
from threading import Event

import pytest

from tests.app.server.locking_server import LOCKS, WAITS
from tests.crowd.pythons import VERSIONS, find_interpreter

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[3]
CLIENTS = 12
OF_EACH = 3
STOP_SECONDS = 60.0


@contextmanager
def serving(python: Path, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [str(python), "-W", "error", "-m", "tests.app.server.locking_server"]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)
    try:
        yield process
    finally:
        process.terminate()
        assert process.stdout
        process.stdout.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ask(port: int, path: str, client: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=STOP_SECONDS)
    try:
        connection.request("GET", path, headers={"X-Forwarded-For": client})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_lock_that_is_held_over_a_wait_delays_and_never_stops(version: str, tmp_path: Path) -> None:
    python = find_interpreter(version)
    if python is None:
        pytest.skip(f"Python {version} is not on this machine, or script/pythons was not run")
    log = tmp_path / "log"
    with serving(python, log) as process:
        assert process.stdout
        line = process.stdout.readline()
        assert line, log.read_text()
        try:
            lives = crowd(int(line))
        except TimeoutError:
            os.kill(process.pid, signal.SIGUSR2)
            time.sleep(1)
            pytest.fail(f"it has stopped\n{log.read_text()}")
        assert process.poll() is None
    assert len(lives) > 5
    assert max(lives) < STOP_SECONDS / 2


def crowd(port: int) -> list[float]:
    """Ask for every lock held over every wait, many at the same time; how long others waited for `/live` meanwhile."""
    paths = [f"/{lock}/{wait}" for lock, wait in product([*LOCKS, "pool"], WAITS)] * OF_EACH
    Random(15).shuffle(paths)  # noqa: S311 - chance, not a secret
    over, lives = Event(), list[float]()

    def live() -> None:
        while not over.is_set():
            began = time.monotonic()
            assert ask(port, "/live", "192.0.2.9") == 200
            lives.append(time.monotonic() - began)
            over.wait(0.05)

    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        quick = pool.submit(live)
        try:
            assert set(pool.map(lambda path: ask(port, path, "192.0.2.1"), paths)) == {200}
        finally:
            over.set()
        quick.result()
    return lives
