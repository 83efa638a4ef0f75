"""New connections to a database: with the login and the trust that the settings give, for reading and for writing."""

from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.engine import URL

from db import driver_errors, drivers
from db.login import Login
from db.tls import Tls


def kind_of(dialect: Dialect) -> str:
    """`mysql`, which MariaDB is as well, `postgresql` or `sqlite`."""
    return "mysql" if dialect.name == "mariadb" else dialect.name


def connect(login: Login, tls: Tls, dialect: Dialect) -> Any:
    """A new connection of the driver. If the login is refused, one with a login that is read again.

    Errors are those of the driver, and `db.drivers.UnusableUrl` for options that it does not take.
    """
    url = login.url
    try:
        return _connect_to(url, login, tls, dialect)
    except Exception as error:
        renewed = login.other_than(url) if driver_errors.login_refused(error) else None
        if renewed is None:
            raise
    return _connect_to(renewed, login, tls, dialect)


def _connect_to(url: URL, login: Login, tls: Tls, dialect: Dialect) -> Any:
    positional, named = dialect.create_connect_args(login.with_password(url))
    match kind_of(dialect):
        case "mysql":
            encryption = tls.mysql(named)
        case "postgresql":
            encryption = tls.postgresql(named)
        case _:
            encryption = {}
    return drivers.connect(kind_of(dialect), dialect, positional, {**named, **encryption})
