"""DICOM files → image sets: read, group, encode, publish, index.

Works on one series at a time. In memory are the paths of the whole import, the metadata of one series, and the pixels
of a few files. Each image set gets at most one new version, which appears when all its files are written.
"""

import gzip
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from datastore.calling_thread import CallingThread
from datastore.findings import Finding, FindingKind, Findings
from datastore.importing.instance import InstanceWriter, WrittenInstance
from datastore.importing.metadata import DIALECTS, InstanceAttributes, Levels
from datastore.importing.scan import NotDicom, Refused, Scanned, Unreadable, quiet, read, scan
from datastore.importing.series import DocumentReader, OpenImageSet, SeriesWriter, primary_levels
from datastore.pixels.codecs import LOSSLESS
from datastore.pixels.frames import FrameEncoder, Options
from datastore.pixels.layout import FRAME_BYTES
from datastore.pixels.native import TruncatedPixelData
from datastore.pixels.pixel_data import check_complete
from datastore.storage.records import ImageSetVersion
from datastore.storage.storage import Storage

CORES = os.cpu_count() or 1


class Index(Protocol):
    """An index that is updated with each new version of an image set."""

    def put(self, datastore_id: str, image_set: Mapping[str, Any], /) -> None:
        """Insert or update the metadata of an image set."""


@dataclass(frozen=True)
class FileReport:
    """A finding in an imported file."""

    path: Path
    finding: Finding


