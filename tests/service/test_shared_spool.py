"""Two services on one file system: what one has accepted when it is killed for good, the other one stores."""

import os
import signal
from pathlib import Path

from tests.service.process import Service
from tests.service.storing import Storing, storing
from tests.store.dicom_files import file
from tests.waiting import wait_for

SERIES = "1.2.88.1"


def of(number: int) -> bytes:
    return file(f"{SERIES}.{number}", study="1.2.88", series=SERIES)


def kill(service: Service) -> None:
    """Kill all processes of a service, as the end of its host would."""
    os.killpg(service.process.pid, signal.SIGKILL)
    service.process.wait(30)


def test_what_a_killed_service_has_accepted_another_one_stores(tmp_path: Path) -> None:
    settings = {"STORE_ANSWER": "spooled", "SPOOL_SHARED": "true"}
    with storing(tmp_path, **settings) as one:
        other = Storing(tmp_path / "other", one.datastore, one.environment)
        other.folder.mkdir()
        other.start()
        try:
            one.datastore.faults("StoreDICOM:403")
            assert [other.post(of(number)).status_code for number in (1, 2)] == [202, 202]
            assert len(list(one.spool.layout.root.glob("1/queue/*"))) == 2
            listed = other.service.command("spool")
            assert listed.returncode == 0 and listed.stdout.count("waiting") == 2
            kill(other.service)
            one.service.logs("spool of an ended service taken over entries=2")
            one.datastore.faults()
            wait_for(lambda: not list(one.spool.layout.root.glob("*/queue/*")), 120)
            assert one.found() == [f"{SERIES}.1", f"{SERIES}.2"]
            assert [found.version for found in one.datastore.storage.image_sets()] == [1]
        finally:
            if other.service.process.poll() is None:
                other.service.stop()
