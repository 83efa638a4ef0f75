"""Only what lies in the folder is found, under its own name, in each coding, and only while it is what it was."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.viewer.folder import ViewerFolder
from dicomweb.content_coding import Coding
from tests.app.viewer.viewer import FILES, SCRIPT, make_viewer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.js").write_text("secret")
    folder = make_viewer(outside / "viewer")
    (folder / "link.js").symlink_to(outside / "secret.js")
    (folder / "assets" / "up").symlink_to(outside)
    (folder / ".hidden").write_text("hidden")
    os.mkfifo(folder / "pipe.js")
    return folder


PARTS = st.one_of(
    st.sampled_from(["..", ".", "", "%2e%2e", "%2e", "assets", "up", "link.js"]),
    st.sampled_from(["viewer", "secret.js", ".hidden", "pipe.js"]),
    st.text(max_size=20),
    st.just("a" * 5000),
    st.just("\0"),
)  # fmt: skip


@given(st.lists(PARTS, max_size=8).map("/".join))
def test_no_path_escapes_the_folder(folder: Path, path: str) -> None:
    found = ViewerFolder(folder).find(path)
    assert (found is not None) == (path in FILES or path == "viewer.json")


@pytest.mark.parametrize(("name", "content"), FILES.items())
def test_each_file_is_found_with_its_content(folder: Path, name: str, content: bytes) -> None:
    found = ViewerFolder(folder).find(name)
    assert found is not None
    opened = found.open(Coding.IDENTITY)
    with opened.file as file:
        assert os.pread(file.fileno(), 2**20, 0) == content
    assert (opened.length_bytes, opened.coding) == (len(content), Coding.IDENTITY)


@pytest.mark.parametrize(
    ("name", "media_type", "is_immutable"),
    [
        ("app.bundle.0123456789abcdef.js", "text/javascript; charset=utf-8", True),
        ("1.0-fedcba98/app.css", "text/css; charset=utf-8", True),
        ("0123456789abcdef.wasm", "application/wasm", True),
        ("module.mjs", "text/javascript; charset=utf-8", False),
        ("app.css", "text/css; charset=utf-8", False),
        ("assets/logo.svg", "image/svg+xml", False),
        ("assets/data.gz", "application/octet-stream", False),
    ],
)
def test_types_and_names_with_a_hash(folder: Path, name: str, media_type: str, is_immutable: bool) -> None:
    found = ViewerFolder(folder).find(name)
    assert found is not None
    assert (found.media_type, found.is_immutable) == (media_type, is_immutable)


def test_packed_files_are_codings_and_no_files_of_their_own(folder: Path) -> None:
    viewer = ViewerFolder(folder)
    assert viewer.find("app.bundle.0123456789abcdef.js.zst") is None
    script = viewer.find("app.bundle.0123456789abcdef.js")
    assert script is not None
    opened = {coding: script.open(coding) for coding in Coding}
    assert [one.coding for one in opened.values()] == list(Coding)
    assert len({one.tag for one in opened.values()}) == 3
    assert opened[Coding.ZSTD].length_bytes < opened[Coding.IDENTITY].length_bytes == len(SCRIPT)
    for one in opened.values():
        one.file.close()
    plain = viewer.find("app.css")
    assert plain is not None
    with plain.open(Coding.ZSTD).file as file:
        assert file.name


def test_a_viewer_may_come_be_replaced_and_go(tmp_path: Path) -> None:
    viewer = ViewerFolder(tmp_path / "viewer")
    assert viewer.find("index.html") is None
    make_viewer(tmp_path / "new").rename(tmp_path / "viewer")
    assert viewer.find("app.css") is not None
    other = make_viewer(tmp_path / "other")
    (other / "app.css").unlink()
    (other / "more.css").write_text("p {}")
    (tmp_path / "viewer").rename(tmp_path / "before")
    other.rename(tmp_path / "viewer")
    assert (viewer.find("app.css"), viewer.find("more.css") is not None) == (None, True)
    (tmp_path / "viewer").rename(tmp_path / "gone")
    assert viewer.find("more.css") is None


def test_a_file_that_changed_is_not_sent_under_its_old_tag(tmp_path: Path) -> None:
    viewer = ViewerFolder(make_viewer(tmp_path))
    (found := viewer.find("app.css"))
    assert found is not None
    (tmp_path / "app.css").write_text("body { color: rebeccapurple }")
    with pytest.raises(OSError, match="is not what it was"):
        found.open(Coding.IDENTITY)
    viewer.read_again()
    (again := viewer.find("app.css"))
    assert again is not None
    again.open(Coding.IDENTITY).file.close()


def test_a_folder_that_is_no_viewer_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    assert ViewerFolder(tmp_path).find("secret") is None
    assert ViewerFolder(tmp_path / "secret").find("") is None
