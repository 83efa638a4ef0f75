"""A login leads to our own pages alone."""

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.console.next_path import safe_next

OURS = [
    "/console",
    "/console/",
    "/console/aetitle/studies/1.2?x=1&y=%2F",
    "/viewer/viewer/default?StudyInstanceUIDs=1.2",
]


@pytest.mark.parametrize("path", OURS)
@pytest.mark.parametrize("prefix", ["", "/dicom", "/a/b"])
def test_our_pages_are_allowed(path: str, prefix: str) -> None:
    assert safe_next(prefix + path, prefix) == prefix + path


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "console", "/aetitle/studies", "/consoles", "//evil.example/console", "/\\evil.example/console",
        "https://evil.example/console", "http:/console", "javascript:alert(1)", "/console\r\nSet-Cookie: x",
        "/\t/evil.example", "///console", "/console\\..\\..", "/console/../aetitle/studies", "/console/%2e%2e/aetitle",
        "/console/.%2e/aetitle/studies", "/console/%2E./aetitle", "/viewer/..%2faetitle", "/console/./x",
        "/console?" + "x" * 2000, " /console", "/console ", "/ viewer", "/kónsole",
    ],
)  # fmt: skip
def test_nothing_else_is(path: str) -> None:
    assert safe_next(path, "") is None
    assert safe_next(path, "/dicom") is None


@given(st.one_of(st.text(max_size=60), st.text(alphabet="/\\.:@?#%console\t\n evil", max_size=60)))
def test_whatever_is_allowed_stays_here(text: str) -> None:
    found = safe_next(text, "")
    if found is not None:
        where = urlsplit(urljoin("https://dicom.example.org/console/login", found))
        assert (where.scheme, where.netloc) == ("https", "dicom.example.org")
        assert where.path.split("/")[1] in ("console", "viewer")
