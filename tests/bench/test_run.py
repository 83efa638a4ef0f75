"""The benchmark runs, all of its lines, on a workload that takes seconds and without Orthanc."""

import json
from pathlib import Path

import pytest

from bench.lines import RATES
from bench.run import GROUPS, main
from bench.workload import Size, write_workload


@pytest.mark.service
def test_every_line_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results.json"
    some = [group for group in GROUPS if group not in RATES] + ["metadata"]
    main(["--small", "--alone", "--seconds", "1", "--lines", ",".join(some), "--json", str(results)])
    printed, found = capsys.readouterr().out, json.loads(results.read_text())
    assert {one["server"] for one in found["rates"]} == {"proxy", "nginx"}
    assert all(one["rate"]["requests"] and not one["rate"]["bad"] for one in found["rates"])
    assert [at["slices"] for at in found["curve"]] == list(Size.small().long)
    figures = {one["line"]: one["value"] for one in found["figures"]}
    assert all(line in printed for line in figures)
    assert {value for line, value in figures.items() if "GetImage" in line} == {1}
    assert figures["metadata of a series, 8 connections, times nginx"] < 1


def test_an_unknown_line_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--lines", "frames,tea"])
    assert "no such lines: tea" in capsys.readouterr().err


def test_the_workload_is_always_the_same(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_workload(tmp_path / folder, Size.small(), long=False)
    one, two = (sorted((tmp_path / folder).glob("*.dcm")) for folder in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert len(one) == 2 * Size.small().slices + 4 + 1
