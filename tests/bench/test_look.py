"""The benchmark of the quick look runs, with few slices."""

import re

import pytest

from bench.look import main

pytestmark = pytest.mark.service


def test_the_first_picture_and_the_scrolling_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--slices", "4", "--openings", "1"])
    printed = capsys.readouterr().out
    assert re.search(r"first picture, cold +\| +[\d.]+ \| ms", printed)
    assert re.search(r"scrolling, warm +\| +[\d.]+ \| pictures/s", printed)
