"""Names and passwords (RFC 7617), from a file as `htpasswd -B` writes it: `name:hash`, bcrypt or argon2."""

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from app.auth.principal import Credentials, NotProven, Principal
from dicomweb.errors import UpstreamBusy

_REMEMBERED_SECONDS = 300.0
_REMEMBERED = 1024
_AT_ONCE = 2  # a hash is made to cost a core a tenth of a second: more at once would starve those who are known
_PATIENCE_SECONDS = 5.0


def parse_users(path: Path) -> dict[str, str]:
    """The hash of each name in the file; ValueError where a line is no `name:hash` with a hash that is known."""
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
    """Who gave the right password. One that was right is remembered for minutes: viewers send it with each frame."""

    challenge = 'Basic realm="DICOMweb", charset="UTF-8"'

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users
        self._unknown = next(iter(users.values()), "")  # checked for names that are not there: it takes as long
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._checking = threading.BoundedSemaphore(_AT_ONCE)

    def principal(self, credentials: Credentials) -> Principal | None:
        """Who it is, by a name and a password."""
        if credentials.scheme != "basic":
            return None
        name, password = _parse(credentials.value)
        seen = hmac.new(self._key, f"{name}:{password}".encode(), hashlib.sha256).digest()
        if not self._remembered(seen):
            self._check(name, password)
            self._remember(seen)
        return Principal(name, scheme="basic")

    def _check(self, name: str, password: str) -> None:
        if not self._checking.acquire(timeout=_PATIENCE_SECONDS):
            raise UpstreamBusy("too many passwords are being checked")
        try:
            right = _matches(password, self._users.get(name, self._unknown))
        finally:
            self._checking.release()
        if not right or name not in self._users:
            raise NotProven("wrong name or password")

    def _remembered(self, seen: bytes) -> bool:
        with self._lock:
            return time.monotonic() < self._right.get(seen, 0.0)

    def _remember(self, seen: bytes) -> None:
        with self._lock:
            self._right[seen] = time.monotonic() + _REMEMBERED_SECONDS
            self._right.move_to_end(seen)
            if len(self._right) > _REMEMBERED:
                self._right.popitem(last=False)


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
        return len(encoded) <= 72 and bcrypt.checkpw(encoded, password_hash.encode())  # bcrypt knows 72 bytes
    except ValueError:  # a hash or a password that bcrypt does not take
        return False
