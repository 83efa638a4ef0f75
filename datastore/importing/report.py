"""What is said of an import: a summary by kind, and the files behind it on request."""

from collections import Counter
from collections.abc import Iterator

from datastore.findings import FindingKind
from datastore.importing.importer import ImportReport


def summary(report: ImportReport) -> Iterator[str]:
    """How many files there were, why files were refused, and how much was lost or changed of each kind."""
    yield f"imported {report.imported}, not DICOM {report.skipped_non_dicom}, refused {len(report.refused)}"
    reasons = Counter(refused.reason for refused in report.refused)
    yield from (f"  refused, {reason}: {count}" for reason, count in reasons.most_common())
    yield from (f"  {kind.words}: {report.counts[kind]}" for kind in FindingKind if kind in report.counts)


def details(report: ImportReport) -> Iterator[str]:
    """Each file that was refused, and each finding of the others; paths are those of the import."""
    yield from (f"refused {refused.path}: {refused.reason}" for refused in report.refused)
    yield from (f"{found.path}: {found.finding}" for found in report.found)
