"""The parts of the viewer, by the names of their blueprints. Runs in the web processes.

The gate, the audit and the rate limit know the parts by these names. `app/viewer/` has the parts themselves.
"""

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
