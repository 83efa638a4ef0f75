"""Where the metadata index is and how to log in there; asked for again when the login is refused."""

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy.engine import URL, make_url

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 5.0  # between two readings: a password that is wrong stays wrong for a while


class Login:
    """The URL of the index. Safe to share between threads; of a secret that was rotated it learns by being refused."""

    def __init__(self, url: str | URL, read_again: Callable[[], URL] | None = None) -> None:
        """`read_again` gives the URL as it is now, and raises what it will where it cannot."""
        self._url = make_url(url)
        self._read_again = read_again
        self._lock = threading.Lock()
        self._read_at = -_PAUSE_SECONDS

    @property
    def url(self) -> URL:
        """As it was read last."""
        return self._url

    def other_than(self, refused: URL) -> URL | None:
        """Another URL than the one that was refused, None where there is none: of all who come at a time one reads."""
        with self._lock:
            if self._url != refused:
                return self._url
            if self._read_again is None or time.monotonic() < self._read_at + _PAUSE_SECONDS:
                return None
            self._read_at = time.monotonic()
            try:
                self._url = self._read_again()
            except Exception as error:  # noqa: BLE001 - whatever it is, the login stays refused
                log.error("database secret not read again: %s", error)
                return None
            if self._url == refused:
                return None
            log.info("login of the index renewed")
            return self._url
