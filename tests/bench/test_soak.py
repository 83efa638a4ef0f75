"""The commands of the soak, for some seconds: they find nothing, and say what they looked at."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.soak import growth, soak

pytestmark = pytest.mark.service


def test_a_service_that_is_disturbed_answers_rightly_or_says_when_to_come_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = soak(Path(sys.executable), tmp_path, seconds=15, clients=8, seed=3, pause_seconds=1)
    printed = capsys.readouterr().out
    assert not _besides_growth(wrong), (printed, wrong)
    for kind in ("web", "FF", "prefetch", "metrics"):
        assert f"kills of {kind}" in printed
        assert f"| {kind} " in printed
    assert "reloads (SIGHUP)" in printed


def test_mixed_and_hostile_requests_are_answered_and_the_memory_of_processes_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = growth(Path(sys.executable), tmp_path, requests=500, clients=8, seed=4)
    printed = capsys.readouterr().out
    assert not _besides_growth(wrong), (printed, wrong)
    assert "MB after 50 requests" in printed
    assert "| web0 " in printed


def _besides_growth(wrong: Sequence[str]) -> list[str]:
    """So little time does not tell what processes grow by: they have just begun. The commands take longer."""
    return [line for line in wrong if "has grown" not in line]
