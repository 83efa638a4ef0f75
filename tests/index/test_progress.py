"""Progress: a bar on a terminal, lines in a log."""

import logging

import pytest

from index.progress import Progress


def test_a_log_gets_a_line_when_one_is_due_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Progress("filling", 10, in_terminal=False, line_seconds=3600) as progress:
        for _ in range(5):
            progress.add()
        assert caplog.messages == []
        progress._told_at -= 3601
        progress.add()
        assert len(caplog.messages) == 1
    assert all(part in caplog.messages[0] for part in ("filling", "image_sets=6", "of=10", "rate=", "left="))
    assert len(caplog.messages) == 2


def test_a_terminal_gets_a_bar_with_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("filling", 10, in_terminal=True) as progress:
        progress.add(5)
    told = capsys.readouterr().err
    assert all(part in told for part in ("filling", "50%", "5/10", "image sets/s"))
