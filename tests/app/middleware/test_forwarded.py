"""Reverse proxies are believed if they are trusted, and only what they have written themselves."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.middleware.forwarded import with_client
from app.networks import parse_networks
from dicomweb.public_root import PublicRoot
from tests.growth import grows_linearly

TRUSTED = parse_networks("10.0.0.0/8, fd00::1")
PEER = {"wsgi.url_scheme": "http", "SERVER_PORT": "8080", "SERVER_NAME": "node", "HTTP_HOST": "node:8080"}


def seen(peer: str, headers: dict[str, str], trusted: str = "10.0.0.0/8, fd00::1") -> tuple[str, str]:
    """The root of a request as the service sees it, and its client's address."""
    told: dict[str, Any] = {}
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    app = with_client(lambda environ, _: told.update(environ) or [], parse_networks(trusted))
    app({**PEER, "REMOTE_ADDR": peer, **environ}, None)
    return PublicRoot(None, "").of(told), told["REMOTE_ADDR"]


HERE = "http://node:8080"
X = "X-Forwarded-"


@pytest.mark.parametrize(
    ("headers", "root", "client"),
    [
        ({}, HERE, "10.0.0.1"),
        ({"Forwarded": "for=192.0.2.1;proto=https;host=d.example"}, "https://d.example", "192.0.2.1"),
        ({"Forwarded": 'For="[2001:db8::1]:99"; Host="d.example:8443"'}, "http://d.example:8443", "2001:db8::1"),
        ({"Forwarded": 'host="[2001:db8::2]:8443";proto=HTTPS'}, "https://[2001:db8::2]:8443", "10.0.0.1"),
        ({"Forwarded": "for=unknown;host=d.example"}, "http://d.example", "10.0.0.1"),
        ({"Forwarded": "for=1.1.1.1;host=evil, for=192.0.2.1;host=d.example"}, "http://d.example", "192.0.2.1"),
        ({"Forwarded": "for=192.0.2.1;host=d.example, for=10.0.0.2;host=inner"}, "http://d.example", "192.0.2.1"),
        ({"Forwarded": "for=192.0.2.1, for=10.0.0.2;host=inner;proto=https"}, "https://inner", "192.0.2.1"),
        ({"Forwarded": "host=d.example", f"{X}Host": "other"}, "http://d.example", "10.0.0.1"),
        (
            {"Forwarded": "for=6.6.6.6;host=evil", f"{X}For": "192.0.2.1", f"{X}Proto": "https"},
            "https://node:8080",
            "192.0.2.1",
        ),
        ({"Forwarded": 'host="d.ex\\ample"'}, "http://d.example", "10.0.0.1"),
        ({"Forwarded": 'host="a,b;c", host=d.example'}, "http://d.example", "10.0.0.1"),
        ({f"{X}For": "192.0.2.1", f"{X}Proto": "https", f"{X}Host": "d.example"}, "https://d.example", "192.0.2.1"),
        ({f"{X}For": "2001:db8::1", f"{X}Host": "[::2]"}, "http://[::2]", "2001:db8::1"),
        ({f"{X}Host": "d.example", f"{X}Port": "8443", f"{X}Proto": "https"}, "https://d.example:8443", "10.0.0.1"),
        ({f"{X}Host": "d.example", f"{X}Port": "443", f"{X}Proto": "https"}, "https://d.example", "10.0.0.1"),
        ({f"{X}Host": "d.example:1", f"{X}Port": "2"}, "http://d.example:1", "10.0.0.1"),
        ({f"{X}Host": "d.example", f"{X}Prefix": "/pacs/"}, "http://d.example/pacs", "10.0.0.1"),
        ({f"{X}For": "6.6.6.6, 192.0.2.1", f"{X}Host": "evil, d.example"}, "http://d.example", "192.0.2.1"),
        ({f"{X}For": "6.6.6.6, 192.0.2.1, 10.9.9.9", f"{X}Proto": "https"}, "https://node:8080", "192.0.2.1"),
        ({f"{X}For": "192.0.2.1, fd00::1", f"{X}Host": "d.example,inner"}, "http://d.example", "192.0.2.1"),
        ({f"{X}Proto": "https, http", f"{X}For": "192.0.2.1, 10.0.0.2"}, "https://node:8080", "192.0.2.1"),
        ({f"{X}Proto": "gopher", f"{X}Host": 'a"b', f"{X}Port": "x", f"{X}Prefix": "//e.example/"}, HERE, "10.0.0.1"),
        ({f"{X}Prefix": "/a<b", f"{X}For": "1.2.3.4.5"}, HERE, "10.0.0.1"),
        ({"Forwarded": ";;=,,for"}, HERE, "10.0.0.1"),
        ({"Forwarded": "host=d.example;" + "x" * 2000}, HERE, "10.0.0.1"),
    ],
)
def test_a_trusted_proxy_is_believed(headers: dict[str, str], root: str, client: str) -> None:
    """RFC 7239 Section 4; of the lists only what trusted proxies added."""
    assert seen("10.0.0.1", headers) == (root, client)


