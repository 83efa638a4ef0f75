"""The only module that imports PyMySQL: connections to MySQL and MariaDB that give up a silent server.

Their time-outs change while they are open, and their sockets get options. PyMySQL has no public way for either.
`tests/db/test_driver_contracts.py` holds the parts that this needs.
"""

import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pymysql

if TYPE_CHECKING:
    _Base = Any  # the stubs know neither the socket nor the time-outs
else:
    _Base = pymysql.Connection


class MySqlConnection(_Base):  # type: ignore[misc]
    """A connection to MySQL or MariaDB."""

    def set_patience(self, seconds: float) -> None:
        """Set how long the server may say nothing."""
        self._read_timeout = self._write_timeout = seconds

    def answers(self) -> bool:
        """Make a round trip; false if the server does not answer."""
        try:
            self.ping()
        except (pymysql.Error, OSError):
            return False
        return True

    def set_socket_options(self, options: Mapping[int, int]) -> None:
        """Set these options of TCP; a Unix socket needs none."""
        with suppress(OSError):
            for option, value in options.items():
                self._sock.setsockopt(socket.IPPROTO_TCP, option, value)


def connect(
    positional: Sequence[Any], named: Mapping[str, Any], socket_options: Mapping[int, int], seconds: float
) -> MySqlConnection:
    """A new connection with these arguments of PyMySQL and this patience; errors are those of PyMySQL and Python."""
    patience = {"connect_timeout": seconds, "read_timeout": seconds, "write_timeout": seconds}
    connection = MySqlConnection(*positional, **{**named, **patience})
    connection.set_socket_options(socket_options)
    return connection
