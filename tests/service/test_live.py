"""Whether the service lives is told while every thread waits: who replaced it then would help nobody."""

import threading
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from tests.service.archive import Sample
from tests.service.process import Service

THREADS = 4
AWAY_SECONDS = 60


def ask(port: int, path: str, source: str, timeout: float) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout, source_address=(source, 0))
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
def test_a_service_whose_threads_all_wait_says_that_it_lives(
    datastore_root: Path, samples: dict[str, Sample], tmp_path: Path
) -> None:
    faults = f"GetImageFrame:latency={AWAY_SECONDS}s"
    environment = {"DATASTORE_FAULTS": faults, "WEB_PROCESSES": "1", "WEB_THREADS": str(THREADS)}
    service = Service(tmp_path, {"DATASTORE_ROOT": str(datastore_root), "AHI_DEADLINE_SECONDS": "60", **environment})
    study, series, instance = samples["CT_small.dcm"].uids
    frame = f"/aetitle/studies/{study}/series/{series}/instances/{instance}/frames/1"

    def wait_for_frame(source: str) -> None:
        with suppress(OSError, HTTPException):
            ask(service.port, frame, source, 2 * AWAY_SECONDS)

    waiting = [
        threading.Thread(target=wait_for_frame, args=(f"127.0.0.{number + 2}",)) for number in range(2 * THREADS)
    ]
    for one in waiting:
        one.start()
    time.sleep(5)
    for source in ("127.0.0.2", "127.0.0.99"):
        assert ask(service.port, "/aetitle/live", source, AWAY_SECONDS / 2) == 200
    assert service.stop() == 0
    for one in waiting:
        one.join()
