"""The parts of the viewer, by the names of their blueprints. Runs in the web processes.

The gate, the audit and the rate limit know the parts by these names. `app/viewer/` has the parts themselves.
"""

from pathlib import Path

PATH = "/viewer"
"""The path of the viewer. Its files name it, see `script/make_viewer.py`."""

FILES = "viewer-files"
"""The files, which everyone may have: they come from a public package."""

CONFIG = "viewer-config"
"""The configuration, which depends on the caller."""

OPENER = "viewer-opener"
"""The way from a root to the viewer."""

WITHOUT_PATIENT_DATA = frozenset({FILES, CONFIG, OPENER})
"""Parts whose answers name no patient. The viewer asks the roots for all that it shows."""

_INDEX = "index.html"
_BUILT_IN = Path(__file__).with_name("viewer") / "ohif"


def viewer_folder(viewer_root: Path | None) -> Path | None:
    """The folder of VIEWER_ROOT, else the one that a one-file build may have; None without either."""
    return viewer_root or (_BUILT_IN if _BUILT_IN.is_dir() else None)


def has_viewer(viewer_root: Path | None) -> bool:
    """Whether a viewer is there now."""
    folder = viewer_folder(viewer_root)
    return folder is not None and (folder / _INDEX).is_file()
