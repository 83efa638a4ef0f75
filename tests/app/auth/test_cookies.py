"""A session cookie counts for requests of our own pages, and for pages that somebody opens."""

import pytest

from app.auth.cookies import CookieJar

SECURE = "https://dicom.example.org"
PAGE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
API = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


@pytest.mark.parametrize(
    ("headers", "method", "path", "counts"),
    [
        ({"Sec-Fetch-Site": "same-origin", **API}, "GET", "/aetitle/studies", True),
        ({"Sec-Fetch-Site": "same-origin", **API}, "POST", "/aetitle/studies", True),
        ({"Sec-Fetch-Site": "none", **PAGE}, "GET", "/aetitle/studies", True),
        ({"Sec-Fetch-Site": "none", **PAGE}, "POST", "/aetitle/studies", False),
        ({"Sec-Fetch-Site": "cross-site", **PAGE}, "GET", "/console/aetitle/studies/1", True),
        ({"Sec-Fetch-Site": "cross-site", **PAGE}, "GET", "/viewer/viewer/default", True),
        ({"Sec-Fetch-Site": "cross-site", **PAGE}, "GET", "/viewers", False),
        ({"Sec-Fetch-Site": "cross-site", **PAGE}, "POST", "/console/logout", False),
        ({"Sec-Fetch-Site": "cross-site", **PAGE}, "GET", "/aetitle/studies", False),
        ({"Sec-Fetch-Site": "cross-site", **API}, "GET", "/aetitle/studies", False),
        ({"Sec-Fetch-Site": "cross-site", **API}, "GET", "/console", False),
        (
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
            "GET",
            "/console",
            False,
        ),
        ({"Sec-Fetch-Site": "same-site", **API}, "GET", "/aetitle/studies", False),
        ({"Sec-Fetch-Site": "same-site", **API, "Origin": SECURE}, "POST", "/aetitle/studies", False),
        ({"Origin": SECURE}, "POST", "/aetitle/studies", True),
        ({"Origin": "https://dicom.example.org:8443"}, "POST", "/aetitle/studies", False),
        ({"Origin": "http://dicom.example.org"}, "POST", "/aetitle/studies", False),
        ({"Origin": "null"}, "POST", "/aetitle/studies", False),
        ({}, "GET", "/aetitle/studies", False),
    ],
)
def test_only_our_own_requests_count(headers: dict[str, str], method: str, path: str, *, counts: bool) -> None:
    jar = CookieJar(SECURE)
    assert jar.session_token({jar.name: "token"}, headers, method, path) == ("token" if counts else "")


@pytest.mark.parametrize(
    ("url", "safe", "name"),
    [
        ("https://dicom.example.org", True, "__Host-session"),
        ("http://localhost:8080", True, "session"),
        ("http://127.0.0.1:8080/dicom", True, "session"),
        ("http://[::1]:8080", True, "session"),
        ("http://console.localhost", True, "session"),
        ("http://dicom.example.org", False, "session"),
        ("http://localhost.example.org", False, "session"),
        ("http://192.0.2.1:8080", False, "session"),
    ],
)
def test_plain_http_is_for_this_machine(url: str, *, safe: bool, name: str) -> None:
    jar = CookieJar(url)
    assert (jar.safe, jar.name) == (safe, name)
    token = jar.session_token({name: "token"}, {"Sec-Fetch-Site": "same-origin"}, "GET", "/console")
    assert token == ("token" if safe else "")


def test_a_cookie_that_plain_http_can_set_does_not_count_for_https() -> None:
    assert (
        CookieJar(SECURE).session_token({"session": "token"}, {"Sec-Fetch-Site": "same-origin"}, "GET", "/console")
        == ""
    )
