"""A name is what the issuer guarantees, and no other claim is taken for one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.claims import ClaimNames
from app.auth.principal import NotProven, Principal

CHOSEN = {"preferred_username": "admin", "email": "admin@example.org", "name": "admin", "nickname": "admin"}
"""What people say of themselves."""


@given(claims=st.dictionaries(st.sampled_from(sorted(CHOSEN)), st.text() | st.none() | st.integers()))
def test_nobody_chooses_the_own_name(claims: dict[str, Any]) -> None:
    principal = ClaimNames().principal("oidc", {**claims, "sub": "248289761001"})
    assert (principal.name, principal.user) == ("248289761001", "oidc:248289761001")


@pytest.mark.parametrize(
    ("claim", "claims", "name"),
    [
        ("preferred_username", CHOSEN, "admin"),
        ("oid", {"oid": "6f1c"}, "6f1c"),
        ("https://example.org/upn", {"https://example.org/upn": "a@example.org"}, "a@example.org"),
        ("act.sub", {"act": {"sub": "pacs"}}, "pacs"),
        ("email", {"email": "a@example.org", "email_verified": True}, "a@example.org"),
        ("email", {"email": "a@example.org", "email_verified": "true"}, "a@example.org"),
    ],
)
def test_the_operator_may_name_another_claim(claim: str, claims: dict[str, Any], name: str) -> None:
    assert ClaimNames(claim).principal("alb", {"sub": "u1", **claims}).user == f"alb:{name}"


@pytest.mark.parametrize("verified", [False, "false", None, 1, "True", "yes", [True]])
def test_an_address_that_is_not_verified_is_no_name_and_no_claim(verified: Any) -> None:
    claims = {"sub": "u1", "email": "admin@example.org", "email_verified": verified}
    with pytest.raises(NotProven) as refused:
        ClaimNames("email").principal("oidc", claims)
    assert "email" in refused.value.reason
    assert "email" not in ClaimNames().principal("oidc", claims).claims


@pytest.mark.parametrize("name", [None, "", 7, ["u1"], {"sub": "u1"}])
def test_what_is_no_text_is_no_name(name: Any) -> None:
    with pytest.raises(NotProven):
        ClaimNames("upn").principal("oidc", {"sub": "u1", "upn": name})


@given(
    first=st.tuples(st.sampled_from(["basic", "bearer", "oidc", "alb"]), st.text(min_size=1)),
    second=st.tuples(st.sampled_from(["basic", "bearer", "oidc", "alb"]), st.text(min_size=1)),
)
def test_two_principals_never_share_a_user(first: tuple[str, str], second: tuple[str, str]) -> None:
    one, other = (Principal(name, scheme=scheme) for scheme, name in (first, second))
    assert (one.user == other.user) is (first == second)
