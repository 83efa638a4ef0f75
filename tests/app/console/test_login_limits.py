"""Guessing is slow for a name and for an address, and an attacker locks nobody out who was here before."""

import pytest

from app.console.login_limits import LoginLimits, network_of
from app.session_state import SessionState
from dicomweb.errors import TooManyRequests

ATTACKER, HOME = "192.0.2.66", "198.51.100.7"


def guesses(limits: LoginLimits, name: str, address: str, cookie: str = "", most: int = 1000) -> int:
    """How many passwords can be tried at once."""
    browser = limits.browser(cookie)
    for number in range(most):
        try:
            limits.check(name, address, browser)
        except TooManyRequests as error:
            assert 0 < error.retry_after_seconds <= 60
            return number
        limits.note_failure(name, address, browser)
    return most


def test_a_name_can_be_guessed_at_a_few_times_from_all_addresses_together() -> None:
    limits = LoginLimits(SessionState())
    found = sum(guesses(limits, "anna", f"192.0.2.{number}") for number in range(50))
    assert found == 10


def test_an_address_can_guess_at_some_names() -> None:
    limits = LoginLimits(SessionState())
    assert sum(guesses(limits, f"user{number}", ATTACKER, most=1) for number in range(200)) == 50


def test_all_addresses_of_one_subscriber_are_one() -> None:
    assert network_of("2001:db8:1:2::3") == network_of("2001:db8:1:2:ffff::4") != network_of("2001:db8:1:3::3")
    limits = LoginLimits(SessionState())
    found = sum(guesses(limits, f"user{number}", f"2001:db8::{number:x}", most=1) for number in range(200))
    assert found == 50


def test_who_has_signed_in_here_is_not_locked_out() -> None:
    limits = LoginLimits(SessionState())
    cookie = limits.cookie(limits.browser(""), "anna")
    assert guesses(limits, "anna", ATTACKER) == 10  # the attacker has used up the name,
    for number in range(60):  # and an address, behind which she is as well
        guesses(limits, f"user{number}", HOME, most=1)
    with pytest.raises(TooManyRequests):
        limits.check("anna", HOME, limits.browser(""))
    limits.check("anna", HOME, limits.browser(cookie))


def test_such_a_browser_counts_for_itself() -> None:
    limits = LoginLimits(SessionState())
    cookie = limits.cookie(limits.browser(""), "anna")
    assert guesses(limits, "anna", HOME, cookie) == 10  # one that was stolen guesses no faster


def test_the_cookie_is_for_the_users_who_had_it_made() -> None:
    limits = LoginLimits(SessionState())
    cookie = limits.cookie(limits.browser(""), "mallory")
    guesses(limits, "anna", ATTACKER)
    with pytest.raises(TooManyRequests):
        limits.check("anna", ATTACKER, limits.browser(cookie))
    both = limits.cookie(limits.browser(cookie), "anna")
    limits.check("anna", ATTACKER, limits.browser(both))
    limits.check("mallory", ATTACKER, limits.browser(both))
    for number in range(8):
        both = limits.cookie(limits.browser(both), f"user{number}")
    with pytest.raises(TooManyRequests):  # it has room for eight
        limits.check("anna", ATTACKER, limits.browser(both))


@pytest.mark.parametrize("cookie", ["", "x", "A" * 80, "ä"])
def test_no_cookie_is_ours_unless_it_was_made_here(cookie: str) -> None:
    limits = LoginLimits(SessionState())
    assert limits.browser(cookie).names == ()
    foreign = LoginLimits(SessionState())
    assert limits.browser(foreign.cookie(foreign.browser(""), "anna")).names == ()


def test_tokens_count_by_address_alone() -> None:
    limits = LoginLimits(SessionState())
    assert guesses(limits, "", ATTACKER) == 50
    limits.check("", HOME, limits.browser(""))
