"""The benchmark of writing the index runs, at a scale that takes seconds."""

import re

import pytest

from bench.index_writing import main

pytestmark = pytest.mark.service


def test_time_and_memory_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--sets", "4", "--instances", "10"])
    printed = capsys.readouterr().out
    assert re.search(r"image set of 10 CT slices, CPU +\| +[\d.]+ \| ms", printed)
    assert re.search(r"memory after all +\| +[\d.]+ \| MB", printed)
