"""A web process whose handlers hold all sorts of locks while they wait, as a program: `/LOCK/WAIT`, and `/live`.

LOCK is a name of LOCKS, WAIT one of WAITS. It prints its port; on SIGUSR2 the stacks of its threads, to standard error.
"""

import faulthandler
import importlib
import logging
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from itertools import count
from pathlib import Path
from queue import Queue
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, text

from ahi.workers.pool import FetcherPool
from app.networks import parse_networks
from app.processes import web
from db import engine
from db.engine import Database
from tests.app.server.slow_work import SECONDS, slow_job
from tests.fetcher import fetching

Wait = Callable[[], object]
_IMPORTED_BY = 4  # requests import the same module
_STEPS = 300_000  # of a query that takes about as long as the other waits
_QUERY = f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {_STEPS}) SELECT max(i) FROM n"  # noqa: S608

_LOCK, _RLOCK, _SEMAPHORE = threading.Lock(), threading.RLock(), threading.Semaphore(1)
_QUEUE: "Queue[int]" = Queue(maxsize=1)
_own = threading.local()
_numbers = count()


class Lazy:
    """Before Python 3.12 one lock is held for all instances while the property is made."""

    def __init__(self, wait: Wait) -> None:
        self._wait = wait

    @cached_property
    def value(self) -> object:
        return self._wait()


class SlowHandler(logging.Handler):
    """Writes slowly, under its lock."""

    def emit(self, record: logging.LogRecord) -> None:
        _own.wait()


class SlowModules(MetaPathFinder, Loader):
    """Modules of any name that begins with `slow_module_`, whose import waits."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname.startswith("slow_module_") else None

    def exec_module(self, module: ModuleType) -> None:
        _own.wait()


def _held(lock: Any) -> Callable[[Wait], None]:
    def hold(wait: Wait) -> None:
        with lock:
            wait()

    return hold


def _log(wait: Wait) -> None:
    _own.wait = wait
    logging.getLogger("slow").warning("a line")


def _import(wait: Wait) -> None:
    _own.wait = wait
    importlib.import_module(f"slow_module_{next(_numbers) // _IMPORTED_BY}")


def _queue(wait: Wait) -> None:
    _QUEUE.put(1)
    wait()
    _QUEUE.get()


LOCKS: dict[str, Callable[[Wait], object]] = {
    "cached_property": lambda wait: Lazy(wait).value,
    "lock": _held(_LOCK),
    "rlock": _held(_RLOCK),
    "semaphore": _held(_SEMAPHORE),
    "logging": _log,
    "import": _import,
    "queue": _queue,
}
WAITS = ("sleep", "index", "fetcher")


def make_waits(database: Database, fetchers: FetcherPool) -> dict[str, Wait]:
    """Each name of WAITS with what it does."""
    statement = text(_QUERY)

    def fetcher() -> int:
        return fetchers.submit("route", slow_job, next(_numbers)).result()  # each another job, or they are one

    return {"sleep": lambda: time.sleep(SECONDS), "index": lambda: database.rows(statement), "fetcher": fetcher}


def make_pool_lock(database: Database) -> Callable[[Wait], None]:
    """The only connection of a pool as a lock."""

    def hold(wait: Wait) -> None:
        def look(_connection: Connection) -> None:
            wait()

        database.look(look)

    return hold


def make_application(locks: dict[str, Callable[[Wait], object]], waits: dict[str, Wait]) -> Callable[..., Any]:
    """All that the test asks for."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        if environ["PATH_INFO"] != "/live":
            lock, wait = environ["PATH_INFO"].strip("/").split("/")
            locks[lock](waits[wait])
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return iter([b"OK"])

    return application


def main() -> None:
    """Serve until SIGTERM."""
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    sys.meta_path.insert(0, SlowModules())
    engine._POOL_SECONDS = 120.0  # the test is about stops: a busy machine may hold a connection for long
    slow = logging.getLogger("slow")
    slow.addHandler(SlowHandler())
    slow.propagate = False
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    listening.setblocking(False)
    with tempfile.TemporaryDirectory() as folder, fetching(Path(folder, "cache"), fresh_seconds=60) as (fetchers, _):
        database = Database(f"sqlite:///{folder}/index.sqlite", pool_size=4)
        only_one = Database(f"sqlite:///{folder}/index.sqlite", pool_size=1)
        locks = {**LOCKS, "pool": make_pool_lock(only_one)}
        application = make_application(locks, make_waits(database, fetchers))
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        web.serve(application, listening, threads=8, limits=web.ServerLimits(trusted=parse_networks("127.0.0.1")))


if __name__ == "__main__":
    main()
