"""The command that measures what storing costs others runs, and finds what it has stored."""

from pathlib import Path

import pytest

from bench.store_load import MB, beside, one_large_request

pytestmark = pytest.mark.service


def test_every_acknowledged_image_is_found_and_readers_are_answered(tmp_path: Path) -> None:
    found = beside(tmp_path, senders=3, files=4, side=32, alone_seconds=0.5)
    assert found.acknowledged == found.found == found.images == 12
    assert found.alone.failed == found.beside.failed == 0
    assert found.alone.seconds and found.beside.seconds
    assert {"web0", "forwarder", "data store"} <= found.more_bytes.keys()


def test_a_large_request_costs_less_memory_than_the_bound(tmp_path: Path) -> None:
    size_bytes, _, peaks = one_large_request(tmp_path, 100, 512)
    assert size_bytes > 99 * MB
    assert peaks["web process"] < 64 * MB and peaks["forwarder"] < 64 * MB
