"""The meaning of the drivers' errors: the index is away or busy, or a search is too much for it.

Only an error without an answer of the server is an outage. A refusal that is in none of the tables here is a mistake in
a statement of ours: the server is well.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any


class Cause(Enum):
    """The reason why a statement has no rows."""

    SLOW = auto()  # it took too long
    ASKED = auto()  # it has a value that the database cannot compare, or too many values
    BUSY = auto()  # the server has no room for the statement at the moment
    AWAY = auto()  # there is no server, it refuses the login, or is not trusted
    REFUSED = auto()  # the statement is wrong, or the tables are not those of an index


CHARACTERS = "the metadata index cannot hold a character of a value"
PATTERN = "the metadata index cannot search for a pattern of this search"
VALUE = "a value is beyond what the metadata index can hold"
TOO_MUCH = "the search has more values than the metadata index takes in one statement"

ASKED: Mapping[int | str, str] = {
    # MySQL and MariaDB, by number
    **dict.fromkeys((1267, 1270, 1271), CHARACTERS),  # illegal mix of collations
    **dict.fromkeys((1300, 1366, 1977, 3854, 3988), CHARACTERS),  # not of the character set, or not to be converted
    1139: PATTERN,  # MariaDB's regular expressions
    **dict.fromkeys(range(3684, 3700), PATTERN),  # MySQL's
    **dict.fromkeys((1264, 1292, 1411, 1525, 1690), VALUE),  # out of range, incorrect value
    **dict.fromkeys((1104, 1119, 1153, 1390, 1436, 1473, 3170), TOO_MUCH),  # rows, stack, packet, placeholders, depth
    # PostgreSQL, by SQLSTATE or its class
    **dict.fromkeys(("22021", "22P05"), CHARACTERS),
    "2201B": PATTERN,
    "22": VALUE,
    "54": TOO_MUCH,
}
"""Errors that a value of a search may cause, and the text for the client."""

_ASKED_BY_TEXT = (  # SQLite, which has no numbers for it before Python 3.11; and drivers, before they ask the server
    ("too many SQL variables", TOO_MUCH),
    ("too many terms", TOO_MUCH),
    ("Expression tree is too large", TOO_MUCH),
    ("parser stack overflow", TOO_MUCH),
    ("string or blob too big", TOO_MUCH),
    ("pattern too complex", PATTERN),
    ("user-defined function raised exception", PATTERN),
    ("number of parameters must be between", TOO_MUCH),
    ("cannot contain NUL", CHARACTERS),
    ("can not be used with MySQL", VALUE),  # not a number, infinity
)

_SLOW = {1969, 3024, "57014", "interrupted"}
"""The errors of MariaDB, MySQL, PostgreSQL and SQLite for a statement that took too long."""

_BUSY = (
    {1021, 1037, 1038, 1041, 1114, 1135, 1205, 1206, 1213, 1317, "40", "53", "55"}
    | {"database is locked", "database or disk is full", "out of memory"}
)  # fmt: skip
"""Memory, disk, locks; conflicts with the replication."""

_AWAY = (
    {1040, 1042, 1043, 1044, 1045, 1049, 1053, 1129, 1130, 1152, 1184, 1203, 1226, 1698, 1927, 3118, 4151}
    | {1290, 1792, 1836, "25006"}
    | {"08", "28", "3D", "53300", "57P", "58", "XX"}
    | {"unable to open database file", "disk I/O error", "database disk image is malformed", "file is not a database"}
)
"""Too many connections, refused logins, unknown databases; servers that shut down, or only read since a failover; files
that cannot be read."""

_OF_THE_CLIENT = range(2000, 3000)
"""Numbers that PyMySQL gives itself, all of lost connections or of those that were not made."""

_LOGIN_REFUSED = {1045, 1698, "28P01", "28000"}
"""Access denied (MySQL, MariaDB); wrong password, unknown user (PostgreSQL)."""

_WRITING_REFUSED = {1142, 1143, 1370, "42501", "attempt to write a readonly database"}
"""Command denied (MySQL, MariaDB); insufficient privilege (PostgreSQL); a file that may only be read (SQLite)."""

_NOT_TRUSTED = (  # part of a driver's text (PyMySQL with Python's ssl, libpq), and its meaning; the first match counts
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


def cause(error: Exception) -> Cause:
    """The cause of a driver's error."""
    codes = _codes(_original(error))
    if codes & _SLOW:
        return Cause.SLOW
    if asked_too_much(error):
        return Cause.ASKED
    if codes & _AWAY or not_trusted(error) or any(isinstance(code, int) and _is_of_client(code) for code in codes):
        return Cause.AWAY
    if codes & _BUSY:
        return Cause.BUSY
    return Cause.AWAY if _has_no_code(_original(error)) else Cause.REFUSED


def asked_too_much(error: Exception) -> str | None:
    """The text for the client if a value of the search caused the error; None otherwise."""
    original = _original(error)
    if isinstance(original, UnicodeError):
        return CHARACTERS  # half of a surrogate pair
    if isinstance(original, OverflowError):
        return VALUE
    by_code = (ASKED[code] for code in sorted(_codes(original), key=lambda code: -len(str(code))) if code in ASKED)
    by_text = (text for words, text in _ASKED_BY_TEXT if words in str(original))
    return next(by_code, None) or next(by_text, None)


def login_refused(error: Exception) -> bool:
    """Whether user or password are wrong."""
    original = _original(error)
    # before there is a session psycopg knows no code, only the server's words
    return bool(_LOGIN_REFUSED.intersection(_codes(original))) or "authentication failed" in str(original)


def writing_refused(error: Exception) -> bool:
    """Whether the login has no right to change the tables."""
    return bool(_WRITING_REFUSED.intersection(_codes(_original(error))))


def not_trusted(error: Exception) -> str | None:
    """The reason why the server is not trusted; None if the error has another cause."""
    text = str(_original(error))
    return next((reason for words, reason in _NOT_TRUSTED if words in text), None)


def kind(error: Exception) -> str:
    """The class and number of a driver's error for the log; its text may hold values of a search."""
    original = _original(error)
    number = original.args[0] if original.args and isinstance(original.args[0], int) else ""
    return f"{type(original).__name__} {number or getattr(original, 'sqlstate', None) or ''}".strip()


def _original(error: Exception) -> Any:
    return getattr(error, "orig", None) or error


def _codes(original: Any) -> set[Any]:
    """The codes of an error: its number, its SQLSTATE and the classes of that, or its text."""
    state = getattr(original, "sqlstate", None) or ""
    return {code for code in (state, state[:3], state[:2], *original.args[:1]) if code != ""}


def _is_of_client(code: int) -> bool:
    return code in _OF_THE_CLIENT or code == 0


def _has_no_code(original: Any) -> bool:
    """Whether the driver raised the error by itself, for a connection it lost or could not make: servers send codes."""
    driver = type(original).__module__.partition(".")[0]
    if type(original).__name__ not in ("OperationalError", "InterfaceError", "InternalError", "ConnectionTimeout"):
        return False
    return (driver == "psycopg" and original.sqlstate is None) or (
        driver == "pymysql" and not isinstance(next(iter(original.args), None), int)
    )
