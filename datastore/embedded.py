"""The embedded default: a data store and its index in one folder, and the settings that point the proxy at them.

Runs in the process of an import, and in that of the data store.
"""

import os
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from shutil import rmtree

from tqdm import tqdm

from datastore.importing.importer import ImportReport, import_files, index_pending
from datastore.importing.report import details, read_refused, summary, write_refused
from datastore.importing.samples import sample_files
from datastore.index.filler import IndexFiller
from datastore.index.own import OwnIndex
from datastore.pixels.layout import FRAME_BYTES
from datastore.samples.curated import write_curated
from datastore.serving.faults import Faults
from datastore.serving.server import serve
from datastore.storage.storage import Storage


class Embedded:
    """A folder with image sets in `store`, the index in `index.sqlite` and the cache of the proxy in `cache`.

    `refused.jsonl` has what the last import refused. `samples` is there only while samples are made and imported.
    """

    def __init__(
        self,
        root: Path,
        *,
        clean_index: bool = True,
        populate_instances: bool = True,
        frame_bytes: int = FRAME_BYTES,
    ) -> None:
        """Without `clean_index` the index has AWS's tables, filled as the AWS index writer does: for tests.

        `populate_instances` is POPULATE_INSTANCE_LEVEL of that writer: if it is false, it is AWS's without instances.
        Frames that have to be decoded, and take more than `frame_bytes` then, are not stored.
        """
        self._root = root.resolve()
        self._own_index = clean_index and populate_instances
        self._populate_instances = populate_instances
        self._frame_bytes = frame_bytes
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._samples = self._root / ".samples-being-imported"  # a name that nobody else has: it is deleted
        self._refused = self._root / "refused.jsonl"

    @property
    def index_url(self) -> str:
        """The database URL of the index."""
        return f"sqlite:///{self._root / 'index.sqlite'}"

    @property
    def can_store(self) -> bool:
        """Whether a service in front of it may store: not with the tables of AWS, which are for tests."""
        return self._own_index

    def environment(self, port: int) -> Mapping[str, str]:
        """The environment of a proxy in front of this data store, which is served on a loopback port."""
        storing = {"INDEX_WRITE_URL": self.index_url, "STORE_DATASTORE_ID": self._storage().datastore.datastore_id}
        return {
            **(storing if self.can_store else {}),
            "DATABASE_URL": self.index_url,
            "AWS_ENDPOINT_URL_MEDICAL_IMAGING": f"http://127.0.0.1:{port}",
            "AHI_STOW_ENDPOINT": f"http://127.0.0.1:{port}",
            "AHI_STOW_DIGEST": "streaming",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "embedded",
            "AWS_SECRET_ACCESS_KEY": "embedded",
            "AWS_SESSION_TOKEN": "",
        }

    def defaults(self) -> Mapping[str, str]:
        """Defaults for settings that the environment of the proxy lacks."""
        folders = {"CACHE_ROOT": str(self._root / "cache"), "SPOOL_ROOT": str(self._root / "spool")}
        return {"HOST": "127.0.0.1", "CORS_ORIGINS": "loopback", **folders}

    @property
    def wants_samples(self) -> bool:
        """Whether there are no image sets yet, or the process that made and imported samples was killed."""
        return self._samples.exists() or not self._storage().image_sets()

    def fill_with_samples(self) -> None:
        """Make the samples of a first start, and import them."""
        with self._made_samples() as folder:
            report = self._fill([folder])
        _say(f"imported {report.imported} samples")

    def fill(self, paths: Iterable[Path], *, with_details: bool = False, all_samples: bool = False) -> bool:
        """Import files and folders with a progress bar, and print a summary; whether all was imported without loss.

        `with_details` prints each file of which a part was lost or changed. `all_samples`: the samples of a first
        start are imported too, and all files that pydicom and pydicom-data ship, of which some are broken on purpose.
        """
        with self._made_samples() if all_samples else nullcontext() as made:
            samples = [made, *sample_files()] if made else []
            report = self._fill([*paths, *samples])
        _say(*(details(report) if with_details else ()), *summary(report))
        if not report.imported:
            _say("  no file was imported")
        elif not (with_details or report.is_whole):
            _say("  import --details names the files")
        return report.is_whole and report.imported > 0

    def refused(self) -> list[str]:
        """A line for each file that the last import refused, with the reason."""
        return read_refused(self._refused)

    @contextmanager
    def _made_samples(self) -> Iterator[Path]:
        """The files of the samples of a first start, for a while; what a killed process left is replaced."""
        _say("making sample images")
        rmtree(self._samples, ignore_errors=True)
        self._samples.mkdir()
        write_curated(self._samples)
        yield self._samples
        rmtree(self._samples)

    def _fill(self, paths: Iterable[Path]) -> ImportReport:
        chosen = list(paths)
        index = self._index()
        try:
            with tqdm(total=_count(chosen), desc="Importing", unit=" files", disable=None, file=sys.stderr) as bar:
                storage, on_progress = self._storage(), lambda _: bar.update()
                report = import_files(chosen, storage, index, on_progress=on_progress, frame_bytes=self._frame_bytes)
            write_refused(self._refused, report)
            return report
        finally:
            index.close()

    def catch_up(self) -> None:
        """Index the image sets that are not indexed: after a killed import, or in a folder of an earlier version."""
        self._index().close()

    def serve(self, listening: socket.socket, faults: str | None) -> None:
        """Serve the AHI wire protocol until SIGTERM; `faults` is the text form of `datastore.serving.faults`."""
        serve(self._storage(), Faults.from_text(faults or ""), listening, frame_bytes=self._frame_bytes)

    def _storage(self) -> Storage:
        return Storage.open(self._root / "store")

    def _index(self) -> OwnIndex | IndexFiller:
        """The index, which has all image sets that are stored."""
        storage = self._storage()
        if not self._own_index:
            filler = IndexFiller(self.index_url, populate_instances=self._populate_instances)
            filler.create_schema()
            index_pending(storage, filler)
            return filler
        index = OwnIndex(self._root / "index.sqlite", storage)
        with tqdm(desc="Indexing", unit=" image sets", disable=None, file=sys.stderr, delay=1) as bar:

            def show(done: int, of: int) -> None:
                bar.total = of
                bar.update(done - bar.n)

            index.catch_up(show)
        return index


def _count(paths: Iterable[Path]) -> int:
    """The number of files, for the progress bar."""
    return sum(sum(len(names) for _, _, names in os.walk(path)) if path.is_dir() else 1 for path in paths)


def _say(*lines: str) -> None:
    sys.stderr.writelines(f"{line}\n" for line in lines)
