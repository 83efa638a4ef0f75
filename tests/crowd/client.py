"""A client that keeps its connection, as viewers do, and reads answers to their end."""

from http.client import HTTPConnection, HTTPException

from tests.crowd.mix import Ask
from tests.service.answers import Answer

STOP_SECONDS = 120.0
"""A service that sends nothing for so long has stopped; a busy machine takes tens of seconds for a whole archive."""


class Client:
    """One connection to the service on a port of loopback, made anew when it is closed."""

    def __init__(self, port: int, prefix: str = "/aetitle") -> None:
        self._prefix = prefix
        self.was_kept = False
        """Whether the last request went over a connection that had carried one before."""
        self._connection = HTTPConnection("127.0.0.1", port, timeout=STOP_SECONDS)

    def answer(self, ask: Ask) -> Answer:
        """The answer; TimeoutError when nothing comes, another OSError or HTTPException when it is cut off."""
        self.was_kept = self._connection.sock is not None
        try:
            self._connection.request(ask.method, self._prefix + ask.path, ask.body, _headers(ask))
            response = self._connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except (OSError, HTTPException):
            self._connection.close()
            raise

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


def _headers(ask: Ask) -> dict[str, str]:
    return {"Accept-Encoding": "identity", **ask.headers}
