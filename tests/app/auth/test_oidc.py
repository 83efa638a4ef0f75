"""Tokens are believed when an issuer's key signed them, for us, for now, with an algorithm that was pinned."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jwt
import pytest

from app.auth import keys
from app.auth.claims import ClaimNames
from app.auth.oidc import Oidc
from app.auth.principal import Credentials, NotProven, Principal
from dicomweb.errors import UpstreamBusy
from runtime.single_flight import ended
from tests.app.auth.provider import AUDIENCE, MAKERS, Provider, provided
from tests.waiting import wait_for

ALGORITHMS = tuple(MAKERS)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provided() as provider:
        yield provider


@pytest.fixture
def oidc(provider: Provider) -> Oidc:
    return Oidc(provider.issuer, [AUDIENCE, "other"], ALGORITHMS)


def bearer(token: str) -> Credentials:
    return Credentials("bearer", token)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_the_issuer_says_who_it_is(provider: Provider, oidc: Oidc, algorithm: str) -> None:
    provider.add_key("key", algorithm)
    token = provider.token("key", email="a@example.org", groups=["radiology", "staff"])
    assert oidc.principal(bearer(token)) == Principal("u1", frozenset({"radiology", "staff"}), scheme="oidc")


@pytest.mark.parametrize(
    ("claim", "claims", "groups"),
    [
        ("groups", {"groups": "a b"}, {"a", "b"}),
        ("realm_access.roles", {"realm_access": {"roles": ["a"]}}, {"a"}),
        ("realm_access.roles", {"realm_access": "a"}, set()),
        ("groups", {"groups": [1, None, "a"]}, {"a"}),
        ("groups", {}, set()),
        ("https://example.org/groups", {"https://example.org/groups": ["a"]}, {"a"}),
    ],
)
def test_groups_are_in_a_claim(provider: Provider, claim: str, claims: dict[str, Any], groups: set[str]) -> None:
    principal = Oidc(provider.issuer, [AUDIENCE], names=ClaimNames(groups=claim)).principal(
        bearer(provider.token(**claims))
    )
    assert principal is not None
    assert principal.groups == groups


def _unsigned(provider: Provider) -> str:
    payload = {"iss": provider.issuer, "aud": AUDIENCE, "sub": "u", "exp": int(time.time()) + 60}
    return jwt.encode(payload, "", "none", headers={"kid": "first"})


def _signed_with_the_public_key(provider: Provider) -> str:
    """The attack of RFC 8725 Section 2.1: the public key taken for the secret of an HMAC."""
    import hashlib
    import hmac

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    payload = {"iss": provider.issuer, "aud": AUDIENCE, "sub": "u", "exp": int(time.time()) + 60}
    signed = f"{part({'alg': 'HS256', 'kid': 'first'})}.{part(payload)}"
    digest = hmac.new(provider.documents["/first"], signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _of_header(header: str) -> str:
    return base64.urlsafe_b64encode(header.encode()).decode().rstrip("=") + ".e30.e30"


def _tampered(provider: Provider) -> str:
    header, payload, signature = provider.token().split(".")
    other = provider.token(sub="admin").split(".")[1]
    return f"{header}.{other}.{signature}" if other != payload else ""


WRONG: dict[str, Callable[[Provider], str]] = {
    "expired": lambda provider: provider.token(exp=int(time.time()) - 120),
    "not yet": lambda provider: provider.token(nbf=int(time.time()) + 120),
    "from the future": lambda provider: provider.token(iat=int(time.time()) + 120),
    "another issuer": lambda provider: provider.token(iss="https://evil.example.org"),
    "another audience": lambda provider: provider.token(aud="another"),
    "no audience": lambda provider: provider.token(aud=None),
    "no end": lambda provider: provider.token(exp=None),
    "no issuer": lambda provider: provider.token(iss=None),
    "no subject": lambda provider: provider.token(sub=None),
    "odd end": lambda provider: provider.token(exp="soon"),
    "unknown key": lambda provider: provider.token(headers={"kid": "nobody"}),
    "none": _unsigned,
    "HMAC with the public key": _signed_with_the_public_key,
    "other claims": _tampered,
    "no token": lambda _: "x.y.z",
    "empty": lambda _: "",
    "a header that is nested deeply": lambda _: _of_header("[" * 50_000),
    "a header with a key of another type": lambda _: _of_header('{"alg": "RS256", "kid": {"a": 1}}'),
    "a header with a long number": lambda _: _of_header('{"alg": "RS256", "kid": ' + "9" * 30_000 + "}"),
    "hostile": lambda _: "\N{SNOWMAN}" * 5000,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_refused(provider: Provider, oidc: Oidc, wrong: str) -> None:
    with pytest.raises(NotProven):
        oidc.principal(bearer(WRONG[wrong](provider)))


def test_an_algorithm_that_is_not_pinned_is_refused(provider: Provider) -> None:
    provider.add_key("curve", "ES256")
    with pytest.raises(NotProven):
        Oidc(provider.issuer, [AUDIENCE], ["RS256"]).principal(bearer(provider.token("curve")))


def test_clocks_may_differ_by_a_minute(provider: Provider, oidc: Oidc) -> None:
    now = int(time.time())
    assert oidc.principal(bearer(provider.token(exp=now - 30, nbf=now + 30)))


def test_a_new_key_is_found_and_one_that_is_gone_is_forgotten(
    provider: Provider, oidc: Oidc, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = provider.token()
    assert oidc.principal(bearer(old))
    del provider.keys["first"]
    provider.add_key("second")
    monkeypatch.setattr(keys, "_PAUSE_SECONDS", 0.0)
    assert oidc.principal(bearer(provider.token("second")))
    with pytest.raises(NotProven):
        oidc.principal(bearer(old))


def test_made_up_keys_do_not_flood_the_issuer(provider: Provider, oidc: Oidc) -> None:
    assert oidc.principal(bearer(provider.token()))
    for number in range(20):
        with pytest.raises(NotProven):
            oidc.principal(bearer(provider.token(headers={"kid": f"made up {number}"})))
    assert len(provider.asked) == 2  # the discovery document and the keys, once


def test_while_the_issuer_is_down_known_keys_go_on_and_others_must_wait(
    provider: Provider, oidc: Oidc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_PAUSE_SECONDS", 0.0)
    assert oidc.principal(bearer(provider.token()))
    provider.documents.clear()
    monkeypatch.setattr(keys, "_FRESH_SECONDS", 0.0)
    assert oidc.principal(bearer(provider.token()))
    with pytest.raises(UpstreamBusy):
        Oidc(provider.issuer, [AUDIENCE]).principal(bearer(provider.token()))


@pytest.mark.slow
def test_known_keys_go_on_while_the_issuer_hangs(
    provider: Provider, oidc: Oidc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And tokens that name other keys stop no more threads than a few, for a short time, and ask it once."""
    assert oidc.principal(bearer(provider.token()))
    provider.hangs = True
    monkeypatch.setattr(oidc._keys, "_fetched_at", time.monotonic() - 1.5 * keys._FRESH_SECONDS)  # the keys are due
    monkeypatch.setattr(keys, "_PAUSE_SECONDS", 0.0)
    waiting, most_waiting, lock = [0], [0], threading.Lock()

    def counted(renewal: "Future[None]", seconds: float) -> bool:
        with lock:
            waiting[0] += 1
            most_waiting[0] = max(*most_waiting, *waiting)
        try:
            return ended(renewal, seconds)
        finally:
            with lock:
                waiting[0] -= 1

    def refused(number: int) -> None:
        with pytest.raises(UpstreamBusy):
            oidc.principal(bearer(provider.token(headers={"kid": f"made up {number}"})))

    monkeypatch.setattr(keys, "ended", counted)
    with ThreadPoolExecutor(48) as threads:
        stopped = threads.map(refused, range(96))
        wait_for(lambda: waiting[0])
        began = time.monotonic()
        for _ in range(100):
            assert oidc.principal(bearer(provider.token()))
        assert time.monotonic() - began < 60  # who waits does so for 2 seconds: for 200 together
        assert list(stopped) == [None] * 96
    assert most_waiting[0] <= keys._MOST_WAITING
    assert provider.asked.count("/.well-known/openid-configuration") <= 3


def test_keys_that_nobody_has_looked_at_for_long_are_renewed_before_they_count(
    provider: Provider, oidc: Oidc, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = provider.token()
    assert oidc.principal(bearer(old))
    del provider.keys["first"]
    provider.add_key("second")
    monkeypatch.setattr(keys, "_FRESH_SECONDS", 0.0)
    monkeypatch.setattr(keys, "_PAUSE_SECONDS", 0.0)
    with pytest.raises(NotProven):
        oidc.principal(bearer(old))


def test_a_discovery_document_of_another_issuer_is_not_believed(provider: Provider, oidc: Oidc) -> None:
    provider.documents["/.well-known/openid-configuration"]["issuer"] = "https://evil.example.org"
    with pytest.raises(UpstreamBusy):
        oidc.principal(bearer(provider.token()))


@pytest.mark.parametrize("credentials", [Credentials(), Credentials("basic", "x"), Credentials("bearer", "adp_x")])
def test_other_credentials_are_not_its_affair(oidc: Oidc, credentials: Credentials) -> None:
    assert oidc.principal(credentials) is None
