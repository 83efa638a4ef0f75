"""Every word of a page is in the catalogue, and every text of the catalogue is on a page."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from app.console.texts import SECTIONS, Texts

CONSOLE = Path(__file__).parents[3] / "app" / "console"
TEMPLATES = sorted((CONSOLE / "templates").rglob("*.html"))
KEYS = [key for section in SECTIONS for key in section]

_CODE = re.compile(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
_USED = re.compile(r"""\bt\.(\w+)|\bt\(\s*["'](\w+)["']""")
_READ = {"alt", "title", "placeholder", "aria-label", "aria-description", "aria-placeholder", "aria-valuetext"}
"""Attributes that a person reads or hears."""
_VALUES_READ = {("input", "value"), ("button", "value")}


class _Words(HTMLParser):
    """Collects the literal words of a template whose code has been taken out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style"):
            self._silent += 1
        given = dict(attributes)
        hidden = given.get("type") in ("hidden", "checkbox", "radio")
        for name, value in attributes:
            read = name in _READ or name.startswith("data-text") or ((tag, name) in _VALUES_READ and not hidden)
            if read and value and tag != "option":
                self._note(value)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._silent -= 1

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._note(data)

    def _note(self, text: str) -> None:
        if re.search(r"[^\W\d_]{2,}", text):  # one letter may be a unit
            self.found.append(text.strip())


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_no_words_of_its_own(template: Path) -> None:
    words = _Words()
    words.feed(_CODE.sub("", template.read_text()))
    assert words.found == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<p>Hello {{ name }}</p>", ["Hello"]),
        ('<img alt="A picture">', ["A picture"]),
        ('<input type="submit" value="Send">', ["Send"]),
        ('<input type="hidden" value="form">', []),
        ("<p>{{ t.skip }} · 5 {# Words #}</p>", []),
    ],
)
def test_words_are_found_where_people_read_them(text: str, found: list[str]) -> None:
    words = _Words()
    words.feed(_CODE.sub("", text))
    assert words.found == found


def used() -> set[str]:
    """The keys that templates and modules name, as attribute, call, or literal text."""
    found: set[str] = set()
    for template in TEMPLATES:
        found |= {key for match in _USED.findall(template.read_text()) for key in match if key}
    return found


def test_what_templates_name_is_in_the_catalogue() -> None:
    assert used() - set(KEYS) == set()


def test_every_text_is_used() -> None:
    sources = "".join(
        path.read_text() for path in CONSOLE.rglob("*") if path.suffix in (".py", ".html") and path.name != "texts.py"
    )
    made = {f"error_{status}_{part}" for status in re.findall(r"\d{3}", sources) for part in ("title", "advice")}
    made |= {key for key in KEYS if key.startswith("navigation_")}  # of parts, which name theirs
    assert [key for key in KEYS if not re.search(rf"\b{key}\b", sources) and key not in made] == []


def test_no_two_texts_have_one_key() -> None:
    assert len(KEYS) == len(set(KEYS))
    assert not set(KEYS) & set(dir(Texts))


def test_a_text_that_is_missing_is_a_mistake() -> None:
    texts = Texts(({"greeting": "Hello {name}"},))
    assert (texts.greeting, texts("greeting", name="Anna")) == ("Hello {name}", "Hello Anna")
    with pytest.raises(AttributeError):
        _ = texts.none
    with pytest.raises(KeyError):
        texts("greeting")
