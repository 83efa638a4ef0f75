"""A session counts as long as it may, for whom it was made, and only as we have written it."""

import json
from dataclasses import replace
from typing import Any

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.access_rules import AccessRule
from app.auth.basic import Basic
from app.auth.bearer import Bearer, new_token, parse_tokens
from app.auth.issued import Issued
from app.auth.principal import Credentials, NotProven, Principal
from app.auth.revocations import Revocations
from app.auth.session import (
    IDLE_SECONDS,
    LONGEST_SECONDS,
    RENEWED_SECONDS,
    VOUCHED_SECONDS,
    SessionEnded,
    Sessions,
    TooLarge,
)
from db.scope import EVERYTHING

KEY = b"k" * 32
HASHES = {name: bcrypt.hashpw(name.encode(), bcrypt.gensalt(4)).decode() for name in ("anna", "bert")}
ANNA = Principal("anna", scheme="basic")
START = 1_800_000_000.0


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def rule(group: str | None = None, **claims: Any) -> AccessRule:
    return AccessRule(None, group, tuple(claims.items()), None, EVERYTHING)


def made(clock: Clock | None = None, key: bytes = KEY, **ways: Any) -> Sessions:
    return Sessions(
        key, ways or {"basic": Basic(HASHES), "oidc": Issued("https://i", None)}, Revocations(), clock or Clock()
    )


def caller(sessions: Sessions, token: str) -> Principal | None:
    return sessions.principal(Credentials(session=token))


def test_a_session_is_its_user() -> None:
    sessions = made()
    session = sessions.open(ANNA)
    found = caller(sessions, sessions.token(session))
    assert found == ANNA and found is not None and found.user == "basic:anna"
    assert found.session == session
    assert caller(sessions, "") is None
    assert sessions.principal(Credentials("basic", "x", session=sessions.token(session))) is None


def test_every_login_has_an_id_of_its_own() -> None:
    sessions = made()
    assert len({sessions.open(ANNA).session_id for _ in range(100)}) == 100


@given(data=st.data())
def test_a_token_with_any_byte_changed_is_refused(data: st.DataObject) -> None:
    sessions = made()
    token = sessions.token(sessions.open(ANNA))
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=126).filter(lambda one: one != token[place]))
    with pytest.raises(NotProven, match="not valid"):
        caller(sessions, token[:place] + other + token[place + 1 :])


@given(text=st.text(max_size=200))
def test_no_text_is_a_session_unless_it_was_made_here(text: str) -> None:
    with pytest.raises(NotProven):
        made().read(text or "x")


@given(data=st.data())
def test_parts_of_two_tokens_make_none(data: st.DataObject) -> None:
    sessions = made()
    first, second = (sessions.token(sessions.open(replace(ANNA, name=name))) for name in ("anna", "bert"))
    cut = data.draw(st.integers(1, len(first) - 1))
    mixed = first[:cut] + second[cut:]
    if mixed not in (first, second):
        with pytest.raises(NotProven):
            caller(sessions, mixed)


def test_another_key_makes_no_session() -> None:
    foreign = made(key=b"x" * 32)
    with pytest.raises(NotProven):
        caller(made(), foreign.token(foreign.open(ANNA)))


def test_it_ends_when_it_is_not_used_and_after_half_a_day() -> None:
    clock = Clock()
    sessions = made(clock)
    session = sessions.open(ANNA)
    clock.now = START + IDLE_SECONDS - 1
    assert caller(sessions, sessions.token(session)) == ANNA
    clock.now = START + IDLE_SECONDS
    with pytest.raises(SessionEnded):
        caller(sessions, sessions.token(session))
    clock.now = START
    while clock.now < START + LONGEST_SECONDS - RENEWED_SECONDS:  # used all day
        clock.now += RENEWED_SECONDS
        newer = sessions.renewed(caller_session(sessions, session))
        assert newer is not None
        session = newer
    clock.now = START + LONGEST_SECONDS
    with pytest.raises(SessionEnded):
        caller(sessions, sessions.token(session))


def caller_session(sessions: Sessions, session: Any) -> Any:
    found = caller(sessions, sessions.token(session))
    assert found is not None and found.session is not None
    return found.session


