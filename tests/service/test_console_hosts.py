"""Two hosts of one service: a session counts at both, and a logout at one of them, too."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
import requests

from index.writing.writer import IndexWriter
from tests.app.auth.browser import Browser
from tests.service.process import Service


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("users") / "users"
    path.write_text(f"anna:{bcrypt.hashpw(b'anna', bcrypt.gensalt(4)).decode()}\n")
    return path


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, users: Path) -> Iterator[list[Service]]:
    """Services with one index of our own, whose login may write, and one secret."""
    folder = tmp_path_factory.mktemp("hosts")
    url = f"sqlite:///{folder / 'index'}"
    writer = IndexWriter(url)
    writer.create_or_migrate()
    writer.close()
    (folder / "rules").write_text('[{"name": "anna", "rights": ["read", "operate"]}]')
    environment = {
        "ACCESS_RULES": str(folder / "rules"),
        "LINK_SECRET": "s" * 32,
        "DATABASE_URL": url,
        "INDEX_WRITE_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AUTH": "basic",
        "AUTH_USERS_FILE": str(users),
        "SESSION_SECRET": "s" * 32,
        "WEB_PROCESSES": "1",
        "FRAME_FETCHERS": "1",
    }
    services = [Service(folder / name, environment, healthy=False) for name in ("one", "two")]
    yield services
    assert [service.stop() for service in services] == [0, 0]


def test_a_session_is_of_all_hosts_and_so_is_its_end(hosts: list[Service]) -> None:
    here, there = (Browser(f"http://127.0.0.1:{service.port}") for service in hosts)
    here.sign_in("anna", "anna")
    there.session.cookies.set("session", here.cookie)
    assert [browser.fetch("/aetitle/studies").status_code for browser in (here, there)] == [200, 200]
    assert here.sign_out().status_code == 200
    hosts[1].wait(lambda: there.fetch("/aetitle/studies").status_code == 401)
    assert not [service.log for service in hosts if "a logout is known to this host alone" in service.log]


def test_a_link_that_is_revoked_at_one_host_ends_at_all(hosts: list[Service]) -> None:
    made = hosts[0].command("link", "1.2.3")
    path = re.search(r"DICOMweb  http://[^/]+(/link/\S+)", made.stdout)
    assert path and "in the console" in made.stdout, made.stderr

    def statuses() -> list[int]:
        urls = [f"http://127.0.0.1:{service.port}{path[1]}/studies" for service in hosts]
        return [requests.get(url, timeout=60).status_code for url in urls]

    assert not set(statuses()) & {404, 503}
    browser = Browser(f"http://127.0.0.1:{hosts[1].port}")
    browser.sign_in("anna", "anna")
    page = browser.open("/console/access")
    (key,) = re.findall(r"kind=link&amp;key=([0-9a-f]{32})", page.text)
    assert browser.send(page, "/console/access/remove", kind="link", key=key).status_code == 200
    assert statuses()[1] == 404
    hosts[0].wait(lambda: statuses() == [404, 404])


def test_a_reload_keeps_sessions_but_not_those_of_users_who_are_gone(hosts: list[Service], users: Path) -> None:
    service, browser = hosts[0], Browser(f"http://127.0.0.1:{hosts[0].port}")
    browser.sign_in("anna", "anna")

    def reload() -> None:
        before = service.log.count("take over")
        service.process.send_signal(signal.SIGHUP)
        service.wait(lambda: service.log.count("take over") > before)

    reload()
    for _ in range(5):
        assert browser.fetch("/aetitle/studies").status_code == 200
    users.write_text(users.read_text().replace("anna:", "bert:"))
    reload()
    service.wait(lambda: browser.fetch("/aetitle/studies").status_code == 401)
    assert browser.open("/console").headers["Location"].startswith("/console/login?")
