"""The index command against a data store that allows as many calls as AHI: back-fill and comparison.

The data store is the embedded one, in a process of its own, with a catalogue of made-up image sets. It refuses calls
beyond the quotas of AHI. The index is in a private MariaDB. The time of a million image sets is extrapolated.
"""

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from ahi.client.listing_calls import ListedImageSet
from datastore.storage.storage import Storage
from db.index_schema import indexed_image_set
from index.writing.ledger import utc
from index.writing.writer import IndexWriter
from tests.servers import MariaDb, free_port, mysql_server

ROOT = Path(__file__).parents[1]
FILL_AIM_PER_SECOND = 45.0
COMPARE_AIM_SECONDS = 900.0
MILLION = 1_000_000
_QUOTAS = "SearchImageSets:rate=25/50,GetImageSetMetadata:rate=50/100,*:latency=20ms"
_CT = "1.2.840.10008.5.1.4.1.1.2"


def make_storage(root: Path, image_sets: int, instances: int, readable: int) -> None:
    """A data store with so many image sets; the first `readable` ones have metadata, of `instances` CT instances."""
    storage = Storage.open(root, lossless_storage_format="JPEG_2000_LOSSLESS")
    began = time.time() - image_sets
    with storage._catalogue._database.transaction() as connection:
        for number in range(image_sets):
            image_set_id, at = f"{number * 2654435761 % 2**32:08x}{number:024x}", began + number
            tags = {"DICOMStudyInstanceUID": f"2.25.{number}", "DICOMSeriesInstanceUID": f"2.25.{number}.1"}
            connection.execute(
                "INSERT INTO image_set (image_set_id, latest, created_at, study_instance_uid, series_instance_uid)"
                " VALUES (?, 1, ?, ?, ?)",
                (image_set_id, at, *tags.values()),
            )
            connection.execute(
                "INSERT INTO version VALUES (?, 1, ?, 'CREATED', 1, ?)", (image_set_id, at, json.dumps(tags))
            )
            if number < readable:
                folder = root / "image_sets" / image_set_id[:2] / image_set_id / "1"
                folder.mkdir(parents=True)
                document = json.dumps(_document(storage.datastore.datastore_id, image_set_id, number, instances))
                (folder / "metadata.json.gz").write_bytes(gzip.compress(document.encode(), 1))


def _document(datastore_id: str, image_set_id: str, number: int, instances: int) -> Mapping[str, Any]:
    series = f"2.25.{number}.1"
    return {
        "SchemaVersion": "1.1",
        "DatastoreID": datastore_id,
        "ImageSetID": image_set_id,
        "Patient": {
            "DICOM": {"PatientID": f"P{number // 3}", "PatientName": "DOE^JANE", "PatientBirthDate": "19700101"}
        },
        "Study": {
            "DICOM": {"StudyInstanceUID": f"2.25.{number}", "StudyDate": "20260101", "StudyTime": "101500.25"},
            "Series": {
                series: {
                    "DICOM": {"SeriesInstanceUID": series, "Modality": "CT", "SeriesNumber": "1"},
                    "Instances": {f"{series}.{k}": _instance(f"{series}.{k}", k) for k in range(1, instances + 1)},
                }
            },
        },
    }


def _instance(uid: str, number: int) -> Mapping[str, Any]:
    dicom = {
        "SOPInstanceUID": uid,
        "SOPClassUID": _CT,
        "InstanceNumber": str(number),
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Rows": 512,
        "Columns": 512,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "ImagePositionPatient": ["-125.0", "-125.0", str(number)],
        "WindowCenter": ["40"],
        "WindowWidth": ["400"],
    }
    return {"DICOM": dicom, "DICOMVRs": {}, "ImageFrames": [{"ID": f"{number:032x}"}]}


def record_all(root: Path, index_url: str) -> None:
    """Have the ledger of an index say that it has all image sets of a data store."""
    storage, writer = Storage.open(root), IndexWriter(index_url)
    writer.create_or_migrate()
    found = storage.image_sets_by("created_at")
    while some := list(islice(found, 1000)):
        rows = []
        for one in some:
            at = datetime.fromtimestamp(one.updated_at, timezone.utc)
            listed = ListedImageSet(one.image_set_id, one.version, one.is_primary, at, at)
            rows.append(ledger_row(storage.datastore.datastore_id, listed))
        writer.session.run(partial(insert_rows, rows))
    writer.close()


