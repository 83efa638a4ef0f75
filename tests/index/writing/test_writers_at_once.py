"""Several writers at once, each with connections of its own, end in the rows that one of them would have written."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from index.writing.writer import IndexWriter
from tests.index.writing.made import Calls, Version, expected, held, live, run

_WRITERS = 4


def _calls(seed: int) -> Calls:
    """Calls about few patients, studies and series, so that writers meet."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    versions: dict[tuple[str, int], Version] = {}
    calls: Calls = []
    for _ in range(48):
        image_set_id, number = chance.choice("abcdef") * 32, chance.randint(1, 4)
        one = Version(
            store="1" * 32,
            image_set_id=image_set_id,
            number=number,
            updated=chance.randint(0, 5),
            is_primary=chance.random() < 0.5,
            patient_id=chance.choice(("P1", "P2", "")),
            issuer=chance.choice(("", "HOSPITAL")),
            study_uid=chance.choice("12"),
            series_uid=chance.choice(("1.1", "1.2")),
            sop_uids=tuple(sorted(chance.sample("12345", chance.randint(1, 4)))),
        )
        calls.append(versions.setdefault((image_set_id, number), one))
    for image_set_id in "ef":
        calls.insert(chance.randrange(len(calls)), ("1" * 32, image_set_id * 32))
    return calls


@pytest.mark.parametrize("seed", range(2))
def test_writers_at_once_end_in_the_same_rows(new_database: Callable[[], str], seed: int) -> None:
    url, calls = new_database(), _calls(seed)
    writers = [IndexWriter(url, pool_size=1) for _ in range(_WRITERS)]
    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(IndexWriter.create_or_migrate, writers))  # they also begin at once
        list(pool.map(run, writers, [calls[start::_WRITERS] for start in range(_WRITERS)]))
    assert held(url) == expected(live(calls))
    for writer in writers:
        writer.close()
