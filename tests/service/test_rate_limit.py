"""The rate of a client is bounded over all web processes, as its operator set it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.service.process import Service

BURST = 6


@pytest.fixture
def bounded(datastore_root: Path, tmp_path: Path) -> Iterator[Service]:
    environment = {
        "DATASTORE_ROOT": str(datastore_root),
        "WEB_PROCESSES": "2",
        "TRUSTED_PROXY": "127.0.0.1",
        "RATE_LIMIT": "0.01",
        "RATE_LIMIT_BURST": str(BURST),
    }
    service = Service(tmp_path, environment)
    yield service
    assert service.stop() == 0


def test_a_client_has_one_bound_whatever_process_answers(bounded: Service) -> None:
    for client in ("192.0.2.1", "192.0.2.2"):
        headers = {"X-Forwarded-For": client, "Connection": "close"}
        answers = [requests.get(f"{bounded.root}/studies?limit=1", headers=headers, timeout=60) for _ in range(20)]
        statuses = [answer.status_code for answer in answers]
        assert statuses == [200] * BURST + [429] * (20 - BURST)
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 100
    assert bounded.status("/health") == 200
