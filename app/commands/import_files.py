"""`python main.py import PATH...`: import DICOM files into the embedded data store."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from app.commands.embedded import open_embedded
from app.settings import Settings, SettingsError

NOT_WHOLE = 3
"""The exit status of an import that refused files, or lost a part of them."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the paths, and `--details`."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--details", action="store_true", help="name each file that lost or changed something")


def run(settings: Settings, options: Namespace) -> int:
    """Import the files; NOT_WHOLE if some were refused or lost a part, SettingsError if a path does not exist."""
    if settings.names_index:
        raise SettingsError("import fills the embedded data store, but a database is set")
    missing = [str(path) for path in options.paths if not path.exists()]
    if missing:
        raise SettingsError(f"no such file or folder: {', '.join(missing)}")
    return 0 if open_embedded(settings).fill(options.paths, with_details=options.details) else NOT_WHOLE
