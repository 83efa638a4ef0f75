"""A service that stores: its own index, and the embedded data store as AHI in a process of its own."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from datastore.storage.storage import Storage
from store.spool.spool import Spool
from tests.servers import free_port
from tests.service.process import ROOT, Service
from tests.waiting import wait_for

BOUNDARY = "0123456789"


class DataStore:
    """The embedded data store as a process, which can be killed and started again."""

    def __init__(self, root: Path, log_level: str = "INFO") -> None:
        self.root = root
        self._log_level = log_level
        self._log_path = root.parent / "datastore.log"
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, str(ROOT / "main.py"), "datastore", f"--port={self.port}"]
        environment = {**os.environ, "DATASTORE_ROOT": str(self.root), "LOG_LEVEL": self._log_level}
        with self._log_path.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, cwd=self.root.parent, stdout=log, stderr=log)
        wait_for(self.answers)

    @property
    def log(self) -> str:
        """All that it logged."""
        return self._log_path.read_text()

    def answers(self) -> bool:
        """Whether it answers."""
        with suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/calls", timeout=30).ok
        return False

    def faults(self, *faults: str) -> None:
        """Set its faults, in place of those before."""
        requests.put(f"{self.url}/faults", json={"faults": list(faults)}, timeout=30).raise_for_status()

    def calls(self) -> dict[str, int]:
        """The calls of each operation."""
        return dict(requests.get(f"{self.url}/calls", timeout=30).json())

    def kill(self) -> None:
        """Kill it, as a power loss would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    @property
    def storage(self) -> Storage:
        """What it has, read from its folder."""
        return Storage.open(self.root / "store")


@dataclass
class Storing:
    """A service that stores, and the data store behind it."""

    folder: Path
    datastore: DataStore
    environment: dict[str, str]
    service: Service = field(init=False)

    def start(self) -> None:
        """Start the service."""
        self.service = Service(self.folder / "service", self.environment)

    @property
    def spool(self) -> Spool:
        """Its spool."""
        return Spool(self.folder / "spool")

    def post(self, *files: bytes, timeout: float = 120) -> requests.Response:
        """Send files in one request."""
        head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(head + content + b"\r\n" for content in files) + f"--{BOUNDARY}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        return requests.post(f"{self.service.root}/studies", body, headers=headers, timeout=timeout)

    def bound_files(self, process: str, size_bytes: int) -> None:
        """Bound the size of what these processes write, as a disk does that is full."""
        for pid in self.service.all_named(process, {"web": 2, "forwarder": 1}[process]):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))

    def found(self, **query: str) -> list[str]:
        """The SOP Instance UIDs that a search finds, sorted."""
        answer = requests.get(f"{self.service.root}/instances", {"limit": "5000", **query}, timeout=60)
        answer.raise_for_status()
        return sorted(one["00080018"]["Value"][0] for one in answer.json()) if answer.content else []

    def retrieved(self, study: str, series: str, instance: str) -> requests.Response:
        """An instance as a file."""
        url = f"{self.service.root}/studies/{study}/series/{series}/instances/{instance}"
        return requests.get(url, headers={"Accept": 'multipart/related; type="application/dicom"'}, timeout=60)


def stored_uids(answer: requests.Response) -> Sequence[str]:
    """The SOP Instance UIDs of ReferencedSOPSequence."""
    document: dict[str, Any] = answer.json()
    return [item["00081155"]["Value"][0] for item in document.get("00081199", {}).get("Value", [])]


@contextmanager
def storing(folder: Path, **settings: str) -> Iterator[Storing]:
    """A running service that stores."""
    folder.mkdir(parents=True, exist_ok=True)
    datastore = DataStore(folder / "data", settings.get("LOG_LEVEL", "INFO"))
    index = f"sqlite:///{folder / 'index.sqlite'}"
    environment = {
        "DATABASE_URL": index,
        "INDEX_WRITE_URL": index,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL_MEDICAL_IMAGING": datastore.url,
        "AHI_STOW_ENDPOINT": datastore.url,
        "STORE": "true",
        "STORE_DATASTORE_ID": datastore.storage.datastore.datastore_id,
        "SPOOL_ROOT": str(folder / "spool"),
        "WEB_PROCESSES": "2",
        "FRAME_FETCHERS": "1",
        **settings,
    }
    one = Storing(folder, datastore, environment)
    try:
        one.start()
        yield one
    finally:
        if hasattr(one, "service") and one.service.process.poll() is None:
            one.service.stop()
        datastore.kill()
