"""Makes the folder of an earlier version and its answers, for `test_upgrade.py`; run by hand.

    git worktree add --detach /tmp/before 41907d3
    .venv/bin/python -m tests.upgrade.record /tmp/before

The program of that folder imports four sample files of pydicom, serves them, and is read once. So its cache holds what
viewers asked for.
"""

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom.data import get_testdata_file

from tests.service.process import Service
from tests.upgrade.reading import read_archive

HERE = Path(__file__).parent
FOLDER, ANSWERS = HERE / "folder.tar.xz", HERE / "answers.json"
FILES = ("MR_small.dcm", "SC_rgb_small_odd.dcm", "rtdose.dcm", "test-SR.dcm")


def record(program: Path, workspace: Path) -> None:
    """Write FOLDER and ANSWERS with the `main.py` of `program`."""
    data = workspace / "data"
    environment = {"DATASTORE_ROOT": str(data), "CACHE_ROOT": str(data / "cache"), "FRAME_FETCHERS": "1"}
    files = [str(get_testdata_file(name)) for name in FILES]
    command = [sys.executable, str(program / "main.py")]
    subprocess.run([*command, "import", *files], env=environment, cwd=workspace, check=True)
    service = Service(workspace, {**environment, "WEB_PROCESSES": "1"}, program=command)
    try:
        answers = read_archive(service.root)
    finally:
        service.stop()
    ANSWERS.write_text(json.dumps(answers, indent=1) + "\n")
    with tarfile.open(FOLDER, "w:xz", preset=9) as archive:
        archive.add(data, "data", filter=_without_owner)


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        record(Path(sys.argv[1]).resolve(), Path(folder))
