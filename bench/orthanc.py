"""A private Orthanc with its DICOMweb plugin, for comparison (apt: orthanc, orthanc-dicomweb)."""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import free_port

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_START_SECONDS = 30


class Orthanc:
    """A running Orthanc; `root` is its DICOMweb service."""

    def __init__(self, url: str, pid: int) -> None:
        self._url = url
        self.pid = pid
        self.root = f"{url}/dicom-web"

    def store(self, files: Iterable[bytes]) -> None:
        """Store DICOM files."""
        for file in files:
            request = urllib.request.Request(f"{self._url}/instances", data=file)  # noqa: S310 - our own loopback
            urllib.request.urlopen(request).close()  # noqa: S310

    def answers(self) -> bool:
        """Whether it answers already."""
        try:
            urllib.request.urlopen(f"{self._url}/system").close()  # noqa: S310
        except OSError:
            return False
        return True


@contextmanager
def running_orthanc() -> Iterator[Orthanc]:
    """An empty Orthanc, tuned for DICOMweb as its documentation says: keep-alive, 50 threads; its folder is deleted."""
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if not program or not _PLUGIN.exists():
        raise FileNotFoundError("Orthanc is missing: apt-get install orthanc orthanc-dicomweb")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-orthanc-") as name:
        folder = Path(name)
        settings = {
            "HttpPort": port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomServerEnabled": False,
            "KeepAlive": True,
            "HttpThreadsCount": 50,
            "StorageDirectory": str(folder / "store"),
            "IndexDirectory": str(folder / "store"),
            "Plugins": [str(_PLUGIN)],
            "DicomWeb": {"Enable": True},
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            orthanc = Orthanc(f"http://127.0.0.1:{port}", process.pid)
            give_up = time.monotonic() + _START_SECONDS
            while not orthanc.answers():
                if process.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError(f"Orthanc did not start: {(folder / 'log').read_text()[-2000:]}")
                time.sleep(0.1)
            yield orthanc
        finally:
            process.kill()  # otherwise it finishes requests that nobody waits for
            process.wait(timeout=_START_SECONDS)