@pytest.mark.parametrize("peer", ["192.0.2.9", "::1", "fd00::2", "", "unix"])
def test_nobody_else_is(peer: str) -> None:
    lies = {"Forwarded": "for=10.0.0.1;host=evil;proto=https", f"{X}Host": "evil", f"{X}For": "6.6.6.6"}
    assert seen(peer, {**lies, f"{X}Proto": "https", f"{X}Prefix": "/evil"}) == (HERE, peer)
    assert seen("10.0.0.1", {f"{X}Host": "evil"}, trusted="") == (HERE, "10.0.0.1")


@pytest.mark.parametrize(
    ("trusted", "peer"),
    [
        ("*", "192.0.2.9"),
        ("*", "2001:db8::1"),
        ("192.0.2.9", "::ffff:192.0.2.9"),
        ("10.0.0.0/8,192.0.2.9", "192.0.2.9"),
    ],
)
def test_who_is_trusted_is_named(trusted: str, peer: str) -> None:
    assert seen(peer, {f"{X}Host": "d.example"}, trusted)[0] == "http://d.example"


@pytest.mark.parametrize(("trusted", "client"), [("*", "192.0.2.1"), ("*, 192.0.2.0/24", "6.6.6.6")])
def test_of_whoever_connects_only_its_own_word_counts(trusted: str, client: str) -> None:
    """A load balancer adds the address of its client behind what that client sent."""
    assert seen("10.0.0.1", {f"{X}For": "6.6.6.6, 192.0.2.1", f"{X}Proto": "https"}, trusted)[1] == client


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.0/33", "10.0.0.1 10.0.0.2", "**"])
def test_who_cannot_be_named_is_a_problem(text: str) -> None:
    with pytest.raises(ValueError, match="is not a list of IP addresses"):
        parse_networks(text)


NAMES = ("Forwarded", *(f"{X}{name}" for name in ("For", "Host", "Proto", "Port", "Prefix")))
WORDS = st.sampled_from(
    ["for=", "host=", "proto=", ",", ";", '"', "\\", "[::1]", "10.0.0.2", "https", "é", " ", "a", ":"]
)


@settings(max_examples=200, deadline=None)
@given(headers=st.dictionaries(st.sampled_from(NAMES), st.lists(WORDS, max_size=12).map("".join)))
def test_garbage_is_never_an_error(headers: dict[str, str]) -> None:
    root, client = seen("10.0.0.1", headers)
    assert root.startswith(("http://", "https://"))
    assert not set(root) & set('"\\,; é')
    assert client


@pytest.mark.parametrize(("text", "end"), [("a", ""), (" ", ""), ('"', ""), ("a=", '"'), ("a=\\", ""), (":", "")])
def test_the_time_for_a_header_grows_with_its_length(text: str, end: str) -> None:
    def prepare(length: int) -> Callable[[], object]:
        headers = dict.fromkeys(NAMES, text * (length // len(text)) + end)
        return lambda: seen("10.0.0.1", headers)

    grows_linearly(prepare, 2**15)
