"""Names and passwords (RFC 7617), from a file that `htpasswd -B` writes: lines `name:hash`, bcrypt or argon2."""

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from app.auth.login_file import LoginFile
from app.auth.principal import Credentials, Kept, NotProven, Principal, mark_of
from dicomweb.errors import UpstreamBusy

_REMEMBERED_SECONDS = 300.0
_REMEMBERED = 1024
_AT_ONCE = 2  # a check takes a core a tenth of a second: more at once would slow down users who are logged in
_PATIENCE_SECONDS = 5.0
_ROUNDS = 12  # of a new hash, as logarithm: a fifth of a second
LONGEST_PASSWORD_BYTES = 72
"""Bcrypt uses no more of a password."""


def parse_users(path: Path) -> dict[str, str]:
    """Parse the hash of each name in the file; ValueError for a line without a name and a bcrypt or argon2 hash."""
    users: dict[str, str] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, colon, password_hash = text.partition(":")
        if not (name and colon and password_hash.startswith(("$2y$", "$2b$", "$2a$", "$argon2"))):
            raise ValueError(f"line {number} of {path} is not a name and a bcrypt or argon2 hash")
        users[name] = password_hash
    return users


class Basic:
    """The authenticator for passwords.

    A right password is remembered for five minutes, as viewers send it with each request.
    """

    challenge = 'Basic realm="DICOMweb", charset="UTF-8"'

    def __init__(self, users: Mapping[str, str] | Callable[[], Mapping[str, str]]) -> None:
        """`users` has the hash of each name; a function gives the ones of now."""
        self._find_users = users if callable(users) else lambda: users
        self.file = users if isinstance(users, LoginFile) else None
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._verified: OrderedDict[bytes, float] = OrderedDict()
        self._checking = threading.BoundedSemaphore(_AT_ONCE)

    def principal(self, credentials: Credentials) -> Principal | None:
        """The user with this password; None for other credentials, NotProven for a wrong password.

        UpstreamBusy if too many passwords are being checked.
        """
        if credentials.scheme != "basic":
            return None
        name, password = _parse(credentials.value)
        known = f"{name}:{password}\0{self.users.get(name, '')}"  # another hash is another password
        digest = hmac.new(self._key, known.encode(), hashlib.sha256).digest()
        if not self._remembered(digest):
            self._check(name, password)
            self._remember(digest)
        return Principal(name, scheme="basic")

    @property
    def users(self) -> Mapping[str, str]:
        """The hash of each name."""
        return self._find_users()

    def keep(self, principal: Principal, _proof: str = "") -> Kept:
        """Another hash of the password ends the session."""
        return Kept(principal.name, mark_of(self.users[principal.name]))

    def recall(self, kept: Kept) -> Principal | None:
        """The user, if the file still has the same hash."""
        password_hash = self.users.get(kept.name)
        same = password_hash is not None and hmac.compare_digest(mark_of(password_hash), kept.mark)
        return Principal(kept.name, scheme="basic") if same else None

    def _check(self, name: str, password: str) -> None:
        users = self.users
        unknown = next(iter(users.values()), "")  # checked for unknown names: the time tells nothing
        if not self._checking.acquire(timeout=_PATIENCE_SECONDS):
            raise UpstreamBusy("too many passwords are being checked")
        try:
            matches = _matches(password, users.get(name, unknown))
        finally:
            self._checking.release()
        if not matches or name not in users:
            raise NotProven("wrong name or password")

    def _remembered(self, digest: bytes) -> bool:
        with self._lock:
            return time.monotonic() < self._verified.get(digest, 0.0)

    def _remember(self, digest: bytes) -> None:
        with self._lock:
            self._verified[digest] = time.monotonic() + _REMEMBERED_SECONDS
            self._verified.move_to_end(digest)
            if len(self._verified) > _REMEMBERED:
                self._verified.popitem(last=False)


def new_line(name: str, password: str) -> str:
    """The line of a user, without its end."""
    return f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(_ROUNDS)).decode()}"


def _parse(value: str) -> tuple[str, str]:
    try:
        name, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise NotProven("Basic credentials are ill-formed") from error
    if not colon:
        raise NotProven("Basic credentials are ill-formed")
    return name, password


def _matches(password: str, password_hash: str) -> bool:
    if password_hash.startswith("$argon2"):
        try:
            return PasswordHasher().verify(password_hash, password)
        except (Argon2Error, InvalidHashError):
            return False
    encoded = password.encode()
    try:
        return len(encoded) <= LONGEST_PASSWORD_BYTES and bcrypt.checkpw(encoded, password_hash.encode())
    except ValueError:  # a hash or a password that bcrypt does not accept
        return False
