"""The benchmark of searches runs, at a scale that takes seconds."""

import re
from pathlib import Path

import pytest

from bench.index import DATABASE, Size
from bench.search import CASES, main
from bench.table import markdown
from tests.servers import MariaDb

pytestmark = pytest.mark.service

STUDIES = 300


def test_every_search_is_measured_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--studies", str(STUDIES), "--repeat", "1"])
    times, plans = re.split(r"\n\n(?=\| search)", capsys.readouterr().out)[1:]
    for case in CASES:
        assert re.search(rf"^\| {re.escape(case.name)} +\| .*\d\.\d", times, re.MULTILINE)
        assert re.search(rf"^\| {re.escape(case.name)} +\| .*(study|patient|series)", plans, re.MULTILINE)
    assert "study_newest_first" not in plans.split("plan with indexes")[0]


def test_the_index_is_kept_for_the_next_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        main(["--studies", "20", "--repeat", "1", "--cache", str(tmp_path)])
    assert capsys.readouterr().out.count("studies: ") == 1
    server = MariaDb(tmp_path / "mariadb-20")
    try:
        with pytest.raises(Exception, match="exists"):
            server.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        server.close()


def test_there_are_three_patients_to_ten_studies() -> None:
    assert Size(1_000_000).patients == 300_000


def test_a_table_is_markdown_with_numbers_to_the_right() -> None:
    assert markdown(("what", "ms"), [("a", 1.25), ("bcdef", 1234.0)]).splitlines() == [
        "| what  |      ms |",
        "| ----- | ------: |",
        "| a     |     1.2 |",
        "| bcdef | 1,234.0 |",
    ]
