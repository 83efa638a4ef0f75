"""The database goes away at COMMIT: nobody knows whether the rows are there, and they are right all the same."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import select
from sqlalchemy.engine import make_url

from db.index_schema import study
from index.fill import Filler
from index.follow.changed import Outcome
from index.follow.events import ImageSetHint
from index.reconcile import Reconciliation
from index.writing.writer import IndexWriter
from tests.datastore.shelf import DATASTORE_ID, identifier
from tests.index.follow.live import Parts, parse, parts
from tests.servers import engine_of

MANY = 12


class CuttingProxy:
    """A port in front of a database, which cuts connections at COMMIT: before it arrives, or before its answer does."""

    def __init__(self, port: int) -> None:
        self.cuts_left = 0
        self.passes_commit_on = False
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, times: int, *, passes_commit_on: bool) -> None:
        """Cut the connections of the next COMMITs."""
        self.passes_commit_on, self.cuts_left = passes_commit_on, times

    def close(self) -> None:
        """Take no other connections."""
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts them, which ends
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                answering = threading.Thread(target=self._answer, args=(server, client), daemon=True)
                answering.start()
                threading.Thread(target=self._pump, args=(client, server, answering), daemon=True).start()

    def _pump(self, client: socket.socket, server: socket.socket, answering: threading.Thread) -> None:
        with suppress(OSError), client, server:
            while data := client.recv(65536):
                if b"COMMIT" in data and self._takes_one():
                    client.shutdown(socket.SHUT_RDWR)
                    if self.passes_commit_on:
                        server.sendall(data)
                        server.shutdown(socket.SHUT_WR)
                        answering.join(5)  # the database has committed
                    return
                server.sendall(data)

    @staticmethod
    def _answer(server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                with suppress(OSError):  # it was cut
                    client.sendall(data)

    def _takes_one(self) -> bool:
        with self._lock:
            self.cuts_left -= 1
            return self.cuts_left >= 0


class Cut:
    """A data store, an index behind a proxy, and what the index holds."""

    def __init__(self, made: Parts, url: str, proxy: CuttingProxy) -> None:
        self.parts, self.url, self.proxy = made, url, proxy

    def studies(self) -> set[str]:
        with engine_of(self.url) as engine, engine.connect() as connection:
            return set(map(str, connection.scalars(select(study.c.studydescription))))


@pytest.fixture(params=["mariadb", "postgresql"])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cut]:
    monkeypatch.setattr("index.fill.PAUSE_SECONDS", 0.05)
    url = make_url(request.getfixturevalue(request.param).new_database())
    proxy = CuttingProxy(url.port or 0)
    behind = url.set(port=proxy.port).render_as_string(hide_password=False)
    with parts(behind, monkeypatch) as made:
        for number in range(1, MANY + 1):
            made.store.put(number)
        yield Cut(made, url.render_as_string(hide_password=False), proxy)
    proxy.close()


@pytest.mark.parametrize("passes_commit_on", [False, True], ids=["before it arrives", "after it is done"])
def test_a_fill_ends_in_the_same_rows(cut: Cut, passes_commit_on: bool) -> None:
    with Reconciliation(cut.parts.client, cut.parts.writer, parse, [DATASTORE_ID]) as run:
        run.list_all()
        found = list(run.differences())
        filler = Filler(cut.parts.client, cut.parts.writer, parse, run.stop, threads=4)
        cut.proxy.cut(8, passes_commit_on=passes_commit_on)
        filler.run(found)
    assert cut.proxy.cuts_left < 0
    assert filler.tally.outcomes.keys() <= {Outcome.WRITTEN, Outcome.UNCHANGED}
    assert cut.studies() == cut.parts.store.expected()


@pytest.mark.parametrize("passes_commit_on", [False, True], ids=["before it arrives", "after it is done"])
def test_an_event_is_done_or_comes_again(cut: Cut, passes_commit_on: bool) -> None:
    cut.proxy.cut(1, passes_commit_on=passes_commit_on)
    hint = ImageSetHint(DATASTORE_ID, identifier(1))
    assert cut.parts.attempts.make(hint) in (Outcome.WRITTEN, Outcome.UNCHANGED)
    assert cut.studies() == {"1.1"}
    cut.parts.store.delete(1)
    cut.proxy.cut(1, passes_commit_on=passes_commit_on)
    assert cut.parts.attempts.make(ImageSetHint(DATASTORE_ID, identifier(1), deleted=True)) is Outcome.REMOVED
    assert cut.studies() == set()


def test_failures_are_not_counted_while_every_commit_is_cut(cut: Cut) -> None:
    """The database answers all questions, and takes nothing: that is an outage, and no fault of an image set."""
    cut.proxy.cut(1000, passes_commit_on=False)
    with pytest.raises(Exception, match="does not answer"):
        cut.parts.attempts.make(ImageSetHint(DATASTORE_ID, identifier(1)))
    cut.proxy.cut(0, passes_commit_on=False)
    direct = IndexWriter(cut.url)
    assert direct.recorded(DATASTORE_ID, [identifier(1)]) == {}
    direct.close()