def ledger_row(datastore_id: str, listed: ListedImageSet) -> Mapping[str, Any]:
    """The row of the ledger that says that the index has an image set as AHI lists it."""
    return {
        "datastoreid": datastore_id,
        "imagesetid": listed.image_set_id,
        "version": listed.version,
        "isprimary": listed.is_primary,
        "updatedat": utc(listed.updated_at),
        "lossy": False,
        "attempts": 0,
    }


def insert_rows(rows: Sequence[Mapping[str, Any]], connection: Connection) -> None:
    """Put rows into the ledger."""
    connection.execute(insert(indexed_image_set), rows)


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """The data store in a process of its own; its URL."""
    port, environment = free_port(), {**os.environ, "DATASTORE_ROOT": str(root), "DATASTORE_FAULTS": _QUOTAS}
    command = [sys.executable, str(ROOT / "main.py"), "datastore", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            if process.stdout:
                process.stdout.readline()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@dataclass(frozen=True)
class Run:
    """A run of the command: seconds and CPU seconds with its start, the most MB, and what it logged."""

    seconds: float
    cpu_seconds: float
    most_mb: float
    log: str

    def rate(self, what: str) -> float:
        """The image sets a second that it logged for a step."""
        found = re.findall(rf"{what} image_sets=.* rate=([0-9.]+)/s", self.log)
        return float(found[-1])


def run_command(endpoint: str, index_url: str, *options: str) -> Run:
    """Run the command beside the data store."""
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL_MEDICAL_IMAGING": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "INDEX_WRITE_URL": index_url,
    }
    with tempfile.TemporaryFile("w+") as log:
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "main.py"), "index", *options],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        log.seek(0)
        told = log.read()
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(told[-2000:])
    return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, told)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-sets", type=int, default=1500, help="of the back-fill")
    parser.add_argument("--instances", type=int, default=20, help="of each image set")
    parser.add_argument("--listed", type=int, default=20_000, help="image sets of the comparison")
    options = parser.parse_args()
    server: MariaDb = mysql_server()
    try:
        server.execute("CREATE DATABASE own", "CREATE DATABASE other")
        with tempfile.TemporaryDirectory(prefix="bench-index-") as folder:
            root = Path(folder)
            make_storage(root / "fill" / "store", options.image_sets, options.instances, options.image_sets)
            with serving(root / "fill") as endpoint:
                _tell_fill(options, run_command(endpoint, server.url("own")))
                idle = run_command(endpoint, server.url("own"), "--compare")
                start_seconds = max(0.0, idle.seconds - options.image_sets / idle.rate("listing"))
            make_storage(root / "compare" / "store", options.listed, 0, 0)
            record_all(root / "compare" / "store", server.url("other"))
            with serving(root / "compare") as endpoint:
                run = run_command(endpoint, server.url("other"), "--compare")
                _tell_compare(options.listed, run, start_seconds)
    finally:
        server.close()
    return 0


def _tell_fill(options: argparse.Namespace, run: Run) -> None:
    cpu_ms = 1000 * run.cpu_seconds / options.image_sets
    print(f"back-fill of {options.image_sets} image sets of {options.instances} instances, {run.seconds:.1f} s in all")
    print(f"  {run.rate('filling'):.1f} image sets/s (aim {FILL_AIM_PER_SECOND:g})")
    print(f"  {cpu_ms:.1f} ms of CPU each, with the start; at most {run.most_mb:.0f} MB")


def _tell_compare(listed: int, run: Run, start_seconds: float) -> None:
    """`start_seconds` is the time of a comparison of few image sets, without their listing."""
    listing = listed / run.rate("listing")
    rest = max(0.0, run.seconds - listing - start_seconds)
    print(f"comparison of {listed} image sets, {run.seconds:.1f} s in all: {start_seconds:.1f} s for the start,")
    print(f"  {listing:.1f} s for the listing, {rest:.1f} s for the rest")
    print(f"  {1000 * run.cpu_seconds / listed:.2f} ms of CPU each, with the start; at most {run.most_mb:.0f} MB")
    minutes = (start_seconds + (listing + rest) / listed * MILLION) / 60
    print(f"  a million, extrapolated: {minutes:.1f} min (aim {COMPARE_AIM_SECONDS / 60:g})")


if __name__ == "__main__":
    sys.exit(main())