@dataclass
class ImportReport:
    """The result of an import.

    `imported` counts files, `replaced` those whose instance existed before. `found` lists what was lost or changed in
    imported files, and `counts` has the number of findings by kind.
    """

    imported: int = 0
    replaced: int = 0
    skipped_non_dicom: int = 0
    refused: list[Refused] = field(default_factory=list)
    found: list[FileReport] = field(default_factory=list)
    counts: dict[FindingKind, int] = field(default_factory=dict)
    image_sets: list[ImageSetVersion] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether every file was imported without loss."""
        return not self.refused and not any(kind.is_loss for kind in self.counts)

    def add(self, path: Path, findings: Findings) -> None:
        """Add the findings of a file."""
        self.found += [FileReport(path, finding) for finding in findings]
        for kind, count in findings.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count


def import_files(
    paths: Iterable[Path | Scanned],
    storage: Storage,
    index: Index | None,
    *,
    on_progress: Callable[[Path], object] = lambda path: None,
    dialect: str = "2025",
    ybr_as_rgb: bool = True,
    max_inline_bytes: int | None = None,
    frame_bytes: int = FRAME_BYTES,
    encode_later: bool = False,
) -> ImportReport:
    """Import files and folders, or what was scanned of them; `on_progress` is called once for each finished file.

    `dialect` is one of `DIALECTS`; `ybr_as_rgb`, `frame_bytes` and `encode_later` are those of
    `datastore.pixels.frames.Options`. Binary values above `max_inline_bytes` are left out of the metadata. Without
    `index` its rows are the caller's to write. Not safe for two threads at a time; waits for another process that
    imports.
    """
    report = ImportReport()
    lossless = LOSSLESS[storage.datastore.lossless_storage_format]
    chosen = DIALECTS[dialect]
    options = Options(lossless, ybr_as_rgb, chosen.all_resolutions, frame_bytes, encode_later)
    with quiet(), storage.importing(), ExitStack() as stack:
        if index:
            index_pending(storage, index)
        encoder = FrameEncoder(options)
        stack.callback(encoder.close)
        writer = InstanceWriter(encoder, chosen, max_inline_bytes)
        pool = CallingThread() if encode_later else ThreadPoolExecutor(CORES, thread_name_prefix="import")
        importer = _Importer(storage, index, writer, report, on_progress, pool)
        stack.callback(importer.close)
        for study in _by_study(paths, report, on_progress):
            importer.import_study(study)
    return report


def index_pending(storage: Storage, index: Index) -> int:
    """Index the image sets that a killed import stored and did not index; returns their number."""
    pending = storage.unindexed()
    for image_set in pending:
        blob = storage.metadata(image_set.image_set_id, image_set.version)
        index.put(storage.datastore.datastore_id, json.loads(gzip.decompress(blob)))
        storage.mark_indexed(image_set.image_set_id, image_set.version)
    return len(pending)


def _by_study(
    paths: Iterable[Path | Scanned], report: ImportReport, on_progress: Callable[[Path], object]
) -> Iterator[dict[tuple[str, str], list[Path]]]:
    """The DICOM files of each study by series; studies, series and files in the order of the scan."""
    studies: dict[str, dict[tuple[str, str], list[Path]]] = {}
    for found in scan(paths):
        match found:
            case NotDicom():
                report.skipped_non_dicom += 1
                on_progress(found.path)
            case Refused():
                report.refused.append(found)
                on_progress(found.path)
            case _:
                uids = found.study_instance_uid, found.series_instance_uid
                studies.setdefault(found.study_instance_uid, {}).setdefault(uids, []).append(found.path)
    yield from studies.values()


class _Importer:
    """One import. It reads the files of a series in order, while their frames are encoded on other threads."""

    def __init__(
        self,
        storage: Storage,
        index: Index | None,
        writer: InstanceWriter,
        report: ImportReport,
        on_progress: Callable[[Path], object],
        pool: Executor,
    ) -> None:
        self._storage = storage
        self._index = index
        self._writer = writer
        self._report = report
        self._on_progress = on_progress
        self._pool = pool
        self._documents = DocumentReader(storage)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def import_study(self, files_by_series: Mapping[tuple[str, str], list[Path]]) -> None:
        """Import the files of one study, series by series; each is compared with those published before it."""
        primaries: list[Levels] | None = None
        for (study_uid, series_uid), files in files_by_series.items():
            if primaries is None:
                primaries = primary_levels(self._storage, self._documents, study_uid)
            with SeriesWriter(
                self._storage, self._documents, self._writer.dialect, study_uid, series_uid, primaries
            ) as series:
                self._import_series(series, files)

    def _import_series(self, series: SeriesWriter, files: list[Path]) -> None:
        waiting: deque[_Writing] = deque()
        try:
            for path in files:
                findings = Findings()
                try:
                    data_set, attributes = self._read(path, findings)
                except Unreadable as error:
                    self._report.refused.append(Refused(path, str(error)))
                    self._on_progress(path)
                    continue
                image_set = series.open_for(attributes.levels)
                job = self._pool.submit(self._writer.write, data_set, attributes, image_set.staging, findings)
                waiting.append(_Writing(path, image_set, findings, job))
                if len(waiting) > CORES:
                    self._finish(waiting.popleft())
            while waiting:
                self._finish(waiting.popleft())
        finally:
            for writing in waiting:
                writing.job.cancel()
            wait(writing.job for writing in waiting)  # they still write into the staging folders
        for version, metadata in series.publish(is_indexed=self._index is None):
            if self._index:
                self._index.put(self._storage.datastore.datastore_id, metadata)
                self._storage.mark_indexed(version.image_set_id, version.version)
            self._report.image_sets.append(version)

    def _read(self, path: Path, findings: Findings) -> tuple[Dataset, InstanceAttributes]:
        try:
            data_set = read(path, findings)
            attributes = self._writer.attributes(data_set, findings)
            check_complete(data_set)
        except Unreadable:
            raise
        except InvalidDicomError as error:
            raise Unreadable("was changed while it was being imported") from error
        except TruncatedPixelData as error:
            raise Unreadable("ends before its pixel data does") from error
        except Exception as error:  # noqa: BLE001 - hostile elements end in any kind of error
            raise Unreadable(f"its elements cannot be read ({type(error).__name__})") from error
        return data_set, attributes

    def _finish(self, writing: "_Writing") -> None:
        written = writing.job.result()
        self._report.imported += 1
        if writing.image_set.put(written):
            self._report.replaced += 1
            writing.findings.add(FindingKind.INSTANCE_REPLACED, "", "an instance with its UID was there before")
        self._report.add(writing.path, writing.findings)
        self._on_progress(writing.path)


@dataclass(frozen=True)
class _Writing:
    """A file whose frames are being written."""

    path: Path
    image_set: OpenImageSet
    findings: Findings
    job: Future[WrittenInstance]
