"""The only module that imports psycopg: connections to PostgreSQL that give up a silent server.

libpq would wait for an answer without end. `tests/db/test_driver_contracts.py` holds the parts that this needs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import psycopg.conninfo

OptionError = psycopg.ProgrammingError
"""Raised for an option that libpq does not know."""

_OF_PSYCOPG = frozenset({"context", "autocommit", "prepare_threshold", "row_factory", "cursor_factory"})
"""Options that psycopg takes itself, and libpq does not know."""


class PostgreSqlConnection(psycopg.Connection[Any]):
    """A connection to PostgreSQL."""

    _patience: float | None = None  # psycopg waits before it calls a constructor of ours

    def set_patience(self, seconds: float) -> None:
        """Set how long the server may say nothing."""
        self._patience = seconds

    def answers(self) -> bool:
        """Make a round trip; false if the server does not answer."""
        try:
            self.execute("SELECT 1")
        except (psycopg.Error, OSError):
            return False
        return True

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait as psycopg does, but no longer than the patience; OperationalError after that."""
        try:
            return super().wait(gen, interval, self._patience if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as error:
            self.close()
            raise psycopg.OperationalError("the server does not answer") from error


def connect(
    positional: Sequence[Any], named: Mapping[str, Any], socket_options: Mapping[str, int], seconds: float
) -> PostgreSqlConnection:
    """A new connection with these arguments of psycopg and this patience; errors are those of psycopg and Python.

    The arguments are checked first: an unknown host would hide a wrong one.
    """
    of_libpq = {name: value for name, value in named.items() if name not in _OF_PSYCOPG}
    psycopg.conninfo.make_conninfo(*positional, **of_libpq)
    own = {**socket_options, "connect_timeout": seconds}
    connection = PostgreSqlConnection.connect(*positional, **{**named, **own})
    connection.set_patience(seconds)
    return connection
