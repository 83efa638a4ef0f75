"""Links are made on the command line, signed, and end."""

import time

import pytest

from app.auth.links import Link, Links
from app.commands.link import make_link
from app.commands.token import make_token
from app.settings import Settings, SettingsError
from dicomweb.errors import NotFound

SECRET = "s" * 32


def test_what_the_command_prints_can_be_opened() -> None:
    lines = list(make_link(Settings(link_secret=SECRET, public_url="https://dicom.example.org"), "1.2.3", 24))
    root = lines[1].split()[-1]
    assert root.startswith("https://dicom.example.org/link/")
    link = Links(SECRET).read(root.rpartition("/")[2])
    assert link.study_instance_uid == "1.2.3"
    assert 24 * 3600 - 5 < link.expires_at - time.time() <= 24 * 3600
    assert lines[2].endswith(f"{root}/studies/1.2.3")


@pytest.mark.parametrize("token", ["", "x", "WyIxLjEiLDk5OTk5OTk5OTk5XQ.x"])
def test_what_was_not_signed_here_is_no_link(token: str) -> None:
    with pytest.raises(NotFound):
        Links(SECRET).read(token)


def test_a_link_ends_and_a_new_secret_ends_all() -> None:
    ended = Links(SECRET).token(Link("1.2", int(time.time()) - 1))
    with pytest.raises(NotFound):
        Links(SECRET).read(ended)
    with pytest.raises(NotFound):
        Links("t" * 32).read(Links(SECRET).token(Link("1.2", 2**33)))


@pytest.mark.parametrize(
    ("secret", "study", "hours"),
    [(None, "1.2", 1.0), (SECRET, "DOE/JOHN", 1.0), (SECRET, "1.2", 0.0), (SECRET, "1.2", 1e9)],
)
def test_what_cannot_be_a_link_is_said_in_one_line(secret: str | None, study: str, hours: float) -> None:
    with pytest.raises(SettingsError) as error:
        list(make_link(Settings(link_secret=secret), study, hours))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(("name", "groups"), [("", ""), ("a:b", ""), ("a", "b:c")])
def test_a_token_needs_a_name_that_a_line_can_hold(name: str, groups: str) -> None:
    with pytest.raises(SettingsError):
        list(make_token(name, groups))
