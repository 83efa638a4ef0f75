"""SIGHUP while clients ask: settings and files are read again, nothing is lost; what is wrong leaves all as it was."""

import re
import signal
import threading
from collections.abc import Collection, Iterator
from dataclasses import fields
from pathlib import Path

import bcrypt
import pytest
import requests

from app.processes.reload import NEED_RESTART
from app.settings import Settings, variable
from tests.service.process import ROOT, Service


class Reloaded:
    """A service whose settings are in a file, and whose users are in another."""

    def __init__(self, folder: Path, datastore_root: Path) -> None:
        self.settings, self.users = folder / "settings.env", folder / "users"
        self.write("LOG_LEVEL=INFO", "MAX_RESULTS=5000")
        self.has_password("old")
        environment = {
            "DATASTORE_ROOT": str(datastore_root), "SETTINGS_FILE": str(self.settings), "AUTH": "basic",
            "AUTH_USERS_FILE": str(self.users), "WEB_PROCESSES": "2", "FRAME_FETCHERS": "1",
        }  # fmt: skip
        self.service = Service(folder, environment)

    def write(self, *lines: str) -> None:
        self.settings.write_text("# of the tests\n" + "\n".join(lines))

    def has_password(self, password: str) -> None:
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
        self.users.write_text(f"anna:{hashed}\n")

    def reload(self) -> str:
        """What it logged about it."""
        before = self.service.log
        self.service.process.send_signal(signal.SIGHUP)
        self.service.wait(lambda: "[Reload] - " in self.service.log[len(before) :])
        return self.service.log[len(before) :]

    def web_processes(self, before: Collection[int] = ()) -> list[int]:
        """Those of now, when those of before the last reload have ended."""
        self.service.wait(lambda: not set(before) & set(self.service.named("web")))
        return self.service.all_named("web", 2)

    def search(self, password: str, session: requests.Session | None = None) -> requests.Response:
        get = (session or requests).get
        return get(f"{self.service.root}/studies?limit=3", auth=("anna", password), timeout=60)


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory: pytest.TempPathFactory, datastore_root: Path) -> Iterator[Reloaded]:
    reloaded = Reloaded(tmp_path_factory.mktemp("reloaded"), datastore_root)
    yield reloaded
    assert reloaded.service.stop() == 0


def test_nothing_is_lost_while_settings_change(reloaded: Reloaded) -> None:
    statuses: list[int] = []
    done = threading.Event()

    def ask(keep: bool) -> None:
        with requests.Session() as session:
            while not done.is_set():
                statuses.append(reloaded.search("old", session if keep else None).status_code)

    before = reloaded.web_processes()
    clients = [threading.Thread(target=ask, args=(number % 2 == 0,)) for number in range(4)]
    for client in clients:
        client.start()
    try:
        for _ in range(2):
            reloaded.reload()
            asked = len(statuses)
            reloaded.service.wait(lambda asked=asked: len(statuses) > asked + 12)
    finally:
        done.set()
        for client in clients:
            client.join()
    assert set(statuses) == {200}
    reloaded.web_processes(before)


def test_files_and_settings_are_read_again(reloaded: Reloaded) -> None:
    assert (reloaded.search("old").status_code, reloaded.search("new").status_code) == (200, 401)
    reloaded.has_password("new")
    assert "index rows=" not in reloaded.service.log
    reloaded.write("LOG_LEVEL=DEBUG", "MAX_RESULTS=2")
    before = reloaded.web_processes()
    log = reloaded.reload()
    changed = reloaded.web_processes(before)
    assert (reloaded.search("old").status_code, reloaded.search("new").status_code) == (401, 200)
    assert len(reloaded.search("new").json()) == 2
    reloaded.service.logs("index rows=")
    assert "restart" not in log
    reloaded.has_password("old")
    reloaded.write("LOG_LEVEL=INFO", "MAX_RESULTS=5000")
    reloaded.reload()
    reloaded.web_processes(changed)
    assert reloaded.search("old").status_code == 200


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("LOG_LEVEL=loud", "LOG_LEVEL is none of DEBUG, INFO, WARNING, ERROR"),
        ("DB_PASWORD=x", "DB_PASWORD is no setting, but SETTINGS_FILE has it"),
        ("LOG_LEVEL", "line 2 is not NAME=value"),
        ("DB_TLS_CA=/none", "DB_TLS_CA /none: No such file or directory"),
        ("DATABASE_URL=", "neither DB_SECRET_ARN nor DATABASE_URL is set"),
        ("AWS_DEFAULT_REGION=", "AWS_DEFAULT_REGION is not set: calls to AWS HealthImaging need a region"),
    ],
)
def test_what_is_wrong_leaves_all_as_it_is(reloaded: Reloaded, line: str, problem: str) -> None:
    before = reloaded.web_processes()
    reloaded.write(line)
    log = reloaded.reload()
    reloaded.write("LOG_LEVEL=INFO")
    assert "[Reload] - the old settings stay: " in log
    assert problem in log
    assert reloaded.web_processes() == before
    assert reloaded.search("old").status_code == 200


def test_what_takes_a_start_is_told(reloaded: Reloaded) -> None:
    reloaded.write("PORT=1", "FETCH_THREADS=8")
    assert "a restart is needed for FETCH_THREADS, PORT" in reloaded.reload()
    reloaded.service.wait(lambda: reloaded.search("old").status_code == 200)
    reloaded.write("LOG_LEVEL=INFO")


def test_the_document_tells_what_takes_a_start() -> None:
    text = (ROOT / "doc" / "settings.md").read_text()
    start = text.index("A restart is needed for these settings")
    told = text[start : text.index("* The log names", start)]
    families = ("AHI_STOW_", "SPOOL_", "CACHE_", "METRICS_", "DATASTORE_")
    names = {f"`{name.upper()}`" for name in NEED_RESTART if not name.upper().startswith(families)}
    assert set(re.findall(r"`[A-Z_]+`", told)) == names | {f"`{family}`" for family in families}
    of_families = {setting.name for setting in fields(Settings) if variable(setting).startswith(families)}
    assert of_families <= NEED_RESTART
