"""The benchmark of the memory of a comparison, with few image sets."""

import pytest

from bench.index_memory import main


def test_memory_is_told_after_a_tenth_and_after_all(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--listed", "3000"])
    told = capsys.readouterr().out
    for line in ("listing of 3000 image sets", "memory after listing a tenth", "memory after comparing all"):
        assert line in told
