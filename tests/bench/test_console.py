"""The benchmark of the console runs, at a scale that takes seconds."""

import re

import pytest

from bench.console import CASES, main
from bench.traffic import Traffic

pytestmark = pytest.mark.service


def test_every_page_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--studies", "600", "--repeat", "1"])
    table = capsys.readouterr().out
    for case in CASES:
        assert re.search(rf"^\| {re.escape(case.name)} +\| +[\d,.]+ +\| +150 \| (met|missed)", table, re.MULTILINE)


def test_the_cost_for_image_traffic_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--traffic", "--small", "--rounds", "2", "--seconds", "1"])
    table = capsys.readouterr().out
    row = r"^\| decoded frames +\| +[\d,.]+ \| +[\d,.]+ \| +-?[\d.]+ \| +<= 3 +\| (met|missed) +\|"
    assert re.search(row, table, re.MULTILINE), table


def test_the_cost_is_the_median_of_rounds_side_by_side() -> None:
    assert Traffic([97, 50, 190], [100, 100, 200]).cost_percent == pytest.approx(5)
    assert Traffic([110], [100]).row()[-1] == "met"
    assert Traffic([96], [100]).row()[-1] == "missed"
