"""`python main.py token NAME`: make a static token for a program."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from app.auth.bearer import new_token
from app.settings import Settings, SettingsError


def add_arguments(parser: ArgumentParser) -> None:
    """Add the name, and `--groups`."""
    parser.add_argument("name", help="name of the user or program that will have it")
    parser.add_argument("--groups", default="", help="groups of access rules, separated by commas")


def run(_: Settings, options: Namespace) -> int:
    """Print the token and its line."""
    print("\n".join(make_token(options.name, options.groups)))
    return 0


def make_token(name: str, groups: str) -> Iterator[str]:
    """A new token, and its line for AUTH_TOKENS_FILE; SettingsError for a name that no line can hold."""
    if not name or ":" in name + groups:
        raise SettingsError("a name has at least one character, and neither name nor groups have a colon")
    token, line = new_token(name, groups)
    yield f"token, shown once:        {token}"
    yield f"line of AUTH_TOKENS_FILE: {line}"
