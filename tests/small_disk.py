"""A disk that is full soon: a small tmpfs where this user may mount one, else a bound on the size of files."""

import subprocess
from pathlib import Path

_MOUNT = ["unshare", "--mount", "--map-root-user", "sh", "-c", 'mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@"']


def small_disk(folder: Path) -> list[str]:
    """A command under which another runs, for which `folder` has room for 2 MB, or files room for 200 kB each."""
    mounting = [*_MOUNT, str(folder)]
    if subprocess.run([*mounting, "true"], capture_output=True, check=False).returncode == 0:
        return mounting
    return ["prlimit", "--fsize=200000", "--"]
