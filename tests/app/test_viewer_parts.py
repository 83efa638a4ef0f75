"""Where the viewer is, and whether it is there."""

from pathlib import Path

import pytest

from app import viewer_parts
from app.viewer_parts import has_viewer, viewer_folder


def test_a_folder_is_a_viewer_once_it_has_its_page(tmp_path: Path) -> None:
    assert not has_viewer(None)
    assert not has_viewer(tmp_path / "none")
    assert not has_viewer(tmp_path)
    (tmp_path / "index.html").write_text("x")
    assert has_viewer(tmp_path)


def test_a_build_may_bring_a_viewer_which_the_setting_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer_parts, "_BUILT_IN", tmp_path)
    (tmp_path / "index.html").write_text("x")
    assert viewer_folder(None) == tmp_path
    assert has_viewer(None)
    assert viewer_folder(tmp_path / "own") == tmp_path / "own"
