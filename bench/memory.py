"""The memory of the web process while a long study is retrieved, and read as fast as it arrives.

python -m bench.memory [--instances 5000] [--side 256]
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests

from bench.table import markdown
from datastore.embedded import Embedded
from tests.datastore.made import with_pixels, written
from tests.service.process import Service

STUDY = "1.2.3.1"


@dataclass(frozen=True)
class Retrieval:
    """One retrieval. `idle_bytes` is the memory of the process before, `peak_bytes` the peak until the end."""

    body_bytes: int
    seconds: float
    idle_bytes: int
    peak_bytes: int


def measure(instances: int, side: int, folder: Path) -> Retrieval:
    """Retrieve a study of so many instances of `side` x `side` pixels of 16 bits as Explicit VR Little Endian."""
    root = folder / "store"
    Embedded(root).fill(list(_files(instances, side, folder)))
    environment = {"DATASTORE_ROOT": str(root), "WEB_PROCESSES": "1", "LOG_LEVEL": "WARNING"}
    service = Service(folder / "service", environment)
    try:
        return retrieval(service, f"/studies/{STUDY}")
    finally:
        service.stop()


def retrieval(service: Service, path: str) -> Retrieval:
    """Retrieve a study or series from a service that has just started, with one web process."""
    (web,) = service.named("web")
    requests.get(f"{service.root}/studies", timeout=60).close()
    idle, started, received = _status(web, "VmRSS"), time.monotonic(), 0
    accept = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1'}
    with requests.get(service.root + path, headers=accept, stream=True, timeout=600) as answer:
        for chunk in answer.iter_content(2**20):
            received += len(chunk)
    return Retrieval(received, time.monotonic() - started, idle, _status(web, "VmHWM"))


def _files(instances: int, side: int, folder: Path) -> Iterator[Path]:
    random = np.random.default_rng(7)
    for number in range(1, instances + 1):
        pixels = random.integers(0, 2**12, (1, side, side), dtype=np.uint16)
        data_set = with_pixels(pixels, SOPInstanceUID=f"{STUDY}.1.{number}", InstanceNumber=number)
        yield written(data_set, folder / f"{number}.dcm")


def _status(pid: int, name: str) -> int:
    """A size in /proc/PID/status, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=5000)
    parser.add_argument("--side", type=int, default=256)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        found = measure(options.instances, options.side, Path(folder))
    mb = 1e6
    row = [options.instances, found.body_bytes / mb, found.seconds, found.idle_bytes / mb, found.peak_bytes / mb,
           (found.peak_bytes - found.idle_bytes) / mb]  # fmt: skip
    head = ["instances", "body MB", "seconds", "idle MB", "peak MB", "more MB"]
    print(markdown(head, [[f"{value:,.1f}" if isinstance(value, float) else str(value) for value in row]]))  # noqa: T201


if __name__ == "__main__":
    main()
