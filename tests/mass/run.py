"""Import folders into a new data store, serve them, and compare every answer with its source."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.mass.compare import Comparison, Deviation, Subject, counts
from tests.mass.sources import Source, find, rounds
from tests.service.process import ROOT, Service


@dataclass
class Report:
    """What came of a mass test.

    `others` are files that are no DICOM or have no UIDs; `refused` are those that the import refused, and said so.
    """

    sources: int = 0
    with_frames: int = 0
    others: list[Path] = field(default_factory=list)
    refused: list[Source] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    deviations: list[Deviation] = field(default_factory=list)

    def by_kind(self) -> dict[str, list[Deviation]]:
        """The deviations by their kind, the most frequent first."""
        kinds: dict[str, list[Deviation]] = {}
        for deviation in self.deviations:
            kinds.setdefault(deviation.kind, []).append(deviation)
        return dict(sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])))


def run(paths: Iterable[Path], workers: int = 2) -> Report:
    """Compare all DICOM files at and below the paths; files that share a SOP Instance UID take turns."""
    sources, others = find(paths)
    report = Report(len(sources), others=others)
    for members in rounds(sources):
        with tempfile.TemporaryDirectory(prefix="mass-") as folder:
            _round(Path(folder), members, report, workers)
    return report


def _round(folder: Path, sources: Sequence[Source], report: Report, workers: int) -> None:
    store = folder / "store"
    command = [sys.executable, "main.py", "import", "--details", *(str(source.path) for source in sources)]
    environment = {**os.environ, "DATASTORE_ROOT": str(store)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    report.imports.append(done.stdout + done.stderr)
    service = Service(folder / "service", {"DATASTORE_ROOT": str(store)})
    try:
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            for with_frames, deviations in pool.imap_unordered(_compare, ((service.root, one) for one in sources)):
                report.with_frames += with_frames
                report.deviations += deviations
        missing = {item.source for item in report.deviations if item.kind.startswith("metadata: status 4")}
        report.deviations += counts(service.root, [source for source in sources if source not in missing])
        told = [source for source in missing if str(source.path) in report.imports[-1]]
        report.refused += told
        report.deviations = [item for item in report.deviations if item.source not in told]
        if "Traceback" in service.log:
            report.deviations.append(Deviation("a traceback in the log", sources[0], service.log[-2000:]))
    finally:
        service.stop()


def _compare(job: tuple[str, Source]) -> tuple[bool, list[Deviation]]:
    root, source = job
    try:
        subject = Subject.of(source)
    except Exception as error:  # noqa: BLE001 - pydicom cannot read it at all: nothing to compare with
        return False, [Deviation("pydicom cannot read the source", source, repr(error))]
    return subject.frames is not None, list(_deviations(root, subject))


def _deviations(root: str, subject: Subject) -> Iterator[Deviation]:
    try:
        yield from Comparison(root, subject).deviations()
    except Exception as error:  # noqa: BLE001 - one unreadable answer must not end the run
        yield Deviation(f"an answer that cannot be read ({type(error).__name__})", subject.source, str(error))
