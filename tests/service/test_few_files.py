"""A service that may open few files answers what it can, and says of the rest that it has too much to do."""

import socket
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.service.archive import Sample
from tests.service.process import Service

FILES = 110


@pytest.mark.slow
def test_too_many_open_files_are_no_mistake_of_anybody(
    datastore_root: Path, samples: dict[str, Sample], tmp_path: Path
) -> None:
    environment = {"DATASTORE_ROOT": str(datastore_root), "WEB_PROCESSES": "1", "FRAME_FETCHERS": "1"}
    under = ("prlimit", f"--nofile={FILES}:{FILES}")
    service = Service(tmp_path, {**environment, "CLIENT_MAX_CONNECTIONS": "1000"}, under=under)
    urls = [
        f"{service.root}/studies/{study}/series/{series}/instances/{instance}{suffix}"
        for study, series, instance in (sample.uids for sample in samples.values())
        for suffix in ("", "/metadata")
    ]
    statuses: Counter[int] = Counter()

    def ask(urls: Sequence[str]) -> None:
        for url in urls:
            try:
                statuses[requests.get(url, timeout=60).status_code] += 1
            except requests.ConnectionError:  # noqa: PERF203 - its connection was one too many, or made room
                statuses[503] += 1

    with ExitStack() as stack:
        for number in range(FILES * 3 // 4):
            connection = stack.enter_context(socket.socket())
            connection.bind((f"127.0.0.{2 + number % 8}", 0))
            connection.settimeout(60)
            connection.connect(("127.0.0.1", service.port))
        clients = [threading.Thread(target=ask, args=(urls[number::4][:12],)) for number in range(4) for _ in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert statuses.keys() <= {200, 404, 406, 503}
    assert statuses[200]
    service.wait(lambda: service.status("/health") == 200)
    assert "Traceback" not in service.log
    assert service.stop() == 0
