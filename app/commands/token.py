"""`python main.py token NAME`: make a static token for a program."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from app.auth.bearer import new_token
from app.settings import Settings, SettingsError

_MOST_DAYS = 36_500


def add_arguments(parser: ArgumentParser) -> None:
    """Add the name, and `--groups`."""
    parser.add_argument("name", help="name of the user or program that will have it")
    parser.add_argument("--groups", default="", help="groups of access rules, separated by commas")
    parser.add_argument("--days", type=int, default=0, help="how many days the token lasts (default: no end)")


def run(_: Settings, options: Namespace) -> int:
    """Print the token and its line."""
    print("\n".join(make_token(options.name, options.groups, options.days)))
    return 0


def make_token(name: str, groups: str, days: int = 0) -> Iterator[str]:
    """A new token, and its line for AUTH_TOKENS_FILE; 0 days are for ever.

    SettingsError for a name that no line can hold, and for days that are not 0 to 36500.
    """
    if not 0 <= days <= _MOST_DAYS:
        raise SettingsError(f"a token lasts 1 to {_MOST_DAYS} days, or 0 for no end")
    if not name or ":" in name + groups:
        raise SettingsError("a name has at least one character, and neither name nor groups have a colon")
    token, line = new_token(name, groups, datetime.now(timezone.utc).date() + timedelta(days=days) if days else None)
    yield f"token, shown once:        {token}"
    yield f"line of AUTH_TOKENS_FILE: {line}"
