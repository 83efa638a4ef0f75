"""Which pages may read answers: those of the origins that the operator names, and none for what is no origin."""

import pytest

from app.middleware.cors import cors_headers
from app.server.refusals import ErrorResponder

VIEWER, LOCAL, NO_URL = "https://viewer.example.org", "http://localhost:3000", "http://[x"


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((), VIEWER, False),
        ((VIEWER,), VIEWER, True),
        ((VIEWER,), f"{VIEWER}.evil.example", False),
        ((VIEWER,), None, False),
        (("*",), VIEWER, True),
        (("*",), NO_URL, True),
        (("loopback",), LOCAL, True),
        (("loopback",), VIEWER, False),
        (("loopback",), "http://localhost.evil.example", False),
        (("loopback",), NO_URL, False),
        (("loopback", VIEWER), VIEWER, True),
    ],
)
def test_a_page_may_read_where_its_origin_is_allowed(
    origins: tuple[str, ...], origin: str | None, allowed: bool
) -> None:
    headers = cors_headers(origins, origin)
    assert headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
    assert bool(headers) == allowed


@pytest.mark.parametrize(
    ("origins", "usual"),
    [
        ((), None),
        ((VIEWER,), VIEWER),
        ((VIEWER, LOCAL), None),
        (("*",), "*"),
        ((VIEWER, "*"), "*"),
        (("loopback",), None),
    ],
)
def test_a_page_whose_origin_was_not_read_comes_from_the_only_one(origins: tuple[str, ...], usual: str | None) -> None:
    assert ErrorResponder(origins=origins).usual_origin == usual
