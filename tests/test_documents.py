"""What documents name is there: modules, tests, scripts, and tests by their name."""

import re
from pathlib import Path

import pytest

from tests.log_lines import EXPLAINED, LOGGED, explanations

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "doc").rglob("*.md"), *(ROOT / "bench").glob("*.md")]
_PATH = re.compile(
    r"(?<![\w./<-])(?:app|ahi|qido|wado|db|dicomweb|datastore|runtime|tests|script|bench|doc|systemd|nginx)/[\w/.*-]*[\w*]"
)
_TEST = re.compile(r"`(test_\w+)`")
_TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in [path.stem, *re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)]
}
_ARN = re.compile(r"datastore/[0-9a-f]{32}")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_what_a_document_names_is_there(document: Path) -> None:
    text = document.read_text()
    paths = {path for path in _PATH.findall(text) if not _ARN.match(path)}
    assert sorted(path for path in paths if not any(ROOT.glob(path)) and not (ROOT / f"{path}.py").exists()) == []
    assert sorted({*_TEST.findall(text)} - _TESTS) == []


def test_documents_name_something() -> None:
    assert sum(len(_PATH.findall(document.read_text())) for document in DOCUMENTS) > 100


def test_every_line_of_the_log_is_explained_once() -> None:
    assert len(LOGGED) > 50
    missing = [
        f"{path}: {level} {text}" for (level, text), path in LOGGED.items() if len(explanations(level, text)) != 1
    ]
    assert missing == [], "add a row for each to 'Log lines' in doc/operations.md"


def test_every_line_that_is_explained_is_logged() -> None:
    said = [line for level, text in LOGGED for line in explanations(level, text)]
    assert sorted({line for _, line in EXPLAINED} - {*said}) == []
