"""The speed of storing beside Orthanc: receiving alone, and the whole way into the embedded data store.

python -m bench.store [--slices 100] [--side 512]

Each line stores a CT series of its own. `receiving` is answered when the spool has the instances; its CPU time is that
of the web process. The other lines are answered when they can be retrieved. `proxy` is the service, and `data store` is
the CPU time of the embedded data store behind it. It encodes a frame as HTJ2K when somebody first asks for it:
`frames, first` has what that costs, beside `frames, again`. A line below the table has the time of a wait for the disk.
"""

import argparse
import gzip
import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from bench.orthanc import running_orthanc
from bench.processes import cpu_seconds
from bench.table import markdown
from runtime.durable_files import write_durably
from tests.service.storing import Storing, storing
from tests.waiting import wait_for

CONNECTIONS = 6
BOUNDARY = "bench-store-boundary"
CONTENT_TYPE = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


@dataclass(frozen=True)
class Stored:
    """A series that was stored: by whom, how, in how many versions, and what it took."""

    server: str
    how: str
    images: int
    seconds: float
    cpu_seconds: float
    versions: int | None = None


def series(number: int, slices: int, side: int) -> list[bytes]:
    """The files of a CT series: noise and a disc, 16 bits, as large as real slices and as hard to encode."""
    random = np.random.default_rng(number)
    rows, columns = np.ogrid[:side, :side]
    disc = ((rows - side / 2) ** 2 + (columns - side / 2) ** 2 < (side / 2.5) ** 2) * 1000
    return [_file(number, at, (disc + random.normal(0, 12, (side, side))).astype(np.int16)) for at in range(slices)]


def _file(series_number: int, at: int, pixels: np.ndarray) -> bytes:
    data_set = Dataset()
    data_set.SOPClassUID, data_set.SOPInstanceUID = CTImageStorage, f"1.2.826.0.1.{series_number}.{at + 1}"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = f"1.2.826.{series_number}", f"1.2.826.0.{series_number}"
    data_set.PatientID, data_set.PatientName, data_set.Modality = f"P{series_number}", "Bench^Store", "CT"
    data_set.StudyDate, data_set.InstanceNumber = "20261130", at + 1
    data_set.Rows, data_set.Columns = pixels.shape
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit, data_set.PixelRepresentation = 16, 16, 15, 1
    data_set.PixelData = pixels.tobytes()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    file = BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()


