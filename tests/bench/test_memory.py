"""A study is handed on as it comes: what the web process needs does not grow with it (PS3.18 Section 10.4)."""

from pathlib import Path

import pytest

from bench.memory import measure

pytestmark = pytest.mark.service


def test_a_study_that_is_larger_than_the_bound_costs_less_than_the_bound(tmp_path: Path) -> None:
    found = measure(900, 256, tmp_path)
    assert found.body_bytes > 900 * 2 * 256 * 256
    assert found.peak_bytes - found.idle_bytes < 64 * 2**20 < found.body_bytes
