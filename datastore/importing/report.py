"""The printed report of an import: a summary by kind, and the details by file."""

from collections import Counter
from collections.abc import Iterator

from datastore.findings import FindingKind
from datastore.importing.importer import ImportReport


def summary(report: ImportReport) -> Iterator[str]:
    """Lines with the number of files, the reasons of refusals, and the number of findings of each kind."""
    yield f"imported {report.imported}, not DICOM {report.skipped_non_dicom}, refused {len(report.refused)}"
    reasons = Counter(refused.reason for refused in report.refused)
    yield from (f"  refused, {reason}: {count}" for reason, count in reasons.most_common())
    yield from (f"  {kind.words}: {report.counts[kind]}" for kind in FindingKind if kind in report.counts)


def details(report: ImportReport) -> Iterator[str]:
    """A line for each refused file, and for each finding in the others."""
    yield from (f"refused {refused.path}: {refused.reason}" for refused in report.refused)
    yield from (f"{found.path}: {found.finding}" for found in report.found)
