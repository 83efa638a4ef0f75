"""A whole way in one process: spool, forwarder, embedded data store and an index of our own, on real sockets."""

import hashlib
import secrets
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from sqlalchemy import create_engine, text

from ahi.client.calls import AhiClient
from ahi.client.stow import MAX_BODY_BYTES, StowClient
from datastore.serving.faults import Faults
from datastore.storage.storage import Storage
from index.writing.store_records import StoreRecords
from index.writing.writer import IndexWriter
from runtime.changes import Changes
from runtime.heartbeat import Heartbeat
from runtime.shared_metrics import ProcessMetrics
from store.forward.client import Forwarder
from store.forward.queue import ForwardQueue
from store.forward.rows import SeriesRows
from store.forward.server import ForwardServer
from store.forward.storer import SeriesStorer
from store.outcome import Outcome, ReceivedInstance, Sender
from store.spool.spool import Entry, Spool
from tests.datastore.made import made, with_pixels
from tests.datastore_server import served


def file_of(data_set: Dataset) -> bytes:
    """The DICOM file of a data set."""
    file = BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()


def instance(number: int, series: int = 1, **elements: str) -> bytes:
    """The file of an instance of study 1.2.3.1."""
    uids = {"SOPInstanceUID": f"1.2.3.1.{series}.{number}", "SeriesInstanceUID": f"1.2.3.1.{series}"}
    return file_of(made(**{**uids, **elements}))


def truncated(number: int) -> bytes:
    """The file of an instance that ends within its pixels."""
    uids = {"SOPInstanceUID": f"1.2.3.1.1.{number}", "SeriesInstanceUID": "1.2.3.1.1"}
    return file_of(with_pixels(np.zeros((1, 8, 8), np.uint8), **uids))[:-9]


def received(content: bytes, start: int) -> ReceivedInstance:
    """What the receiving side says of a file at a place in a body."""
    head = dcmread(BytesIO(content), stop_before_pixels=True)
    return ReceivedInstance(
        start,
        len(content),
        sop_class_uid=str(head.SOPClassUID),
        sop_instance_uid=str(head.SOPInstanceUID),
        study_instance_uid=str(head.StudyInstanceUID),
        series_instance_uid=str(head.SeriesInstanceUID),
        transfer_syntax_uid=str(head.file_meta.TransferSyntaxUID),
        sha256=hashlib.sha256(content).hexdigest(),
    )


@dataclass
class Way:
    """The parts, and what a test asks of them."""

    spool: Spool
    storage: Storage
    faults: Faults
    forwarder: Forwarder
    server: ForwardServer
    index_url: str
    process_metrics: ProcessMetrics = field(default_factory=ProcessMetrics.alone)

    def accept(self, *files: bytes) -> Entry:
        """Put files into the spool, as one request."""
        body = self.spool.incoming / secrets.token_hex(8)
        body.write_bytes(b"".join(files))
        starts = [sum(map(len, files[:index])) for index in range(len(files))]
        instances = [received(file, start) for file, start in zip(files, starts, strict=True)]
        return self.spool.accept(body, instances, Sender("alice", "aetitle", self.storage.datastore.datastore_id))

    def store(self, *files: bytes) -> list[Outcome]:
        """Store files as one request, and wait for the outcomes."""
        return self.forwarder.store(self.accept(*files))

    def indexed(self) -> list[str]:
        """The SOP Instance UIDs in the index."""
        engine = create_engine(self.index_url)
        with engine.connect() as connection:
            uids = list(connection.scalars(text("SELECT sopinstanceuid FROM instance ORDER BY sopinstanceuid")))
        engine.dispose()
        return uids

    def versions(self) -> list[int]:
        """The versions of all image sets, the oldest image set first."""
        return [image_set.version for image_set in self.storage.image_sets()]


@contextmanager
def way(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    wait_seconds: float = 30.0,
    patience_seconds: float = 5.0,
    spool_name: str = "spool",
) -> Iterator[Way]:
    """All parts below a folder; what a way before left there is found again.

    Ways with other spools are tasks that share index and data store.
    """
    spool, storage, faults = Spool(folder / spool_name), Storage.open(folder / "store"), Faults()
    spool.open()
    index_url = f"sqlite:///{folder / 'index.sqlite'}"
    writer = IndexWriter(index_url)
    writer.create_or_migrate()
    with served(storage, faults) as url, socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", url)
        path = f"{folder}/{secrets.token_hex(4)}"
        listening.bind(path)
        listening.listen(100)
        process_metrics = ProcessMetrics.alone()
        client = AhiClient(region="us-east-1", deadline_seconds=patience_seconds)
        stow = StowClient(region="us-east-1", endpoint=url, deadline_seconds=patience_seconds)
        records = StoreRecords(writer.session, secrets.token_hex(16))
        rows = SeriesRows(client, writer, patience_seconds, 2**28, Changes())
        storer = SeriesStorer(stow, records, rows, process_metrics, patience_seconds)
        queue = ForwardQueue(MAX_BODY_BYTES, wait_seconds)
        server = ForwardServer(listening, spool, queue, storer, Heartbeat(), process_metrics)
        stopping = threading.Event()

        def listen() -> None:
            while not stopping.is_set():
                server.listen()

        thread = threading.Thread(target=listen)
        server.start()
        thread.start()
        try:
            yield Way(spool, storage, faults, Forwarder(path, wait_seconds), server, index_url, process_metrics)
        finally:
            stopping.set()
            listening.shutdown(socket.SHUT_RDWR)  # which is an event for the thread that waits for one
            thread.join()
            server.leave()
            for connection in list(server._connections.values()):  # a process that ends closes them itself
                connection.close()
            client.close()
            writer.close()


def uids(outcomes: Sequence[Outcome]) -> list[str]:
    """The UIDs of the stored instances."""
    return [outcome.sop_instance_uid for outcome in outcomes if outcome.is_stored]
