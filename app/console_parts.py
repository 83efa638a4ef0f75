"""The parts of the web console, by the names of their blueprints. Runs in the web processes.

The gate, the audit and the rate limit know the parts by these names. `app/console/` has the parts themselves.
"""

PATH = "/console"
"""The path of the console, below which nothing else is."""

STATIC, LOGIN = "console-static", "console-login"
WORKLIST, STUDY, LOOK = "console-worklist", "console-study", "console-look"
UPLOAD, JOBS, STATUS, ACCESS = "console-upload", "console-jobs", "console-status", "console-access"

OPEN = frozenset({STATIC, LOGIN})
"""Parts that need no login: they are the way to one, and have nothing of the archive."""

OPERATION = frozenset({JOBS, STATUS, ACCESS})
"""Parts for those who run the service."""

WITHOUT_PATIENT_DATA = frozenset({STATIC, LOGIN, UPLOAD, STATUS})
"""Parts whose pages name no patient, study or user."""


def is_console(path: str) -> bool:
    """Whether a path of a URL is in the console."""
    return path == PATH or path.startswith(f"{PATH}/")
