"""Files of a form: read in ranges of the body, and only after the other fields have been checked."""

from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.console.form_files import FormFiles
from dicomweb.errors import BadRequest, ContentTooLarge, Forbidden
from store.receive.body import receiving
from store.spool.spool import Spool

BOUNDARY = b"----WebKitFormBoundaryx"


def part(content: bytes, disposition: str) -> bytes:
    return b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (BOUNDARY, disposition.encode(), content)


def body_of(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--%s--\r\n" % BOUNDARY


TOKEN = part(b"token", 'name="csrf"')


def read(folder: Path, body: bytes) -> tuple[list[tuple[str, bytes]], Mapping[str, str]]:
    """The files by their names, and the fields that were checked."""
    checked: dict[str, str] = {}

    def check(fields: Mapping[str, str]) -> None:
        if fields.get("csrf") != "token":
            raise Forbidden("forged")
        checked.update(fields)

    form = FormFiles(BOUNDARY, check)
    with receiving(Spool(folder, 0), BytesIO(body), 10**6) as received:
        contents = [
            received.content.read(one[0], one[1] - one[0]) for one in form.files(received) if isinstance(one, tuple)
        ]
    return list(zip(form.names, contents, strict=True)), checked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Spool(tmp_path, 0).open()
    return tmp_path


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ('name="files"; filename="a.dcm"', "a.dcm"),
        ('name="files"; filename="Ä 山.dcm"', "Ä 山.dcm"),
        ("name=files; filename=a.dcm", "a.dcm"),
        ('name="files"; filename="<img src=x onerror=alert(1)>"', "<img src=x onerror=alert(1)>"),
        ('name="files"; filename="a%22b"', "a%22b"),
        (f'name="files"; filename="{"x" * 1000}"', "x" * 255),
    ],
)
def test_a_file_has_its_name(folder: Path, sent: str, name: str) -> None:
    assert read(folder, body_of(TOKEN, part(b"content\r\n", sent))) == ([(name, b"content\r\n")], {"csrf": "token"})


def test_files_come_in_their_order_and_empty_choices_are_left_out(folder: Path) -> None:
    empty, none = part(b"", 'name="files"; filename="empty"'), part(b"", 'name="more"; filename=""')
    files = [part(name.encode(), f'name="files"; filename="{name}"') for name in ("b", "a", "b")]
    found, _ = read(folder, body_of(none, *files, empty, TOKEN))
    assert found == [("b", b"b"), ("a", b"a"), ("b", b"b"), ("empty", b"")]


@pytest.mark.parametrize("parts", [[], [part(b"wrong", 'name="csrf"')], [part(b"token", 'name="csrf"; filename="x"')]])
def test_a_form_is_refused_before_its_files_are_read(folder: Path, parts: list[bytes]) -> None:
    with pytest.raises(Forbidden):
        read(folder, body_of(*parts, part(b"content", 'name="files"; filename="a"')))


def test_a_form_without_a_file_is_refused_in_words(folder: Path) -> None:
    with pytest.raises(BadRequest, match="no file was chosen"):
        read(folder, body_of(TOKEN, part(b"", 'name="files"; filename=""')))


_PIECES = st.sampled_from(
    [
        b"--",
        BOUNDARY,
        b"\r\n",
        b"Content-Disposition: form-data",
        b'; name="csrf"',
        b"; filename=",
        b'"',
        b"token",
        b"\0",
    ]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(_PIECES | st.binary(max_size=4), max_size=40).map(b"".join))
@example(body_of(TOKEN))
@example(b"--" + BOUNDARY)
def test_every_body_is_a_form_or_an_error_of_the_client(folder: Path, body: bytes) -> None:
    with suppress(BadRequest, ContentTooLarge, Forbidden):
        read(folder, body or b"x")
