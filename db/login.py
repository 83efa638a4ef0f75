"""The login of the metadata index: its URL, read again when the login is refused."""

import logging
from collections.abc import Callable

from sqlalchemy.engine import URL

from db.drivers import usable_url
from runtime.single_flight import SingleFlight, ended

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 5.0  # between two readings: a wrong password stays wrong for a while
_PATIENCE_SECONDS = 5.0  # of a thread whose login was refused; the reading itself may take longer


class Login:
    """The URL of the index. Safe to share between threads; of a secret that was rotated it learns by being refused."""

    def __init__(
        self,
        url: str | URL,
        read_again: Callable[[], URL] | None = None,
        make_password: Callable[[URL], str] | None = None,
    ) -> None:
        """`read_again` gives the URL as it is now, and raises what it will where it cannot.

        `make_password` makes a password for each connection, in place of that of the URL.
        `db.drivers.UnusableUrl` for a URL that is none, or of a driver that is not there.
        """
        self._url = usable_url(url)
        self._read_again = read_again
        self._make_password = make_password
        self._reading = SingleFlight(self._read)

    @property
    def url(self) -> URL:
        """As it was read last."""
        return self._url

    def without_reading_again(self) -> "Login":
        """A copy of this login that does not ask for another one when it is refused."""
        return Login(self._url, make_password=self._make_password)

    def with_password(self, url: URL) -> URL:
        """The URL of one connection, with the password that is made for it, if one is."""
        return url.set(password=self._make_password(url)) if self._make_password else url

    def other_than(self, refused: URL) -> URL | None:
        """Another URL than the one that was refused, None where there is none: of all who come at a time one reads."""
        if self._url == refused and self._read_again:
            ended(self._reading.latest(_PAUSE_SECONDS), _PATIENCE_SECONDS)
        return self._url if self._url != refused else None

    def _read(self) -> None:
        try:
            url = self._read_again() if self._read_again else self._url
        except Exception as error:  # noqa: BLE001 - whatever it is, the login stays refused
            log.error("database secret not read again: %s", error)
            return
        if url != self._url:
            self._url = url
            log.info("login of the index renewed")
