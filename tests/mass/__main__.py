"""`python -m tests.mass FOLDER...`: compare every answer about every DICOM file with the file, as pydicom reads it.

The files are imported into a new data store and served on a free port. Deviations are printed by kind, with the number
of files and the first of them; `--details` prints each. The exit status is 1 if there are any.
"""

import argparse
import sys
from pathlib import Path

from tests.mass.run import run

_SHOWN = 3


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mass", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", metavar="FOLDER", nargs="+", type=Path)
    parser.add_argument("--details", action="store_true", help="print each deviation, and what the import said")
    parser.add_argument("--workers", type=int, default=2, help="processes that compare (default 2)")
    arguments = parser.parse_args()
    report = run(arguments.paths, arguments.workers)
    if arguments.details:
        print("".join(report.imports))
    for kind, deviations in report.by_kind().items():
        print(f"{len(deviations):6}  {kind}")
        for deviation in deviations if arguments.details else deviations[:_SHOWN]:
            print(f"          {deviation.source.path.name}: {deviation.detail:.300}")
    files = len({deviation.source for deviation in report.deviations})
    print(f"{report.sources} files compared, {report.with_frames} of them with frames; {files} deviate")
    print(f"{len(report.refused)} files were refused by the import, which said so")
    print(f"{len(report.others)} files are no DICOM or have no UIDs")
    return int(bool(report.deviations))


if __name__ == "__main__":
    sys.exit(main())
