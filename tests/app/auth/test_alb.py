"""What an application load balancer says of who logged in there is believed when it is ours and signed it."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.auth import keys
from app.auth.alb import Alb, public_keys_url
from app.auth.keys import KeysByUrl
from app.auth.principal import Credentials, NotProven, Principal
from dicomweb.errors import UpstreamBusy
from tests.app.auth.provider import Provider, provided
from tests.waiting import wait_for

ARN = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/dicomweb/0123456789abcdef"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provided() as provider:
        provider.add_key("alb", "ES256")
        yield provider


@pytest.fixture
def alb(provider: Provider) -> Alb:
    return Alb(ARN, KeysByUrl(provider.issuer))


def signed(provider: Provider, key_id: str = "alb", **header: object) -> Credentials:
    usual = {"signer": ARN, "exp": int(time.time()) + 60, "iss": provider.issuer, "client": "c"}
    return Credentials(alb_data=provider.token(key_id, headers={**usual, **header}, email="a@example.org"))


def test_the_keys_are_those_of_the_region() -> None:
    assert public_keys_url(ARN) == "https://public-keys.auth.elb.eu-central-1.amazonaws.com"


def test_who_logged_in(provider: Provider, alb: Alb) -> None:
    assert alb.principal(signed(provider)) == Principal("u1", scheme="alb")


def test_base64_may_be_padded_as_the_load_balancer_does(provider: Provider, alb: Alb) -> None:
    import base64
    import json

    import jwt

    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode())

    header = {"alg": "ES256", "typ": "JWT", "kid": "alb", "signer": ARN, "exp": int(time.time()) + 60, "x": "1"}
    payload = {"sub": "u", "exp": int(time.time()) + 60}
    text = part(header) + b"." + part(payload)
    assert b"=" in text
    signature = jwt.get_algorithm_by_name("ES256").sign(text, provider.keys["alb"][1])
    token = (text + b"." + base64.urlsafe_b64encode(signature)).decode()
    assert alb.principal(Credentials(alb_data=token)) == Principal("u", scheme="alb")


WRONG: dict[str, Callable[[Provider], Credentials]] = {
    "another load balancer": lambda provider: signed(provider, signer=ARN.replace("dicomweb", "evil")),
    "expired": lambda provider: signed(provider, exp=int(time.time()) - 120),
    "an end beyond all numbers": lambda provider: signed(provider, exp=10**400, kid="nobody"),
    "no end": lambda provider: signed(provider, exp=None),
    "another algorithm": lambda provider: signed(provider, "first"),
    "unknown key": lambda provider: signed(provider, kid="nobody"),
    "another place": lambda provider: signed(provider, kid="../jwks"),
    "nonsense": lambda _: Credentials(alb_data="a.b.c"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_refused(provider: Provider, alb: Alb, wrong: str) -> None:
    with pytest.raises(NotProven):
        alb.principal(WRONG[wrong](provider))


def test_a_made_up_key_is_asked_for_once(provider: Provider, alb: Alb) -> None:
    for _ in range(10):
        with pytest.raises(NotProven):
            alb.principal(signed(provider, kid="nobody"))
    assert provider.asked == ["/nobody"]


def test_made_up_keys_do_not_flood_the_publisher(provider: Provider, alb: Alb) -> None:
    assert alb.principal(signed(provider))
    for number in range(100):
        with pytest.raises((NotProven, UpstreamBusy)):
            alb.principal(signed(provider, kid=f"nobody-{number}"))
    assert len(provider.asked) == 10
    assert alb.principal(signed(provider))


@pytest.mark.slow
def test_known_keys_go_on_while_the_publisher_hangs(
    provider: Provider, alb: Alb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_TIMEOUT_SECONDS", 10)
    monkeypatch.setattr(keys, "_PATIENCE_SECONDS", 4.0)
    assert alb.principal(signed(provider))
    provider.hangs = True
    with ThreadPoolExecutor(1) as thread:
        waits = thread.submit(alb.principal, signed(provider, kid="nobody"))
        wait_for(lambda: len(provider.asked) == 2)
        assert alb.principal(signed(provider))
        assert not waits.done()
        with pytest.raises(UpstreamBusy):
            waits.result()


def test_without_the_header_it_is_not_its_affair(alb: Alb) -> None:
    assert alb.principal(Credentials("bearer", "x")) is None
