"""`python main.py import PATH...`: import DICOM files into the embedded data store."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from app.commands.embedded import open_embedded
from app.settings import Settings, SettingsError

NOT_WHOLE = 3
"""The exit status of an import that refused files, or lost a part of them."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the paths, and the options."""
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="DICOM file, or folder of DICOM files")
    parser.add_argument("--details", action="store_true", help="name each file that lost or changed something")
    parser.add_argument("--all-samples", action="store_true", help="import all sample files, also the broken ones")
    parser.add_argument("--refused", action="store_true", help="only list what the last import refused, and why")


def run(settings: Settings, options: Namespace) -> int:
    """Import the files; NOT_WHOLE if some were refused or lost a part, SettingsError if a path does not exist."""
    if settings.names_index:
        raise SettingsError("import fills the embedded data store, but a database is set")
    embedded = open_embedded(settings)
    if options.refused:
        lines = embedded.refused() or ["the last import refused nothing"]
        sys.stdout.writelines(f"{line}\n" for line in lines)
        return 0
    if not options.paths and not options.all_samples:
        raise SettingsError("import needs a file or folder, or --all-samples")
    missing = [str(path) for path in options.paths if not path.exists()]
    if missing:
        raise SettingsError(f"no such file or folder: {', '.join(missing)}")
    is_whole = embedded.fill(options.paths, with_details=options.details, all_samples=options.all_samples)
    return 0 if is_whole else NOT_WHOLE
