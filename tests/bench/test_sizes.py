"""The command that measures sizes runs, and its figures follow from what it measures."""

import pytest

from bench.sizes import Opening, main


def test_both_forms_are_measured_cold_and_warm(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--slices", "12", "--side", "128"])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:3] for row in rows] == [
        ["as stored", "cold", "12"],
        ["as stored", "warm", "12"],
        ["decoded", "cold", "12"],
        ["decoded", "warm", "12"],
    ]
    assert all(float(row[5]) > 0 for row in rows)


def test_viewers_follow_from_the_time_of_a_core() -> None:
    assert Opening("as stored", "cold", 200, 1.8, 10**6).viewers(minutes=5) == pytest.approx(100)
