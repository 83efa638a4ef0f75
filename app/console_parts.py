"""The parts of the web console, by the names of their blueprints. Runs in the web processes.

The gate, the audit and the rate limit know the parts by these names. `app/console/` has the parts themselves.
"""

from app.viewer_parts import PATH as VIEWER_PATH

PATH = "/console"
"""The path of the console, below which nothing else is."""

STATIC, LOGIN = "console-static", "console-login"
WORKLIST, STUDY, SHARE, LOOK = "console-worklist", "console-study", "console-share", "console-look"
UPLOAD, UPLOAD_FORM = "console-upload", "console-upload-form"
JOBS, STATUS, ACCESS = "console-jobs", "console-status", "console-access"
ACCESS_CHANGE, AUDIT = "console-access-change", "console-audit"

COOKIE = "console"
"""The cookie that names a browser which has a page of the console."""

OPEN = frozenset({STATIC, LOGIN})
"""Parts that need no login: they are the way to one, and have nothing of the archive."""

OPERATION = frozenset({JOBS, STATUS, ACCESS, ACCESS_CHANGE, AUDIT})
"""Parts for those who run the service."""

WITHOUT_PATIENT_DATA = frozenset({STATIC, LOGIN, UPLOAD, STATUS})
"""Parts whose pages name no patient, study or user."""


READ_BY_VIEW = frozenset({UPLOAD_FORM})
"""Parts whose view reads the form itself, because it may be long, and checks its token before anything is done."""


def is_page(path: str) -> bool:
    """Whether a path of a URL is one of pages for people: the console, or the viewer."""
    return is_console(path) or path == VIEWER_PATH or path.startswith(f"{VIEWER_PATH}/")


def is_console(path: str) -> bool:
    """Whether a path of a URL is in the console."""
    return path == PATH or path.startswith(f"{PATH}/")
