"""The forwarder process: its parts are put together, and it runs until another one takes its place."""

import hashlib
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ahi.client.calls import AhiClient
from ahi.client.stow import MAX_BODY_BYTES, StowClient
from index.writing.store_records import StoreRecords
from index.writing.writer import IndexWriter
from runtime.changes import Changes
from runtime.heartbeat import Heartbeat
from runtime.leave_signal import block_signal, is_to_leave
from runtime.shared_metrics import ProcessMetrics
from store.forward.queue import ForwardQueue
from store.forward.rows import SeriesRows
from store.forward.server import ForwardServer
from store.forward.storer import SeriesStorer
from store.outcome import Outcome, Sender
from store.spool.layout import FORWARDER_LOCK, SpoolInUse, SpoolLock
from store.spool.spool import Spool

_FRAMING_BYTES = 10**6  # of a batch: the heads of its parts
_LOCK_ROUND_SECONDS = 1.0
_NICENESS = 5  # where the cores are busy, clients who read come first


@dataclass(frozen=True)
class ForwardLimits:
    """The limits of a forwarder."""

    wait_seconds: float = 120.0
    """The longest time that a client waits for its instances to be stored."""
    patience_seconds: float = 30.0
    """The longest time for the retries of a call to AHI, and for the lease of a series."""
    metadata_bytes: int = 256 * 2**20
    """The most bytes in the metadata of an image set."""


@dataclass(frozen=True)
class ForwarderParts:
    """What a forwarder works with."""

    spool: Spool
    client: AhiClient
    stow: StowClient
    writer: IndexWriter
    records: StoreRecords
    changes: Changes
    note: Callable[[Sender, Sequence[Outcome]], None]
    """Called with the outcomes of each entry for which no client waits."""
    adopt: Callable[[], Sequence[str]] = tuple
    """Moves entries that ended services left into the spool, from time to time; their names. OSError."""


def serve(
    listening: socket.socket,
    parts: ForwarderParts,
    limits: ForwardLimits,
    heartbeat: Heartbeat,
    process_metrics: ProcessMetrics,
) -> None:
    """Forward what is in the spool, and what web processes tell of at the socket, until SIGHUP."""
    block_signal()
    os.nice(_NICENESS)
    lock = _wait_for_turn(parts.spool, heartbeat)
    if lock is None:
        return
    rows = SeriesRows(parts.client, parts.writer, limits.patience_seconds, limits.metadata_bytes, parts.changes)
    storer = SeriesStorer(parts.stow, parts.records, rows, process_metrics, limits.patience_seconds)
    queue = ForwardQueue(MAX_BODY_BYTES - _FRAMING_BYTES, limits.wait_seconds)
    server = ForwardServer(listening, parts.spool, queue, storer, heartbeat, process_metrics, parts.note, parts.adopt)
    threading.Thread(target=storer.renew_leases, name="leases", daemon=True).start()
    server.start()
    while not is_to_leave():
        server.listen()
    server.leave()
    lock.close()


def holder_name(spool: Spool) -> str:
    """The holder of the leases of a forwarder: that of the next one of this spool on this machine has the same name.

    Only one forwarder of a spool runs at a time. So it need not wait until the leases of one that was killed end. The
    name of the machine tells a copy of the spool from it. OSError.
    """
    return hashlib.sha256(f"{socket.gethostname()}/{spool.layout.identity()}".encode()).hexdigest()[:32]


def _wait_for_turn(spool: Spool, heartbeat: Heartbeat) -> SpoolLock | None:
    """Wait until the forwarder before has ended; None if this one is to leave meanwhile."""
    while not is_to_leave():
        heartbeat.listened()
        try:
            return SpoolLock(spool.layout, _LOCK_ROUND_SECONDS, FORWARDER_LOCK)
        except SpoolInUse:
            continue
    return None
