"""Documents are written in short sentences: about 15 words on average, 35 at most."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MEAN, LONGEST = 15, 35
"""Bounds of every document, in words."""

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"`[^`]+`")
_LINK = re.compile(r"!?\[([^]]*)\]\([^)]*\)")
_BLOCK = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.)\s)|\n(?=#)")
_END = re.compile(r"(?<=[.!?])[)\"'*]*\s+(?=[A-Z`*(\d\"])")


def documents() -> list[str]:
    """The papers of the project, by their path."""
    names = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "THIRD_PARTY.md")
    return [*names, *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "doc").rglob("*.md")))]


def sentences(text: str) -> Iterator[int]:
    """The words of each sentence. A code span is one word; cells of tables count if they end in a full stop."""
    text = _LINK.sub(r"\1", _CODE.sub("Code", _COMMENT.sub("", _FENCE.sub("\n\n", text))))
    for block in _BLOCK.split(text):
        rows = [line for line in block.splitlines() if line.lstrip().startswith("|")]
        prose = " ".join(line for line in block.splitlines() if line not in rows).strip()
        if prose and not prose.startswith("#"):
            yield from _words(re.sub(r"^(?:[-*]|\d+\.)\s+", "", prose))
        for cell in (cell.strip() for row in rows for cell in row.strip("| ").split("|")):
            if cell.endswith("."):
                yield from _words(cell)


def _words(text: str) -> Iterator[int]:
    for sentence in _END.split(text):
        if count := sum(bool(re.search(r"\w", word)) for word in sentence.split()):
            yield count


@pytest.mark.parametrize("document", documents())
def test_sentences_are_short(document: str) -> None:
    lengths = [*sentences((ROOT / document).read_text())]
    assert lengths
    assert max(lengths) <= LONGEST
    assert sum(lengths) / len(lengths) <= MEAN


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("One two three. Four five.", [3, 2]),
        ("# No heading\n\nOne `code span of many` two, as in\ntwo lines.\n\nNext", [7, 1]),
        ("- One two.\n- Three (four five). Six\n1. Seven", [2, 3, 1, 1]),
        ("```\nno code. At all\n```\nOne [two three](http://host/path.md) e.g. four.", [5]),
        ("| a b | One two. Three four five. |\n|---|---|\n| no sentence | x |", [2, 3]),
        ("One two. `code span` three. `x`", [2, 2, 1]),
        ("Version 3.13 is 0.5 s: fine? Yes!", [6, 1]),
    ],
)
def test_words_are_counted(text: str, lengths: list[int]) -> None:
    assert [*sentences(text)] == lengths


def test_the_readme_is_short_and_has_a_small_picture() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", "\n".join(lines))
    assert "doc/console.jpg" in pictures
    assert all(0 < (ROOT / picture).stat().st_size < 150_000 for picture in pictures)
