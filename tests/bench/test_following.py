"""The benchmark of following runs, at a scale that takes seconds."""

import math
import re

import pytest

from bench.following import figures, main

pytestmark = pytest.mark.service


def test_every_event_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--events", "20", "--per-second", "20"])
    assert re.search(r"95th percentile +\| +[\d.]+ \| s", capsys.readouterr().out)


def test_an_event_that_is_never_found_counts_as_one() -> None:
    median, p95 = figures([*[0.1] * 18, *[math.inf] * 2])
    assert (median.met, p95.met) == (None, False)
    assert figures([*[0.1] * 19, math.inf])[1].met