def post(root: str, files: Sequence[bytes], address: str = "127.0.0.1") -> int:
    """Store files in one request from an address of this machine; their number. RuntimeError unless all are taken."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + file + b"\r\n" for file in files) + f"--{BOUNDARY}--\r\n".encode()
    url = urlsplit(root)
    connection = http.client.HTTPConnection(url.netloc, timeout=600, source_address=(address, 0))
    headers = {"Content-Type": CONTENT_TYPE, "Accept": "application/dicom+json"}
    connection.request("POST", f"{url.path}/studies", body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status not in (200, 202):
        raise RuntimeError(f"the answer was {answer.status}")
    return len(files)


def _in_one_request(root: str, files: Sequence[bytes]) -> None:
    post(root, files)


def _one_by_one(root: str, files: Sequence[bytes]) -> None:
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda file: post(root, [file]), files))


WAYS: dict[str, Callable[[str, Sequence[bytes]], None]] = {
    "one request": _in_one_request,
    f"{CONNECTIONS} connections": _one_by_one,
}


def _measure(how: str, root: str, files: Sequence[bytes], *pids: int) -> tuple[float, list[float]]:
    """The seconds, and the CPU seconds of each process and its children."""
    before, started = [cpu_seconds(pid) for pid in pids], time.monotonic()
    WAYS[how](root, files)
    seconds = time.monotonic() - started
    return seconds, [cpu_seconds(pid) - cpu for pid, cpu in zip(pids, before, strict=True)]


def receiving(folder: Path, slices: int, side: int) -> Iterator[Stored]:
    """Receive only: the forwarder works afterwards."""
    with storing(folder, STORE_ANSWER="spooled", WEB_PROCESSES="1", SPOOL_MIN_FREE_BYTES="0") as running:
        post(running.service.root, series(1, 2, side))
        wait_for(lambda: running.spool.names() == [])
        for number, how in enumerate(WAYS, start=2):
            files = series(number, slices, side)
            seconds, (cpu,) = _measure(how, running.service.root, files, *running.service.named("web"))
            yield Stored("receiving", how, slices, seconds, cpu)
            wait_for(lambda: running.spool.names() == [], 600)


def whole_way(folder: Path, slices: int, side: int) -> Iterator[Stored]:
    """Store into the embedded data store, until everything can be retrieved."""
    with storing(
        folder, WEB_PROCESSES="1", SPOOL_MIN_FREE_BYTES="0", STORE_WAIT_SECONDS="600", AHI_STOW_DIGEST="streaming"
    ) as running:
        post(running.service.root, series(1, 2, side))
        for number, how in enumerate(WAYS, start=2):
            files = series(number, slices, side)
            pids = (running.service.process.pid, running.datastore.process.pid)
            seconds, (own, behind) = _measure(how, running.service.root, files, *pids)
            yield Stored("proxy", how, slices, seconds, own, _versions(running, number))
            yield Stored("data store", how, slices, seconds, behind)
        yield from _frames_read(running, 2, side)


def _frames_read(running: Storing, number: int, side: int) -> Iterator[Stored]:
    """Ask the data store for each frame of a series, twice."""
    storage, pid = running.datastore.storage, running.datastore.process.pid
    (image_set,) = storage.image_sets_of(f"1.2.826.{number}")
    (nodes,) = json.loads(gzip.decompress(storage.metadata(image_set.image_set_id)))["Study"]["Series"].values()
    ids = [frame["ID"] for node in nodes["Instances"].values() for frame in node["ImageFrames"]]
    path = f"/datastore/{storage.datastore.datastore_id}/imageSet/{image_set.image_set_id}/getImageFrame"
    connection = http.client.HTTPConnection(urlsplit(running.datastore.url).netloc, timeout=60)
    for how in ("frames, first", "frames, again"):
        before, started = cpu_seconds(pid), time.monotonic()
        for frame_id in ids:
            connection.request("POST", path, json.dumps({"imageFrameId": frame_id}))
            answer = connection.getresponse()
            if not 0 < len(answer.read()) < 2 * side * side or answer.status != 200:
                raise RuntimeError("the data store gave no HTJ2K frame")
        yield Stored("data store", how, len(ids), time.monotonic() - started, cpu_seconds(pid) - before)
    connection.close()


def disk_wait_seconds(folder: Path, times: int = 20) -> float:
    """The usual time until a small file is on disk."""
    seconds = []
    for number in range(times):
        began = time.monotonic()
        write_durably(folder / f"wait {number}", b"x" * 4096)
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


def _versions(running: Storing, number: int) -> int:
    (image_set,) = running.datastore.storage.image_sets_of(f"1.2.826.{number}")
    return image_set.version


def orthanc(slices: int, side: int) -> Iterator[Stored]:
    """Store into Orthanc."""
    with running_orthanc() as peer:
        post(peer.root, series(1, 2, side))
        for number, how in enumerate(WAYS, start=2):
            seconds, (cpu,) = _measure(how, peer.root, series(number, slices, side), peer.pid)
            yield Stored("Orthanc", how, slices, seconds, cpu)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--side", type=int, default=512)
    options = parser.parse_args(arguments)
    found: list[Stored] = []
    with tempfile.TemporaryDirectory(prefix="bench-store-") as name:
        found += receiving(Path(name, "receiving"), options.slices, options.side)
        found += whole_way(Path(name, "whole"), options.slices, options.side)
        wait_seconds = disk_wait_seconds(Path(name))
    try:
        found += orthanc(options.slices, options.side)
    except FileNotFoundError as error:
        print(error)
    head = ["server", "way", "images", "s", "images /s", "CPU ms an image", "versions"]
    rows = [[one.server, one.how, one.images, f"{one.seconds:.2f}", f"{one.images / one.seconds:.1f}",
             f"{1000 * one.cpu_seconds / one.images:.2f}", one.versions or "-"] for one in found]  # fmt: skip
    print(markdown(head, rows))
    print(f"\na wait for the disk: {1000 * wait_seconds:.1f} ms")


if __name__ == "__main__":
    main()
