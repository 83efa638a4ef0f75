"""Names and passwords from a file of htpasswd."""

import base64
import threading
from pathlib import Path

import bcrypt
import pytest
from argon2 import PasswordHasher

from app.auth import basic
from app.auth.basic import Basic, parse_users
from app.auth.principal import Credentials, NotProven, Principal

HASHES = {
    "anna": bcrypt.hashpw(b"geheim", bcrypt.gensalt(4)).decode(),
    "otto": bcrypt.hashpw("pässwörd:x".encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$"),
    "ada": PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("argon"),
}


def given(name: str, password: str) -> Credentials:
    return Credentials("basic", base64.b64encode(f"{name}:{password}".encode()).decode())


@pytest.mark.parametrize(("name", "password"), [("anna", "geheim"), ("otto", "pässwörd:x"), ("ada", "argon")])
def test_the_right_password(name: str, password: str) -> None:
    assert Basic(HASHES).principal(given(name, password)) == Principal(name, scheme="basic")


@pytest.mark.parametrize(
    "credentials",
    [
        given("anna", "wrong"),
        given("ada", "wrong"),
        given("nobody", "geheim"),
        given("anna", ""),
        given("anna", "geheim" + "x" * 100),
        given("anna", "gehe\0im"),
        Credentials("basic", ""),
        Credentials("basic", "%%%"),
        Credentials("basic", base64.b64encode(b"no colon").decode()),
        Credentials("basic", base64.b64encode(b"\xff:\xff").decode()),
    ],
)
def test_wrong_ones_are_refused(credentials: Credentials) -> None:
    with pytest.raises(NotProven):
        Basic(HASHES).principal(credentials)


def test_a_password_that_was_right_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    users = Basic(HASHES)
    assert users.principal(given("anna", "geheim"))
    monkeypatch.setattr(basic, "_matches", lambda *_: pytest.fail("computed again"))
    assert users.principal(given("anna", "geheim"))


def test_many_guesses_do_not_take_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = 0, 0, threading.Lock()
    inner = basic._matches

    def counted(*arguments: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return inner(*arguments)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(basic, "_matches", counted)
    users = Basic(HASHES)

    def guess(number: int) -> None:
        with pytest.raises(NotProven):
            users.principal(given("anna", str(number)))

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 2


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("# staff\n\n" + "".join(f"{name}:{value}\n" for name, value in HASHES.items()))
    assert parse_users(path) == HASHES


@pytest.mark.parametrize("line", ["anna", "anna:", ":$2y$05$x", "anna:{SHA}x", "anna:$apr1$x$y"])
def test_a_hash_that_is_too_weak_or_none_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "users"
    path.write_text(f"# staff\n{line}\n")
    with pytest.raises(ValueError, match="line 2"):
        parse_users(path)
