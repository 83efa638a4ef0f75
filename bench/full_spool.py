"""A spool in which many store requests wait and were refused, and the forwarder of it, while AHI is away."""

import secrets
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dicomweb.errors import UpstreamBusy
from runtime.heartbeat import Heartbeat
from runtime.shared_metrics import ProcessMetrics
from store.forward.client import Forwarder
from store.forward.queue import Batch, ForwardQueue
from store.forward.server import ForwardServer
from store.outcome import FailureReason, Outcome, ReceivedInstance, Sender
from store.spool.spool import Entry, Spool

REQUESTS = 200
"""The store requests that wait, and as many that were refused."""

_INSTANCES = 20
_BYTES = 100


class _Away:
    def store(self, batch: Batch) -> Sequence[Outcome | None]:
        raise UpstreamBusy("AWS HealthImaging does not answer")


@contextmanager
def full_spool(root: Path, study_instance_uid: str) -> Iterator[Forwarder]:
    """The forwarder of a full spool below `root`; all its requests are of one study."""
    spool = Spool(root, lasts=False)
    spool.open()
    for number in range(2 * REQUESTS):
        entry = _accept(spool, study_instance_uid, number)
        if number % 2:
            detail, failure = "AWS HealthImaging refuses it", FailureReason.CANNOT_UNDERSTAND
            spool.refuse(entry, [Outcome.of(one, failure=failure, detail=detail) for one in entry.manifest.instances])
    path, stop = f"{root}/{secrets.token_hex(4)}", threading.Event()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(100)
        queue = ForwardQueue(10**9, 60.0)
        server = ForwardServer(listening, spool, queue, _Away(), Heartbeat(), ProcessMetrics.alone())

        def listen() -> None:
            while not stop.is_set():
                server.listen()

        thread = threading.Thread(target=listen)
        server.start(1)
        thread.start()
        try:
            yield Forwarder(path, 1.0)
        finally:
            stop.set()
            thread.join()
            server.leave()


def _accept(spool: Spool, study: str, number: int) -> Entry:
    body = spool.incoming / "body"
    body.write_bytes(b"x" * _BYTES * _INSTANCES)
    instances = [
        ReceivedInstance(at * _BYTES, _BYTES, "1.1", f"{study}.{number}.{at}", study, f"{study}.{number}", "1.2", "0")
        for at in range(_INSTANCES)
    ]
    return spool.accept(body, instances, Sender("basic:anna", "aetitle", "0" * 32))
