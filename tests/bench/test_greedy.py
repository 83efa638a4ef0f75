"""Slow and greedy clients starve nobody."""

import sys
from pathlib import Path

import pytest

from bench.greedy import LOADS, measure
from bench.table import markdown

pytestmark = pytest.mark.service


def test_a_normal_client_is_answered_whatever_the_others_do(tmp_path: Path) -> None:
    found = measure(20, tmp_path)
    sys.stdout.write(
        markdown(("other clients", "answered", "p50 ms", "p95 ms", "max ms"), [(load, *one.row) for load, one in found])
    )
    assert len(found) == len(LOADS)
    assert all(noticed.answered == noticed.asked == 20 for _, noticed in found)
    assert max(one for _, noticed in found for one in noticed.seconds) < 10
