"""The local data store, served from a thread of the test run."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, cast

from waitress import wasyncore

from datastore.serving.faults import Faults
from datastore.serving.server import listen, make_server
from datastore.storage.storage import Storage
from tests.datastore.shelf import Shelf


@contextmanager
def served(storage: Storage | Shelf, faults: Faults | None = None, *, signature_needed: bool = False) -> Iterator[str]:
    """A data store that serves `storage` on loopback, from a thread of this process; its URL."""
    with listen() as listener:
        server: Any = make_server(
            cast(Storage, storage), faults or Faults(), listener, signature_needed=signature_needed
        )
        thread = Thread(target=server.run)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.effective_port}"
        finally:
            with suppress(OSError):  # an awake loop may have closed its trigger before this wakes it
                server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map))
            thread.join()
            server.task_dispatcher.shutdown()
