"""What a browser brings back from the issuer belongs to what it was sent with, or nobody is signed in."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app.auth.claims import DEFAULT_NAMES
from app.auth.issuer_login import Attempt, Client, Issue, IssuerLogin
from app.auth.principal import NotProven, Principal
from dicomweb.errors import UpstreamBusy
from tests.app.auth.provider import Provider, provided

RETURN = "https://dicom.example.org/console/login/return"
USER = Principal("u1", scheme="oidc")


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provided() as provider:
        yield provider


def login_at(provider: Provider, **changes: Any) -> IssuerLogin:
    client = Client(*provider.client, ("openid", "groups"))
    return IssuerLogin(provider.issuer, replace(client, **changes), ("RS256",), DEFAULT_NAMES)


def answer(provider: Provider, login: IssuerLogin, attempt: Attempt) -> dict[str, str]:
    """What a browser brings back."""
    back = urlsplit(provider.authorize(urlsplit(login.url(attempt, RETURN)).query))
    assert back.geturl().startswith(RETURN)
    return {name: values[0] for name, values in parse_qs(back.query).items()}


def through(provider: Provider, login: IssuerLogin, attempt: Attempt | None = None) -> Issue:
    attempt = attempt or Attempt.new()
    return login.finish(attempt, answer(provider, login, attempt), RETURN)


@pytest.mark.parametrize("secret", ["s3cret/+ :%", None])
def test_a_user_whom_the_issuer_knows_is_signed_in(provider: Provider, secret: str | None) -> None:
    provider.client = ("the console", secret)
    provider.user = {"sub": "u1", "groups": ["radiology"]}
    issue = through(provider, login_at(provider))
    assert issue.principal is not None
    assert (issue.principal.user, issue.principal.groups) == ("oidc:u1", frozenset({"radiology"}))


@pytest.mark.parametrize(
    "change",
    [
        {"state": "another"}, {"state": ""}, {"code": "another"}, {"code": ""}, {"iss": "https://mixed.up"},
        {"error": "access_denied"},
    ],
)  # fmt: skip
def test_another_answer_signs_nobody_in(provider: Provider, change: dict[str, str]) -> None:
    login, attempt = login_at(provider), Attempt.new()
    given = answer(provider, login, attempt)
    with pytest.raises(NotProven):
        login.finish(attempt, {**given, **change}, RETURN)


def test_a_code_counts_once_and_for_who_began(provider: Provider) -> None:
    login, attempt = login_at(provider), Attempt.new()
    given = answer(provider, login, attempt)
    with pytest.raises(NotProven):  # a stolen code, without the verifier
        login.finish(replace(attempt, verifier="x" * 43), given, RETURN)
    given = answer(provider, login, attempt)
    assert login.finish(attempt, given, RETURN).principal == USER
    with pytest.raises(NotProven):
        login.finish(attempt, given, RETURN)


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"}, {"nonce": None}, {"aud": "another"}, {"azp": "another"}, {"iss": "https://another"},
        {"exp": 1}, {"sub": None}, {"sub": 5},
    ],
)  # fmt: skip
def test_a_token_that_is_not_for_this_login_signs_nobody_in(provider: Provider, claims: dict[str, Any]) -> None:
    provider.forged = claims
    with pytest.raises(NotProven):
        through(provider, login_at(provider))


def test_a_wrong_secret_signs_nobody_in(provider: Provider) -> None:
    with pytest.raises(NotProven):
        through(provider, login_at(provider, secret="wrong"))  # noqa: S106 - a test's


def test_the_issuer_vouches_again_as_long_as_it_knows_the_user(provider: Provider) -> None:
    login = login_at(provider)
    first = through(provider, login)
    provider.user = {"sub": "u1", "groups": ["research"]}
    second = login.refresh(first.refresh_token, USER)
    assert second.principal is not None and second.principal.groups == {"research"}
    assert second.refresh_token != first.refresh_token
    with pytest.raises(NotProven):  # each is for one use
        login.refresh(first.refresh_token, USER)
    with pytest.raises(NotProven):
        login.refresh(second.refresh_token, Principal("u2", scheme="oidc"))
    provider.refuses = True
    with pytest.raises(NotProven):
        login.refresh(through_token(provider), USER)


def through_token(provider: Provider) -> str:
    return next(token for token, usable in provider.refresh_tokens.items() if usable)


def test_an_issuer_that_is_away_is_503_and_not_a_refusal(provider: Provider) -> None:
    login = login_at(provider)
    login.url(Attempt.new(), RETURN)
    provider.documents["/.well-known/openid-configuration"] = {"issuer": "https://another"}
    with pytest.raises(UpstreamBusy):
        login_at(provider).url(Attempt.new(), RETURN)
    away = IssuerLogin("http://127.0.0.1:1", Client("x", None, ("openid",)), ("RS256",), DEFAULT_NAMES)
    with pytest.raises(UpstreamBusy):
        away.url(Attempt.new(), RETURN)
    assert away.end_url("", RETURN) is None


def test_no_secret_goes_where_the_issuer_did_not_say(provider: Provider) -> None:
    document = provider.documents["/.well-known/openid-configuration"]
    document["token_endpoint"] = document["token_endpoint"].replace("http:", "https:")
    with pytest.raises(UpstreamBusy):
        through(provider, login_at(provider))
    assert "/token" not in provider.asked


def test_the_login_ends_at_the_issuer(provider: Provider) -> None:
    url = urlsplit(login_at(provider).end_url("the-id-token", RETURN) or "")
    assert url.geturl().startswith(f"{provider.issuer}/end?")
    assert parse_qs(url.query) == {
        "client_id": ["console"], "post_logout_redirect_uri": [RETURN], "id_token_hint": ["the-id-token"],
    }  # fmt: skip
