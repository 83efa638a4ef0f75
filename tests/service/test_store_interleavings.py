"""Any interleaving of stores, faults and kills: what was acknowledged can be searched and retrieved, once.

A service and a data store run; a script that a seed makes stores, disturbs and kills. STORE_SEEDS=1,2,3 runs these
seeds, and STORE_SECONDS bounds the time of each. A failure names its seed.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from random import Random

import pytest
import requests
from pydicom import dcmread

from store.outcome import FailureReason
from store.spool.spool import Entry
from tests.service.storing import Storing, stored_uids, storing
from tests.store.dicom_files import file

SEEDS = [int(seed) for seed in os.environ.get("STORE_SEEDS", "1").split(",")]
SECONDS = float(os.environ.get("STORE_SECONDS", "10"))
_LEAST_ROUNDS = 3
UNLIMITED = 2**62

FAULTS = [
    *(f"StoreDICOM:{effect}:x{calls}" for effect in ("409", "429", "503", "500") for calls in (1, 3)),
    *(f"StoreDICOM:{effect}:x1" for effect in ("half", "cut", "cut-body", "body=html", "latency=300ms")),
    *(f"{operation}:{effect}:x1" for operation in ("SearchImageSets", "GetImageSetMetadata", "GetImageSet")
      for effect in ("409", "503", "cut", "half")),
]  # fmt: skip


class Script:
    """Stores, faults and kills that a seed chooses, and what was acknowledged meanwhile."""

    def __init__(self, running: Storing, seed: int) -> None:
        self._running = running
        self._draw = Random(seed)  # noqa: S311 - to be repeated
        self._seed = seed
        self._study = f"1.2.44.{seed}"
        self.sent: dict[str, list[bytes]] = {}
        self.acknowledged: dict[str, bytes] = {}
        self.statuses: Counter[int] = Counter()
        self._lock = threading.Lock()

    def run(self, seconds: float) -> None:
        """Rounds of some senders and one disturbance, until the time is over."""
        ends_at = time.monotonic() + seconds
        number = 0
        while time.monotonic() < ends_at or number < _LEAST_ROUNDS:
            number += 1
            self._running.datastore.faults(*self._draw.sample(FAULTS, self._draw.choice((0, 0, 1, 2))))
            bodies = [self._body(number) for _ in range(self._draw.randrange(1, 6))]
            timeouts = [self._draw.choice((0.2, 6.0, 6.0, 6.0)) for _ in bodies]
            senders = [threading.Thread(target=self._send, args=pair) for pair in zip(bodies, timeouts, strict=True)]
            for sender in senders:
                sender.start()
            self._draw.choice(self._disturbances)()
            for sender in senders:
                sender.join(120)

    def _body(self, number: int) -> dict[str, bytes]:
        """Some instances: most are new, some were sent before with the same content, few with another one."""
        body = {}
        for _ in range(self._draw.randrange(1, 4)):
            series = self._draw.randrange(1, 4)
            uid = f"{self._study}.{series}.{self._draw.choice((number, number, self._draw.randrange(1, number + 1)))}"
            size = self._draw.choice((16, 16, 16, 16, 300))
            values = {"SeriesDescription": "other"} if self._draw.random() < 0.05 else {}
            body[uid] = file(f"{uid}.{size}", study=self._study, series=f"{self._study}.{series}", size=size, **values)
        return {
            str(dcmread(BytesIO(content), stop_before_pixels=True).SOPInstanceUID): content for content in body.values()
        }

    def _send(self, body: dict[str, bytes], timeout: float) -> None:
        with self._lock:
            for uid, content in body.items():
                self.sent.setdefault(uid, []).append(content)
        with suppress(requests.RequestException):  # the client knows nothing
            answer = self._running.post(*body.values(), timeout=timeout)
            with self._lock:
                self.statuses[answer.status_code] += 1
                if answer.status_code in (200, 202):
                    self.acknowledged |= {uid: body[uid] for uid in stored_uids(answer)}

    @property
    def _disturbances(self) -> list[Callable[[], None]]:
        return [
            self._nothing,
            self._nothing,
            self._full_disk,
            self._reload,
            self._kill_web,
            self._kill_forwarder,
            self._kill_data_store,
        ]

    def _nothing(self) -> None:
        pass

    def _pause(self) -> None:
        time.sleep(self._draw.uniform(0, 0.3))

    def _full_disk(self) -> None:
        process, size_bytes = self._draw.choice((("web", 2000), ("web", 50_000), ("forwarder", 1)))
        self._running.bound_files(process, size_bytes)
        self._pause()
        self._running.bound_files(process, UNLIMITED)

    def _reload(self) -> None:
        self._pause()
        self._running.service.process.send_signal(signal.SIGHUP)

    def _kill_web(self) -> None:
        self._kill("web", 2)

    def _kill_forwarder(self) -> None:
        self._kill("forwarder", 1)

    def _kill(self, name: str, count: int) -> None:
        pids = self._running.service.all_named(name, count)
        self._pause()
        for pid in pids[: self._draw.randrange(1, count + 1)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _kill_data_store(self) -> None:
        self._pause()
        self._running.datastore.kill()
        self._pause()
        self._running.datastore.start()

    def retry(self) -> None:
        """Send again what was not acknowledged, as a client does when all is well again."""
        self._running.datastore.faults()
        self._kill("forwarder", 1)  # the next one waits for nothing
        for uid in self.sent.keys() - self.acknowledged.keys():
            content = self.sent[uid][-1]
            answers: list[requests.Response] = []

            def is_told(content: bytes = content, answers: list[requests.Response] = answers) -> bool:
                answers[:] = [self._running.post(content)]
                return answers[0].status_code != 503

            self._running.service.wait(is_told)
            if answers[0].status_code == 409:  # another content was stored first
                assert len({*self.sent[uid]}) > 1, self._told
            else:
                self.acknowledged[uid] = content

    @property
    def _told(self) -> str:
        return f"STORE_SEEDS={self._seed} {dict(self.statuses)}"

    def _has(self, entry: Entry) -> bool:
        return all(one.study_instance_uid == self._study for one in entry.manifest.instances)

    def check(self) -> None:
        """All that was acknowledged is there, once, and nothing else is."""
        running, told = self._running, self._told
        running.service.wait(lambda: not running.spool.names(), 240)
        found = running.found(StudyInstanceUID=self._study)
        assert len(found) == len(set(found)), told
        assert self.acknowledged.keys() <= set(found) == self.sent.keys(), told
        entries = [entry for entry in running.spool.refused() if self._has(entry)]
        refused = [one for entry in entries for one in running.spool.outcomes(entry) if not one.is_stored]
        assert {one.failure for one in refused} <= {FailureReason.DUPLICATE_INSTANCE}, told
        kept = {one.sop_instance_uid for one in refused}  # accepted with other content than what was stored first
        for uid, content in self.acknowledged.items():
            part = running.retrieved(self._study, uid.rpartition(".")[0].rpartition(".")[0], uid).content
            part = part.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
            sent, received = dcmread(BytesIO(content)), dcmread(BytesIO(part))
            assert received.PixelData == sent.PixelData, (told, uid)
            assert received.get("SeriesDescription") == sent.get("SeriesDescription") or uid in kept, (told, uid)
        image_sets = running.datastore.storage.image_sets()
        primary = [one for one in image_sets if one.is_primary]
        series = [one.tags["DICOMSeriesInstanceUID"] for one in primary]
        assert len(series) == len(set(series)), told
        assert running.spool.unknown() == [], told  # what a killed process leaves in `incoming` goes at the next start
        assert "Traceback" not in running.service.log, told


@pytest.fixture(scope="module", params=["stored", "spooled"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storing]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    settings = {"STORE_ANSWER": request.param, "STORE_WAIT_SECONDS": "6", "SPOOL_MIN_FREE_BYTES": "0"}
    with storing(folder, **settings) as running:
        yield running


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_acknowledged_is_retrievable_once(running: Storing, seed: int) -> None:
    script = Script(running, seed)
    script.run(SECONDS)
    script.retry()
    assert script.acknowledged
    script.check()
