"""Concurrent cold requests for every kind of resource, on every Python of this machine: all are answered, and rightly.

It takes three minutes; two Pythons have their turn at the same time. script/pythons makes their environments.
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.crowd.archive import make_archive
from tests.crowd.cold import Report, run
from tests.crowd.pythons import VERSIONS, find_interpreter

SECONDS = 48.0
CLIENTS = 20
AT_ONCE = 2


@pytest.fixture(scope="module")
def seed() -> int:
    return int(os.environ.get("CROWD_SEED", "1"))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Iterator[Mapping[str, Future[Report]]]:
    """What came of it on each Python, when it has."""
    pythons = {version: python for version in VERSIONS if (python := find_interpreter(version))}
    archive = make_archive(tmp_path_factory.mktemp("archive"))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            version: pool.submit(
                run, archive, python, tmp_path_factory.mktemp("crowd"), seconds=SECONDS, clients=CLIENTS, seed=seed
            )
            for version, python in pythons.items()
        }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_crowd_of_cold_requests_is_answered_rightly(
    version: str, reports: Mapping[str, Future[Report]], seed: int
) -> None:
    if version not in reports:
        pytest.skip(f"Python {version} is not on this machine, or script/pythons was not run")
    report = reports[version].result()
    again = f".venv/bin/python -m tests.crowd.cold --python {version} --seed {seed}"
    assert not report.problems, f"{again}\n{report.text}"
    assert len(report.asked) > report.kinds * 0.9 > 90, again  # a busy machine does not get to all of them
