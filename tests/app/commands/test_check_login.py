"""`main.py check` says whether people can sign in at the console, and what to do if not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.check_result import ERROR, OK, WARNING, CheckResult
from app.commands.check_login import check_login
from app.settings import Settings
from tests.app.auth.provider import AUDIENCE, Provider, provided
from tests.app.auth.users import write_users


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provided() as provider:
        yield provider


def told(**settings: Any) -> list[CheckResult]:
    return [result for result in check_login(Settings(**settings)) if result.what == "login of people"]


@pytest.mark.parametrize(
    ("url", "level"),
    [
        (None, OK),
        ("https://dicom.example.org", OK),
        ("http://localhost:8080", OK),
        ("http://dicom.example.org", WARNING),
    ],
)
def test_plain_http_is_told(tmp_path: Path, url: str | None, level: str) -> None:
    (result,) = told(auth=("basic",), auth_users_file=write_users(tmp_path), public_url=url)
    assert (result.level, bool(result.advice)) == (level, level != OK)


def test_without_a_client_nobody_signs_in_at_an_issuer(provider: Provider) -> None:
    issuer = {"auth": ("oidc",), "oidc_issuer": provider.issuer, "oidc_audience": (AUDIENCE,)}
    (result,) = told(**issuer)
    assert result.level == WARNING and "OIDC_CLIENT_ID" in result.advice
    (result,) = told(**issuer, oidc_client_id="console")
    assert (result.level, result.told) == (OK, "people sign in at the console by oidc")
    del provider.documents["/.well-known/openid-configuration"]["token_endpoint"]
    missing, _ = told(**issuer, oidc_client_id="console")
    assert (missing.level, missing.told) == (ERROR, "the issuer names no token_endpoint")


@pytest.mark.parametrize("settings", [{}, {"auth": ("basic",), "console": False}])
def test_nothing_is_told_where_nobody_has_to_sign_in(settings: dict[str, Any]) -> None:
    assert told(**settings) == []
