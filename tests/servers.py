"""Real database servers, private to one test run.

Each listens on a free loopback port, keeps its data in a temporary folder of its own, and runs under a small shell that
ends it and removes the folder: when asked to, and also when the test run is killed (the kernel then sends the shell a
SIGTERM). Speed comes before durability: these databases live for minutes.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pymysql
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import OperationalError

from db import index_schema
from db.engine import Database
from db.index_kind import IndexKind, find_kind
from db.schema import metadata
from index.writing.writer import IndexWriter
from tests.authority import Certificate

START_SECONDS = 90
OpenDatabase = Callable[..., Database]
"""`Database`, as the fixture `open_database` makes it: it is closed when the test is over."""

PASSWORD = "p@ss/w:rd% ?"  # noqa: S105 - a test's; every character that a URL would take amiss

_SUPERVISOR = """
trap 'kill -"$STOP" "$server"' TERM
"$@" & server=$!
until wait "$server"; [ "$?" -le 128 ] || ! kill -0 "$server" 2>/dev/null; do :; done
[ -e "$FOLDER/keep" ] || rm -rf "$FOLDER"
"""
"""Runs "$@" until it ends, then removes its folder. `wait` also returns, above 128, when the trap has run."""


class Process:
    """A server under its supervisor, and the folder that goes with it."""

    def __init__(
        self, folder: Path, command: Sequence[str], answers: Callable[[], object], stop_signal: str = "TERM"
    ) -> None:
        """Start `command` and wait until `answers` raises nothing; what it logged is in the error if it never does."""
        self._log = folder / "server.log"
        with self._log.open("wb") as log:
            self._supervisor = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "sh", "-c", _SUPERVISOR, "supervisor", *command],
                env={**os.environ, "FOLDER": str(folder), "STOP": stop_signal},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the test run
            )
        give_up = time.monotonic() + START_SECONDS
        while not _succeeds(answers):
            if self._supervisor.poll() is not None or time.monotonic() > give_up:
                logged = self._log.read_text(errors="replace") if self._log.exists() else "it ended at once"
                self.close()
                pytest.fail(f"{command[0]} did not start:\n{logged[-2000:]}", pytrace=False)
            time.sleep(0.05)

    def close(self) -> None:
        """End the server and remove its folder."""
        self._supervisor.terminate()
        self._supervisor.wait(timeout=START_SECONDS)


class Sqlite:
    """Databases as files of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    def new_database(self) -> str:
        """The URL of a fresh database without tables."""
        return _text(URL.create("sqlite", database=str(self._folder / f"index{next(self._numbers)}.sqlite")))

    def new_index(self, kind: IndexKind = IndexKind.LEGACY) -> str:
        """The URL of a fresh, empty index."""
        return _with_schema(self.new_database(), kind)