def test_a_new_cookie_is_made_only_now_and_then() -> None:
    clock = Clock()
    sessions = made(clock)
    session = sessions.open(ANNA)
    clock.now += RENEWED_SECONDS - 1
    assert sessions.renewed(session) is None
    clock.now += 1
    newer = sessions.renewed(session)
    assert newer is not None and newer.session_id == session.session_id and newer.started == session.started


def test_after_a_logout_no_cookie_of_the_session_counts() -> None:
    clock = Clock()
    sessions = made(clock)
    first, other = sessions.open(ANNA), sessions.open(ANNA)
    clock.now += RENEWED_SECONDS
    second = sessions.renewed(first)
    assert second is not None
    sessions.revoke(second)
    for session in (first, second):
        with pytest.raises(SessionEnded):
            caller(sessions, sessions.token(session))
    assert caller(sessions, sessions.token(other)) == ANNA


def test_a_user_who_is_gone_or_has_another_password_has_no_session() -> None:
    sessions = made()
    token = sessions.token(sessions.open(ANNA))
    for users in ({"bert": HASHES["bert"]}, {"anna": HASHES["bert"]}):
        with pytest.raises(SessionEnded):
            caller(made(basic=Basic(users)), token)
    with pytest.raises(SessionEnded):
        caller(made(bearer=Bearer({})), token)


def test_a_session_by_a_token_ends_with_its_line(tmp_path: Any) -> None:
    (first, line), (_, second) = new_token("pacs", "a"), new_token("pacs", "a")
    (tmp_path / "both").write_text(f"{line}\n{second}\n")
    (tmp_path / "one").write_text(f"{second}\n")
    (tmp_path / "other").write_text(line.removesuffix(":a") + ":b")
    both = Bearer(parse_tokens(tmp_path / "both"))
    principal = both.principal(Credentials("bearer", first))
    assert principal is not None
    sessions = made(bearer=both)
    token = sessions.token(sessions.open(principal, first))
    assert first not in token
    found = caller(sessions, token)
    assert found == principal
    now = caller(made(bearer=Bearer(parse_tokens(tmp_path / "other"))), token)
    assert now is not None and now.groups == {"b"}  # its groups are those of now
    with pytest.raises(SessionEnded):
        caller(made(bearer=Bearer(parse_tokens(tmp_path / "one"))), token)


def test_what_the_rules_ask_for_is_kept_and_no_more() -> None:
    issued = Issued("https://i", [rule("radiology"), rule(department="dental")])
    user = Principal("u1", frozenset(["radiology", "staff"]), {"department": "dental", "phone": "1"}, "oidc")
    sessions = made(oidc=issued)
    token = sessions.token(sessions.open(user))
    found = caller(sessions, token)
    assert found is not None
    assert (found.groups, found.claims, found.user) == (frozenset({"radiology"}), {"department": "dental"}, "oidc:u1")
    for other in ([rule("radiology")], [rule("radiology"), rule(department="x"), rule("staff")], None):
        with pytest.raises(SessionEnded):
            caller(made(oidc=Issued("https://i", other)), token)
    with pytest.raises(SessionEnded):
        caller(made(oidc=Issued("https://other", [rule("radiology"), rule(department="dental")])), token)


def test_an_issuer_must_vouch_again() -> None:
    clock = Clock()
    sessions = made(clock)
    user = Principal("u1", scheme="oidc")
    session = sessions.open(user)
    while clock.now + RENEWED_SECONDS < START + VOUCHED_SECONDS:
        clock.now += RENEWED_SECONDS
        session = sessions.renewed(session) or session
    vouched = sessions.vouched(session)
    clock.now = START + VOUCHED_SECONDS
    with pytest.raises(SessionEnded):
        caller(sessions, sessions.token(session))
    assert caller(sessions, sessions.token(vouched)) == user


def test_a_cookie_has_a_bound() -> None:
    issued = Issued("https://i", [rule(department="x")])
    sessions = made(oidc=issued)
    with pytest.raises(TooLarge):
        sessions.token(sessions.open(Principal("u1", frozenset(), {"department": "x" * 4000}, "oidc")))
    token = sessions.token(sessions.open(Principal("ü" * 100, frozenset(), {"department": "x" * 1000}, "oidc")))
    assert len(token) < 4000 and token.isascii() and json.dumps(token)
