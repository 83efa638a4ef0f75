"""The benchmark of the console runs, at a scale that takes seconds."""

import re

import pytest

from bench.console import CASES, main

pytestmark = pytest.mark.service


def test_every_page_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--studies", "600", "--repeat", "1"])
    table = capsys.readouterr().out
    for case in CASES:
        assert re.search(rf"^\| {re.escape(case.name)} +\| +[\d,.]+ +\| +150 \| (met|missed)", table, re.MULTILINE)
