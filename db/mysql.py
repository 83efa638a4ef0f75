"""Connections to MySQL and MariaDB that let other requests be answered while the server works."""

import select
from typing import TYPE_CHECKING, Any

import pymysql

from dicomweb.waiting import waiting

if TYPE_CHECKING:
    _Base = Any  # the stubs know neither the socket nor the method
else:
    _Base = pymysql.Connection


class Connection(_Base):  # type: ignore[misc]
    """The driver's, which waits by itself for the first bytes of a result and then reads them."""

    def _read_query_result(self, unbuffered: bool = False) -> int:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        with waiting():
            heard = poll.poll(self._read_timeout * 1000 if self._read_timeout else None)
        if not heard:
            self._force_close()
            raise pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query (timed out)")
        rows: int = super()._read_query_result(unbuffered)
        return rows