class MariaDb:
    """A private MariaDB server. Its collation is the nearest to that of stock MySQL 8 (utf8mb4_0900_ai_ci)."""

    def __init__(
        self, kept: Path | None = None, *, memory: str = "64M", log: str = "16M", certificate: Certificate | None = None
    ) -> None:
        """In a folder of its own that goes with it, or in `kept`, which stays and may hold the data of an earlier one.

        `memory` and `log` are the sizes of InnoDB's buffer pool and redo log; with a certificate it offers TLS.
        """
        self._tls = {"ssl-cert": certificate.path, "ssl-key": certificate.key_path} if certificate else {}
        self._folder = kept or Path(tempfile.mkdtemp(prefix="test-mariadb-"))
        self._keep = self._folder / "keep"
        self._kept = kept is not None
        self._options = self._own_options(memory, log)
        self._port = free_port()
        self._numbers = count(1)
        self._user = ["--user=root"] if os.getuid() == 0 else []
        if not (self._folder / "data").exists():
            self._install()
        self.start()
        self.execute(
            "DROP USER IF EXISTS writer@'%'",
            f"CREATE USER writer@'%' IDENTIFIED BY '{PASSWORD}'",
            "GRANT ALL ON *.* TO writer@'%'",
        )

    def _own_options(self, memory: str, log: str) -> dict[str, str]:
        return {
            "innodb-buffer-pool-size": memory,
            "innodb-log-file-size": log,
            "innodb-flush-method": "nosync",
            "collation-server": "utf8mb4_unicode_nopad_ci",
        }

    def _install(self) -> None:
        options = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
        install = _program("mariadb-install-db", "mariadb-server")
        data = f"--datadir={self._folder / 'data'}"
        own = {**os.environ, "TMPDIR": str(self._folder)}  # two that are made at once take the same names there
        subprocess.run([install, *options, *self._user, data], check=True, stdout=subprocess.DEVNULL, env=own)

    def stop(self) -> None:
        """End the server but keep its data, for a `start` on the same port."""
        self._keep.touch()
        self._process.close()

    def start(self) -> None:
        """Start the server: in the constructor, and after a `stop`."""
        if self._kept:
            self._keep.touch()
        else:
            self._keep.unlink(missing_ok=True)
        options = {
            "datadir": self._folder / "data",
            "tmpdir": self._folder,
            "socket": self._folder / "server.sock",
            "bind-address": "127.0.0.1",
            "port": self._port,
            "pid-file": self._folder / "server.pid",
            "character-set-server": "utf8mb4",
            "innodb-flush-log-at-trx-commit": 0,
            "innodb-doublewrite": 0,
            **self._options,
            **self._tls,
        }
        settings = [f"--{name}={value}" for name, value in options.items()]
        command = [self._server(), "--no-defaults", *self._user, *settings]
        self._process = Process(self._folder, command, self.execute)

    def _server(self) -> str:
        return _program("mariadbd", "mariadb-server", "/usr/sbin")

    def silent(self) -> AbstractContextManager[None]:
        """Have the server say nothing meanwhile, as one whose machine has gone."""
        return _stopped(int((self._folder / "server.pid").read_text()))

    def execute(self, *statements: str) -> None:
        """Run statements as the administrator."""
        with (
            pymysql.connect(host="127.0.0.1", port=self._port, user="root", autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)

    def change_password(self, user: str, password: str) -> None:
        """Change the password of a user, and end its connections."""
        self.execute(f"ALTER USER {user}@'%' IDENTIFIED BY '{password}'")
        with pymysql.connect(host="127.0.0.1", port=self._port, user="root", autocommit=True) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT id FROM information_schema.processlist WHERE user = %s", (user,))
            for (session,) in cursor.fetchall():
                cursor.execute(f"KILL {session}")

    def new_database(self) -> str:
        """The URL of a fresh database without tables, with all rights."""
        name = f"index{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def new_index(self, kind: IndexKind = IndexKind.LEGACY) -> str:
        """The URL of a fresh, empty index, with all rights."""
        return _with_schema(self.new_database(), kind)

    def url(self, database: str) -> str:
        """The URL of a database, with all rights; it says not to try TLS, which costs 30 ms a connection."""
        return _text(self._url("writer", database).update_query_dict({"ssl_disabled": "true"}))

    def make_sequence(self, database: str, last: int) -> None:
        """Have a table `seq_1_to_<last>` of the numbers from 1 in its only column `seq`; MariaDB makes it up."""

    def new_reader(self) -> tuple[str, str]:
        """The URLs of a fresh, empty index: with all rights, and of a user who may do no more than SELECT in it."""
        url = self.new_index()
        name = str(make_url(url).database)
        self.execute(
            f"CREATE USER {name}_reader@'%' IDENTIFIED BY '{PASSWORD}'",
            f"GRANT SELECT ON {name}.* TO {name}_reader@'%'",
        )
        return url, _text(self._url(f"{name}_reader", name))

    def _url(self, user: str, database: str) -> URL:
        return URL.create("mysql+pymysql", user, PASSWORD, "127.0.0.1", self._port, database)

    def close(self) -> None:
        """End the server and remove its data."""
        self._process.close()


class MySql(MariaDb):
    """A private MySQL server, with the collation and the passwords (caching_sha2_password) that stock MySQL has."""

    def _own_options(self, memory: str, log: str) -> dict[str, str]:
        return {
            "innodb-buffer-pool-size": memory,
            "innodb-redo-log-capacity": log,
            "disable-log-bin": "ON",
            "mysqlx": "OFF",
            "auto-generate-certs": "OFF",  # it offers TLS only with a certificate of ours
        }

    def make_sequence(self, database: str, last: int) -> None:
        """Make the table where MariaDB makes it up."""
        self.execute(
            f"USE {database}",
            f"SET SESSION cte_max_recursion_depth = {last}",
            f"CREATE TABLE IF NOT EXISTS seq_1_to_{last} (seq BIGINT PRIMARY KEY) AS"  # noqa: S608
            f" WITH RECURSIVE n (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < {last}) SELECT * FROM n",
        )

    def _install(self) -> None:
        options = ["--initialize-insecure", "--auto-generate-certs=OFF", f"--datadir={self._folder / 'data'}"]
        command = [self._server(), "--no-defaults", *self._user, *options]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)

    def _server(self) -> str:
        return os.environ["MYSQLD"]


def mysql_server(**options: Any) -> MariaDb:
    """MariaDB; where MYSQLD names a server of MySQL, that. Options as MariaDB takes them."""
    return MySql(**options) if "MYSQLD" in os.environ else MariaDb(**options)


