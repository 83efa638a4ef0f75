"""The benchmark of thumbnails runs, and a low resolution takes less time than all of a picture."""

import pytest

from bench.thumbnail import compare, main


def test_both_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--small", "--side", "64", "--repeat", "1"])
    printed = capsys.readouterr().out
    assert "| all of it        | 320 x 416 |" in printed
    assert "| a low resolution | " in printed


def test_a_thumbnail_that_needs_every_pixel_has_no_lower_resolution() -> None:
    with pytest.raises(ValueError, match="no lower resolution"):
        compare((64, 64), 64, 1)
