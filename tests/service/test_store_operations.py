"""What an operator meets of a service that stores: full disks, spools that do not last, and what `/health` says."""

import os
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from store.outcome import Sender
from store.spool.spool import OLD_SECONDS
from tests.mounts import OVERLAY, TASK, mounted
from tests.servers import free_port
from tests.service.process import PROGRAM
from tests.service.storing import Storing, stored_uids, storing
from tests.store.dicom_files import file
from tests.store.forward.live import received
from tests.waiting import wait_for

MEMORY = "/dev/shm"  # noqa: S108 - the folder of every Linux that is in memory
SERIES = "1.2.77.1"


def of(number: int, size: int = 16) -> bytes:
    return file(f"{SERIES}.{number}", study="1.2.77", series=SERIES, size=size)


def warnings(running: Storing) -> str:
    answer = requests.get(f"{running.service.root}/health", timeout=60)
    return answer.headers.get("Warning", "") if answer.status_code == 200 else "does not answer"


def spool_metrics(running: Storing) -> dict[str, float]:
    """What Prometheus is told of the spool."""
    answer = requests.get(f"http://127.0.0.1:{running.environment['METRICS_PORT']}/metrics", timeout=60)
    lines = re.findall(r"^dicomweb_proxy_spool_(\w+) ([0-9.e+]+)$", answer.text, re.MULTILINE)
    assert {name for name, _ in lines} == {"entries", "bytes", "age_seconds", "refused", "unknown", "unreadable"}
    return {name: float(value) for name, value in lines}


def test_health_tells_of_an_old_entry_and_of_what_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storing(tmp_path, METRICS_PORT=str(free_port())) as running:
        assert warnings(running) == ""
        running.datastore.faults("StoreDICOM:403")
        body, content = running.spool.incoming / "old", of(1)
        body.write_bytes(content)
        then = time.time() - OLD_SECONDS - 100
        with monkeypatch.context() as earlier:
            earlier.setattr(time, "time", lambda: then)
            sender = Sender("alice", "aetitle", running.environment["STORE_DATASTORE_ID"])
            running.spool.accept(body, [received(content, 0)], sender)
        told = "1 store requests wait for AWS HealthImaging, the oldest for "
        running.service.wait(lambda: told in warnings(running))
        measured = spool_metrics(running)
        assert measured["entries"] == 1 and measured["bytes"] == len(content)
        assert measured["age_seconds"] >= OLD_SECONDS + 100
        assert warnings(running).startswith("299 ")
        running.datastore.faults()
        running.service.wait(lambda: warnings(running) == "", 120)  # the next attempt comes within a minute
        assert running.found() == [f"{SERIES}.1"]
        (running.spool.layout.queue / "notes.txt").write_text("x")
        running.service.wait(lambda: "1 store requests need the operator" in warnings(running))
        assert spool_metrics(running) == {**dict.fromkeys(measured, 0), "unknown": 1}
        (running.spool.layout.queue / "notes.txt").unlink()
        running.service.wait(lambda: warnings(running) == "")
        running.spool.layout.queue.rename(tmp_path / "aside")
        running.service.wait(lambda: "the folder of the spool cannot be read" in warnings(running))
        assert spool_metrics(running)["unreadable"] == 1
        check_busy(running.post(of(2)))
        (tmp_path / "aside").rename(running.spool.layout.queue)
        running.service.wait(lambda: warnings(running) == "")
        assert running.post(of(2)).status_code == 200


@contextmanager
def in_memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def started(folder: Path, under: list[str], **settings: str) -> "subprocess.CompletedProcess[str]":
    """What came of a start that stores with `spooled`."""
    index = f"sqlite:///{folder / 'index.sqlite'}"
    environment = {
        "PATH": os.environ["PATH"],
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "DATABASE_URL": index,
        "INDEX_WRITE_URL": index,
        "AWS_DEFAULT_REGION": "us-east-1",
        "STORE": "true",
        "STORE_DATASTORE_ID": "0" * 32,
        "STORE_ANSWER": "spooled",
        **settings,
    }
    command = [*under, *PROGRAM]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_spooled_is_refused_on_a_disk_in_memory(tmp_path: Path) -> None:
    with in_memory() as spool:
        done = started(tmp_path, [], SPOOL_ROOT=str(spool))
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"SPOOL_ROOT {spool} is on tmpfs, which does not last: STORE_ANSWER=spooled needs")


def test_spooled_is_refused_in_an_ecs_task_without_a_volume(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    done = started(tmp_path, mounted(OVERLAY, spool), SPOOL_ROOT=str(spool), **TASK)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"SPOOL_ROOT {spool} is on overlay, which does not last: STORE_ANSWER=spooled needs")


def check_busy(answer: requests.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert "Traceback" not in answer.text and SERIES not in answer.text


def test_a_full_disk_is_503_until_there_is_room(tmp_path: Path) -> None:
    """With the default answer the spool may be anywhere: what it has was never acknowledged."""
    with in_memory() as spool, storing(tmp_path, SPOOL_ROOT=str(spool), SPOOL_MIN_FREE_BYTES="0") as running:
        assert running.post(of(1)).status_code == 200
        running.bound_files("web", 50_000)
        check_busy(running.post(of(2, 300), of(3)))
        assert [*spool.glob("incoming/*"), *spool.glob("queue/*")] == []
        assert "the spool cannot be written: File too large" in running.service.log
        assert running.post(of(4)).status_code == 200  # for which there is room
        running.bound_files("web", resource.RLIM_INFINITY)
        assert stored_uids(running.post(of(2, 300), of(3))) == [f"{SERIES}.2", f"{SERIES}.3"]
        assert running.found() == [f"{SERIES}.{number}" for number in (1, 2, 3, 4)]
        assert "Traceback" not in running.service.log


def test_what_was_accepted_outlives_a_full_disk(tmp_path: Path) -> None:
    with storing(tmp_path, STORE_ANSWER="spooled") as running:
        running.datastore.faults("StoreDICOM:503")
        assert running.post(of(1)).status_code == 202
        running.bound_files("web", 50_000)
        check_busy(running.post(of(2, 300)))
        assert len(running.spool.names()) == 1
        running.bound_files("web", resource.RLIM_INFINITY)
        assert running.post(of(2, 300)).status_code == 202
        running.datastore.faults()
        wait_for(lambda: running.spool.names() == [], 240)
        assert running.found() == [f"{SERIES}.1", f"{SERIES}.2"]
        assert (running.spool.refused(), running.spool.unknown()) == ([], [])


def test_an_index_whose_disk_is_full_is_503_and_a_retry_ends_well(tmp_path: Path) -> None:
    """The data store has the instance by then; the entry stays until the rows are written."""
    with storing(tmp_path, STORE_WAIT_SECONDS="10") as running:
        assert running.post(of(1)).status_code == 200
        running.bound_files("forwarder", 1)
        check_busy(running.post(of(2)))
        assert len(running.spool.names()) == 1 and running.found() == [f"{SERIES}.1"]
        running.bound_files("forwarder", resource.RLIM_INFINITY)
        assert running.post(of(2)).status_code == 200
        assert running.found() == [f"{SERIES}.1", f"{SERIES}.2"]
        wait_for(lambda: running.spool.names() == [], 240)
        assert len(running.datastore.storage.image_sets()) == 1
        assert "Traceback" not in running.service.log