class PostgreSql:
    """A private PostgreSQL server; it refuses to run as root, so root hands it to the package's own user."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        """With a certificate it offers TLS."""
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        where = str(binaries[-1]) if binaries else ""
        initdb = _program("initdb", "postgresql", where)
        postgres = _program("postgres", "postgresql", where)
        self._folder = folder = Path(tempfile.mkdtemp(prefix="test-postgresql-"))
        self._port = free_port()
        self._numbers = count(1)
        user = []
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            user = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
        data = ["-D", str(folder / "data")]
        subprocess.run(
            [*user, initdb, *data, "-U", "writer", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )
        fast = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "jit=off"]
        listen = ["-h", "127.0.0.1", "-p", str(self._port), "-k", str(folder)]
        if certificate:
            fast += ["-c", "ssl=on", *_files_of(certificate, folder)]
        self._process = Process(folder, [*user, postgres, *data, *listen, *fast], self.execute, "INT")  # ends sessions

    def asks_for_passwords_of(self, user: str) -> None:
        """Have the server ask for the password of a user; others it trusts."""
        rules = self._folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all {user} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self.execute("SELECT pg_reload_conf()")

    def execute(self, *statements: str) -> None:
        """Run statements as the administrator."""
        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                for statement in statements:
                    connection.execute(text(statement))
        finally:
            engine.dispose()

    def change_password(self, user: str, password: str) -> None:
        """Change the password of a user, and end its connections."""
        self.execute(
            f"ALTER ROLE {user} PASSWORD '{password}'".replace(":", "\\:"),
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'",  # noqa: S608
        )

    def new_database(self) -> str:
        """The URL of a fresh database without tables, with all rights."""
        name = f"index{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return _text(self._url(name))

    def new_index(self, kind: IndexKind = IndexKind.LEGACY) -> str:
        """The URL of a fresh, empty index, with all rights."""
        return _with_schema(self.new_database(), kind)

    def _url(self, database: str) -> URL:
        return URL.create("postgresql+psycopg", "writer", PASSWORD, "127.0.0.1", self._port, database)

    def close(self) -> None:
        """End the server and remove its data."""
        self._process.close()


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.001)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Hole:
    """A port that passes connections on to a server, until it swallows what comes, as a firewall that has forgotten."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._swallowed: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self, *, new: bool = False) -> None:
        """From here on nothing comes through the connections that there are; nor, with `new`, through later ones."""
        self._swallowed |= {one for pair in self._pairs for one in pair}
        if new:
            self._target = 0

    def close(self) -> None:
        for one in (self._listening, *(one for pair in self._pairs for one in pair)):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                here, _ = self._listening.accept()
                if not self._target:
                    self._pairs.append((here, here))
                    continue
                there = socket.create_connection(("127.0.0.1", self._target))
                self._pairs.append((here, there))
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if source not in self._swallowed:
                    target.sendall(data)
            if source not in self._swallowed:
                target.shutdown(socket.SHUT_WR)


def _files_of(certificate: Certificate, folder: Path) -> list[str]:
    """The settings of PostgreSQL that name copies in its folder: it insists on a key of its own user."""
    there = folder.stat()
    settings = []
    for name, path in (("ssl_cert_file", certificate.path), ("ssl_key_file", certificate.key_path)):
        copy = Path(shutil.copy(path, folder))
        copy.chmod(0o600)
        os.chown(copy, there.st_uid, there.st_gid)
        settings += ["-c", f"{name}={copy}"]
    return settings


_PORTS_OF_A_BLOCK = 50
_blocks_taken: list[socket.socket] = []
"""One file descriptor holds a block of ports: a long run takes many, and `select` has room for 1,024 descriptors."""


def free_port() -> int:
    """A loopback port that is this test run's own until it ends, whether or not anything listens on it meanwhile.

    No connection gets it as its own port: it lies outside of the range that the kernel takes those from. No other test
    run gets it: each block of ports has a name among the abstract sockets of the machine, and the kernel frees that
    with its process.
    """
    return next(_free_ports)


def _ports() -> Iterator[int]:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    blocks = [
        range(start, start + _PORTS_OF_A_BLOCK)
        for outside in (range(10_000, first), range(last + 1, 65_536))
        for start in outside[::_PORTS_OF_A_BLOCK][:-1]
    ]
    for block in Random().sample(blocks, len(blocks)):  # noqa: S311 - chance, not a secret
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0test-ports-{block.start}")
        except OSError:  # another test run has it
            claim.close()
            continue
        _blocks_taken.append(claim)
        yield from filter(_is_free, block)
    raise AssertionError("there is no free port")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


_free_ports = _ports()


@contextmanager
def engine_of(url: str) -> Iterator[Engine]:
    """An ordinary engine on a database, for a test that writes."""
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def empty(url: str) -> None:
    """Delete every row of an index; quicker than a fresh one."""
    with engine_of(url) as engine, engine.begin() as connection:
        own = find_kind(connection) is IndexKind.OWN
        for table in reversed((index_schema.metadata if own else metadata).sorted_tables):
            if table is not index_schema.schema_version:
                connection.execute(table.delete())


def _with_schema(url: str, kind: IndexKind) -> str:
    if kind is IndexKind.OWN:
        writer = IndexWriter(url)
        writer.create_or_migrate()
        writer.close()
        return url
    with engine_of(url) as engine:
        metadata.create_all(engine)
    return url


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _program(name: str, package: str, *folders: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([*filter(None, folders), os.environ["PATH"]]))
    if not found:
        pytest.fail(f"{name} is missing: apt-get install {package}", pytrace=False)
    return found


def _succeeds(answers: Callable[[], object]) -> bool:
    try:
        answers()
    except (pymysql.err.OperationalError, OperationalError, ConnectionError):
        return False
    return True
