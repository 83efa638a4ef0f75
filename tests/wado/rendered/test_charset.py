"""Text comes in a character set that the client reads (PS3.18 Section 8.3.2)."""

import pytest

from dicomweb.errors import NotAcceptable
from wado.rendered.charset import Charsets

GERMAN, GREEK = "Größe", "Größe α"
HTML = '<meta charset="utf-8">{}'


@pytest.mark.parametrize(
    ("parameter", "names"),
    [
        (None, ("utf-8",)),
        ("", ("utf-8",)),
        ("*", ("utf-8",)),
        ("UTF-8", ("utf-8",)),
        ("utf8", ("utf-8",)),
        ("ISO_IR 192", ("utf-8",)),
        ("ISO_IR 100", ("iso-8859-1",)),
        ("iso-8859-1,utf-8", ("iso-8859-1", "utf-8")),
        ("iso-8859-1;q=0.5, utf-8;q=0.8", ("utf-8", "iso-8859-1")),
        ("utf-8;q=0, us-ascii;q=x", ("us-ascii",)),
        ("rot13,zip,idna", ()),
        ("\0,;;=,", ()),
    ],
)
def test_what_is_named_is_known_by_its_iana_name_or_its_term(parameter: str | None, names: tuple[str, ...]) -> None:
    assert Charsets.from_parameter(parameter).names == names


@pytest.mark.parametrize(
    ("names", "text", "media_type", "expected", "label"),
    [
        (("utf-8",), GREEK, "text/plain", GREEK.encode(), "text/plain; charset=utf-8"),
        (("iso-8859-1",), GERMAN, "text/plain", b"Gr\xf6\xdfe", "text/plain; charset=iso-8859-1"),
        (("iso-8859-1", "iso-8859-7", "utf-8"), GREEK, "text/plain", GREEK.encode(), "text/plain; charset=utf-8"),
        (
            ("iso-8859-1",),
            HTML.format(GREEK),
            "text/html",
            b'<meta charset="iso-8859-1">Gr\xf6\xdfe &#945;',
            "text/html; charset=iso-8859-1",
        ),
        (("us-ascii",), GERMAN, "text/xml", GERMAN.encode(), "text/xml"),
        ((), "x", "image/svg+xml", b"x", "image/svg+xml"),
    ],
)
def test_the_first_that_has_all_of_the_text_is_taken(
    names: tuple[str, ...], text: str, media_type: str, expected: bytes, label: str
) -> None:
    assert Charsets(names).labelled(text.encode(), media_type) == (expected, label)


@pytest.mark.parametrize(("names", "why"), [((), "offered: utf-8"), (("iso-8859-1", "us-ascii"), "lacks")])
def test_what_no_character_set_of_the_client_has_is_not_acceptable(names: tuple[str, ...], why: str) -> None:
    with pytest.raises(NotAcceptable, match=why):
        Charsets(names).labelled(GREEK.encode(), "text/plain")
