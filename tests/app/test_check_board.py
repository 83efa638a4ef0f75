"""A check is asked for by one process, run by another, and shown by all; one that is killed leaves nothing behind."""

import os
import signal

from hypothesis import given
from hypothesis import strategies as st

from app.check_board import CheckBoard
from app.check_result import ERROR, OK, CheckResult

RESULTS = [CheckResult("cache", OK, "writable"), CheckResult("AHI", ERROR, "is away – ä", "look at it")]


def test_nothing_was_checked_yet() -> None:
    state = CheckBoard().state()
    assert (state.report, state.is_under_way, state.has_failed) == (None, False, False)


def test_a_run_from_its_request_to_its_results() -> None:
    board = CheckBoard()
    assert not board.is_asked()
    board.ask()
    assert board.is_asked() and board.state().is_under_way
    board.note_begin()
    assert board.is_running and not board.is_asked() and board.state().is_under_way
    child = os.fork()
    if not child:
        board.publish(RESULTS)
        os._exit(0)
    os.waitpid(child, 0)
    board.note_end()
    state = board.state()
    assert state.report and list(state.report.results) == RESULTS
    assert state.report.begun_at <= state.report.ended_at
    assert (state.is_under_way, state.has_failed) == (False, False)


def test_who_asks_while_one_runs_starts_no_second_one() -> None:
    board = CheckBoard()
    board.ask()
    board.note_begin()
    board.ask()
    board.note_end()
    assert not board.is_asked() and not board.state().is_under_way
    board.ask()
    assert board.is_asked(), "the next one can be asked for"


def test_a_run_that_is_killed_leaves_the_report_before() -> None:
    board = CheckBoard()
    board.ask()
    board.note_begin()
    board.publish(RESULTS)
    board.note_end()
    board.ask()
    board.note_begin()
    child = os.fork()
    if not child:
        signal.pause()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    board.note_end()
    state = board.state()
    assert state.has_failed and not state.is_under_way
    assert state.report and list(state.report.results) == RESULTS


@given(number=st.integers(0, 3000), length=st.integers(0, 300))
def test_results_that_do_not_fit_are_left_out_and_one_says_so(number: int, length: int) -> None:
    board = CheckBoard()
    board.note_begin()
    given_results = [CheckResult(f"{place}", OK, "ä" * length) for place in range(number)]
    board.publish(given_results)
    report = board.state().report
    assert report
    if len(report.results) != number:
        assert list(report.results[:-1]) == given_results[: len(report.results) - 1]
        assert report.results[-1].advice == "run python main.py check"
        assert number * (length + 30) > 10_000
