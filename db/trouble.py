"""What the drivers' errors mean: an outage, a login that is refused, a server that is not to be trusted, a mistake."""

from typing import Any

_TIMED_OUT = {1969, 3024, "57014", "interrupted"}
"""What MariaDB, MySQL, PostgreSQL and SQLite say of a statement that took too long."""

_LOGIN_REFUSED = {1045, 1698, "28P01", "28000"}
"""Access denied (MySQL, MariaDB); wrong password, unknown user (PostgreSQL)."""

_NOT_TRUSTED = (  # part of what a driver says (PyMySQL with Python's ssl, libpq), and its meaning; the first that fits
    ("SSL is required but", "it offers no TLS"),
    ("server does not support SSL", "it offers no TLS"),
    ("Hostname mismatch", "its certificate is of another host"),
    ("IP address mismatch", "its certificate is of another host"),
    ("does not match host name", "its certificate is of another host"),
    ("certificate has expired", "its certificate has expired"),
    ("CERTIFICATE_VERIFY_FAILED", "none of the authorities of DB_TLS_CA has signed its certificate"),
    ("certificate verify failed", "none of the authorities of DB_TLS_CA has signed its certificate, or it has expired"),
    ("[SSL", "TLS fails"),
    ("SSL error", "TLS fails"),
)


def timed_out(error: Exception) -> bool:
    """Whether the statement took too long."""
    return bool(_TIMED_OUT.intersection(_codes(_original(error))))


def login_refused(error: Exception) -> bool:
    """Whether user or password are wrong."""
    original = _original(error)
    # before there is a session psycopg knows no code, only the server's words
    return bool(_LOGIN_REFUSED.intersection(_codes(original))) or "authentication failed" in str(original)


def not_trusted(error: Exception) -> str | None:
    """Why the server is not to be trusted, None where it is something else."""
    told = str(_original(error))
    return next((reason for words, reason in _NOT_TRUSTED if words in told), None)


def kind(error: Exception) -> str:
    """The class of the driver's error, and its number where it has one; its text may hold values of a search."""
    original = _original(error)
    number = original.args[0] if original.args and isinstance(original.args[0], int) else ""
    return f"{type(original).__name__} {number}".strip()


def _original(error: Exception) -> Any:
    return getattr(error, "orig", None) or error


def _codes(original: Any) -> set[Any]:
    return {getattr(original, "sqlstate", None), *original.args[:1]}
