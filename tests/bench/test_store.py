"""The command that measures storing runs, and stores what it measures."""

from pathlib import Path

import pytest

from bench.store import receiving, series, whole_way

pytestmark = pytest.mark.service


def test_it_stores_each_series_and_tells_its_versions(tmp_path: Path) -> None:
    lines = [*receiving(tmp_path / "receiving", 4, 32), *whole_way(tmp_path / "whole", 4, 32)]
    assert [one.server for one in lines] == ["receiving"] * 2 + ["proxy", "data store"] * 2 + ["data store"] * 2
    assert all(one.images == 4 and one.seconds > 0 for one in lines)
    versions = [one.versions for one in lines if one.server == "proxy"]
    assert versions[0] == 1 and versions[1] is not None and 1 <= versions[1] <= 4
    assert len({*series(1, 3, 32)}) == 3
