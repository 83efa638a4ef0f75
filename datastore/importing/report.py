"""The printed report of an import: a summary by kind, the details by file, and the refusals of the last import."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from datastore.findings import FindingKind
from datastore.importing.importer import ImportReport
from datastore.importing.scan import Refused


def summary(report: ImportReport) -> Iterator[str]:
    """Lines with the number of files, the reasons of refusals, and the number of findings of each kind."""
    yield f"imported {report.imported}, not DICOM {report.skipped_non_dicom}, refused {len(report.refused)}"
    reasons = Counter(refused.reason for refused in report.refused)
    yield from (f"  refused, {reason}: {count}" for reason, count in reasons.most_common())
    yield from (f"  {kind.words}: {report.counts[kind]}" for kind in FindingKind if kind in report.counts)


def details(report: ImportReport) -> Iterator[str]:
    """A line for each refused file, and for each finding in the others."""
    yield from map(_line, report.refused)
    yield from (f"{found.path}: {found.finding}" for found in report.found)


def write_refused(path: Path, report: ImportReport) -> None:
    """Keep what was refused in a file, for `read_refused`."""
    with path.open("w") as file:
        file.writelines(f"{json.dumps([os.fsdecode(one.path), one.reason])}\n" for one in report.refused)


def read_refused(path: Path) -> list[str]:
    """A line for each file that the last import refused; none if there was no import."""
    try:
        with path.open() as file:
            return [_line(Refused(Path(name), reason)) for name, reason in map(json.loads, file)]
    except FileNotFoundError:
        return []


def _line(refused: Refused) -> str:
    return f"refused {refused.path}: {refused.reason}"
