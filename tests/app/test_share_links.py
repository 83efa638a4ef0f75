"""Share links are noted without their tokens, and a revoked one ends: at its host at once, and soon at all hosts."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import create_engine, text

from app.auth import shared_links
from app.auth.links import Link, Links, link_id
from app.auth.shared_links import HostShareLinks, ShareLinks
from app.commands.link import make_link
from app.index_share_links import IndexShareLinks
from app.lazy_writer import LazyWriter
from app.settings import Settings
from db.engine import Database
from db.index_kind import IndexKind
from db.share_links import SharedLink
from dicomweb.errors import NotFound, ProxyError, UpstreamBusy
from index.writing.writer import IndexWriter
from tests.servers import OpenDatabase, Sqlite
from tests.waiting import wait_for

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # other tests have left threads

NOW = int(time.time())
Hosts = Callable[[str], tuple[IndexShareLinks, IndexShareLinks]]


def link(number: int, user: str = "basic:anna", *, hours: float = 1) -> SharedLink:
    return SharedLink(f"{number:032x}", user, f"1.2.{number}", NOW + number, NOW + int(hours * 3600))


@pytest.fixture
def hosts(open_database: OpenDatabase) -> Iterator[Hosts]:
    """Two hosts of one service, each with a memory of its own."""
    made: list[tuple[IndexShareLinks, IndexWriter]] = []

    def make(url: str) -> tuple[IndexShareLinks, IndexShareLinks]:
        for _ in range(2):
            writer = IndexWriter(url, pool_size=1)
            made.append(
                (IndexShareLinks(HostShareLinks(), open_database(url), LazyWriter(partial(_itself, writer))), writer)
            )
        return made[-2][0], made[-1][0]

    yield make
    for one, writer in made:
        one._reading.latest(1e9).result(60)  # else it may connect while the database is being closed
        writer.close()


def _itself(writer: IndexWriter) -> IndexWriter:
    return writer


def own_index(new_database: Callable[[], str]) -> str:
    url = new_database()
    writer = IndexWriter(url)
    writer.create_or_migrate()
    writer.close()
    return url


def check_pages_and_revocation(links: ShareLinks) -> None:
    for number in range(5):
        links.note(link(number, "basic:anna" if number % 2 else "basic:bert"), NOW)
    links.note(link(4, "basic:bert"), NOW)  # a button that was pressed twice
    links.note(link(9, hours=-1), NOW - 7200)
    page, number = links.page(NOW, "", 1, 2)
    assert ([one.link_id for one in page], number) == ([link(3).link_id, link(2).link_id], 5)
    assert links.page(NOW, "basic:anna", 0, 10)[1] == 2
    assert links.page(NOW, "", 0, 10)[0][0] == link(4, "basic:bert")
    assert links.page(NOW + 7200, "", 0, 10) == ([], 0)
    assert links.revoke(NOW, link_id=link(3).link_id) == [link(3)]
    assert links.revoke(NOW, link_id=link(3).link_id) == []
    assert {one.link_id for one in links.revoke(NOW, user="basic:bert")} == {link(one).link_id for one in (0, 2, 4)}
    assert [one.link_id for one in links.page(NOW, "", 0, 10)[0]] == [link(1).link_id]
    assert [links.is_revoked(link(one).link_id) for one in range(5)] == [True, False, True, True, True]


def test_links_of_an_index(new_database: Callable[[], str], hosts: Hosts) -> None:
    here, there = hosts(own_index(new_database))
    assert here.lasts and not there.is_revoked(link(3).link_id)
    check_pages_and_revocation(here)
    wait_for(lambda: there.is_revoked(link(3).link_id))
    assert not there.is_revoked(link(1).link_id)
    assert there.page(NOW, "", 0, 10)[1] == 1


def test_links_of_a_host() -> None:
    links = HostShareLinks()
    assert not links.lasts
    check_pages_and_revocation(links)


def test_what_has_ended_is_forgotten(sqlite: Sqlite, hosts: Hosts) -> None:
    url = own_index(sqlite.new_database)
    here, _ = hosts(url)
    here.note(link(1, hours=-1), NOW - 7200)
    here.note(link(2), NOW)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM share_link")) == 1
    engine.dispose()


def test_a_process_that_has_just_begun_knows_what_was_revoked(sqlite: Sqlite, hosts: Hosts) -> None:
    url = own_index(sqlite.new_database)
    here, _ = hosts(url)
    here.note(link(1), NOW)
    here.revoke(NOW, link_id=link(1).link_id)
    begun, _ = hosts(url)
    assert begun.is_revoked(link(1).link_id)  # the first question


@pytest.mark.parametrize("migrated", [True, False])
def test_without_such_a_table_one_host_knows_them(sqlite: Sqlite, hosts: Hosts, *, migrated: bool) -> None:
    url = own_index(sqlite.new_database) if migrated else sqlite.new_index(IndexKind.LEGACY)
    if migrated:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE share_link"))  # as a release before has it
        engine.dispose()
    here, there = hosts(url)
    assert not here.lasts
    check_pages_and_revocation(here)
    assert not there.is_revoked(link(3).link_id)


def test_while_the_index_is_away_no_link_is_made_or_opened(
    open_database: OpenDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database: Database = open_database("sqlite:////none/index")
    links = IndexShareLinks(HostShareLinks(), database, LazyWriter(lambda: pytest.fail("not written")))
    with pytest.raises(UpstreamBusy):
        links.is_revoked(link(1).link_id)
    with pytest.raises(ProxyError):
        links.note(link(1), NOW)


def test_a_token_that_was_revoked_ends() -> None:
    links = HostShareLinks()
    issued = Links("s" * 32, links.is_revoked)
    path, made = issued.issue("1.2.3", 1)
    token = path.rpartition("/")[2]
    assert Links.id_of(path) == link_id(token)
    links.note(SharedLink(link_id(token), "anna", "1.2.3", NOW, made.expires_at), NOW)
    cookies = {f"link-{link_id(token)}": token}
    assert issued.read(token) == made and list(issued.opened(cookies)) == [(link_id(token), token, made)]
    links.revoke(NOW, user="anna")
    with pytest.raises(NotFound, match="has ended"):
        issued.read(token)
    assert list(issued.opened(cookies)) == []
    other = issued.token(Link("1.2.4", made.expires_at))
    assert issued.read(other).study_instance_uid == "1.2.4"


def test_all_processes_of_a_host_know_them_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    links = HostShareLinks()
    child = os.fork()
    if child == 0:
        for number in range(100, 150):
            links.note(link(number), NOW)
        os._exit(0)
    threads = [threading.Thread(target=links.note, args=(link(number), NOW)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert links.page(NOW, "", 0, 100)[1] == 70


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_links, "_PLACES", 3)
    links = HostShareLinks()
    for number in range(3):
        links.note(link(number, "ü" * 500), NOW)
    with pytest.raises(UpstreamBusy, match="too many"):
        links.note(link(4), NOW)
    assert links.revoke(NOW, link_id=link(1).link_id)[0].user == "ü" * 128
    links.note(link(4), NOW)
    assert links.page(NOW, "", 0, 9)[1] == 3
    with pytest.raises(UpstreamBusy):
        links.note(SharedLink("1", "x", "1." * 1000, NOW, NOW + 9), NOW)


def test_the_command_notes_its_links_where_they_can_be_revoked(sqlite: Sqlite, hosts: Hosts) -> None:
    url = own_index(sqlite.new_database)
    here, _ = hosts(url)
    known = Settings(link_secret="s" * 32, index_write_url=url, aws_default_region="us-east-1")
    lines = list(make_link(known, "1.2.3", 1))
    assert lines[-1] == "revoke    in the console, page Access"
    (noted,), _ = here.page(time.time(), "command line", 0, 9)
    assert noted.link_id == Links.id_of(lines[1].partition("127.0.0.1:8080")[2]) and noted.study_instance_uid == "1.2.3"
    away = replace(known, index_write_url="sqlite:////none/index")
    assert "a new LINK_SECRET" in list(make_link(away, "1.2.3", 1))[-1]
    assert "a new LINK_SECRET" in list(make_link(replace(known, index_write_url=None), "1.2.3", 1))[-1]
