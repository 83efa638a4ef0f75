"""Long answers: they begin before all is fetched, stop fetching for a client that goes, and never end well if cut."""

import gzip
import http.client
import json
import shutil
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from ahi.cache.entry import FORMAT
from datastore.embedded import Embedded
from datastore.storage.storage import Storage
from tests.datastore.made import with_pixels, written
from tests.service.ahi import Ahi
from tests.service.process import Service

STUDY, SERIES, CINE = "1.2.3.4", "1.2.3.4.1", "1.2.3.4.2"
COUNT = 60
SIDE = 128
_SLOW_SECONDS = 0.3
_SLOW = f"GetImageFrame:latency={_SLOW_SECONDS}s"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data store with a series of single frames and one of a single instance."""
    folder, root = tmp_path_factory.mktemp("streams"), tmp_path_factory.mktemp("streams-store")
    frames = np.random.default_rng(7).integers(0, 4096, (COUNT, SIDE, SIDE), dtype=np.uint16)
    uids = {"StudyInstanceUID": STUDY, "PatientName": "Secret^Name"}
    files = [written(with_pixels(frames, SeriesInstanceUID=CINE, SOPInstanceUID=f"{CINE}.1", **uids), folder / "cine")]
    for number, frame in enumerate(frames, 1):
        made = with_pixels(
            frame[np.newaxis],
            SeriesInstanceUID=SERIES,
            SOPInstanceUID=f"{SERIES}.{number}",
            InstanceNumber=number,
            **uids,
        )
        files.append(written(made, folder / str(number)))
    Embedded(root).fill(files)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streams-service")


@pytest.fixture(scope="module")
def warm(root: Path, ahi: Ahi, folder: Path) -> Iterator[Service]:
    """A service that fetches two frames at a time, and none that nobody asked for."""
    environment = {
        **ahi.environment(),
        "AHI_DEADLINE_SECONDS": "3",
        "FRAME_FETCHERS": "1",
        "FETCH_THREADS": "2",
        "WEB_PROCESSES": "1",
        "PREFETCH_FRAMES": "0",
    }
    service = Service(folder, environment)
    yield service
    assert service.stop() == 0


@pytest.fixture
def service(warm: Service, ahi: Ahi, folder: Path) -> Iterator[Service]:
    """The same without any frame in its cache."""
    shutil.rmtree(folder / "cache" / FORMAT / "frames", ignore_errors=True)
    yield warm
    ahi.faults("")


@contextmanager
def _asked(service: Service, path: str, accept: str) -> Iterator[http.client.HTTPResponse]:
    """An answer of which nothing was read but the head."""
    root = urlsplit(service.root)
    connection = http.client.HTTPConnection(root.netloc, timeout=60)
    connection.request("GET", root.path + path, headers={"Accept": accept})
    answer = connection.getresponse()
    yield answer
    answer.close()
    connection.close()


NATIVE, STORED = 'multipart/related; type="{}"', 'multipart/related; type="{}"; transfer-syntax=*'
_ALL = ",".join(map(str, range(1, COUNT + 1)))

LONG = [
    pytest.param(f"/studies/{STUDY}/series/{SERIES}", NATIVE.format("application/dicom"), id="native objects"),
    pytest.param(f"/studies/{STUDY}/series/{SERIES}", STORED.format("application/dicom"), id="stored objects"),
    pytest.param(f"/studies/{STUDY}/series/{SERIES}", "application/zip", id="ZIP of native objects"),
    pytest.param(f"/studies/{STUDY}/series/{SERIES}", "application/zip; transfer-syntax=*", id="ZIP of stored objects"),
    pytest.param(f"/studies/{STUDY}/series/{SERIES}/pixeldata", "*/*", id="native pixels"),
    pytest.param(
        f"/studies/{STUDY}/series/{SERIES}/pixeldata", STORED.format("application/octet-stream"), id="stored pixels"
    ),
    pytest.param(f"/studies/{STUDY}/series/{SERIES}/bulkdata", "*/*", id="bulk data"),
    pytest.param(f"/studies/{STUDY}/series/{CINE}/instances/{CINE}.1/frames/{_ALL}", "*/*", id="native frames"),
    pytest.param(
        f"/studies/{STUDY}/series/{CINE}/instances/{CINE}.1/frames/{_ALL}",
        STORED.format("application/octet-stream"),
        id="stored frames",
    ),
]


@pytest.mark.parametrize(("path", "accept"), LONG)
def test_a_long_answer_begins_with_the_first_frame_and_ends_with_the_client(
    service: Service, ahi: Ahi, path: str, accept: str
) -> None:
    """60 frames, two at a time of 0.3 s each, take nine seconds."""
    ahi.faults(_SLOW)
    ahi.calls()
    with _asked(service, path, accept) as answer:
        assert answer.status == 200
        answer.read(1000)
        begun = ahi.calls().get("GetImageFrame", 0)
    later: list[int] = []

    def at_rest() -> bool:
        time.sleep(4 * _SLOW_SECONDS)
        later.append(ahi.calls().get("GetImageFrame", 0))
        return not later[-1]

    service.wait(at_rest)
    assert begun < COUNT / 4
    assert begun + sum(later) < COUNT / 2
    assert "Traceback" not in service.log


@pytest.mark.parametrize(("path", "accept"), LONG)
@pytest.mark.parametrize("fault", ["429", "cut"])
def test_an_outage_after_the_first_byte_cuts_the_connection(
    service: Service, ahi: Ahi, root: Path, path: str, accept: str, fault: str
) -> None:
    """No well-formed end, so that no client takes a part for the whole."""
    frame_id = _last_frame(root, CINE if CINE in path else SERIES)
    ahi.faults(f"GetImageFrame/{frame_id}:{fault}")
    with _asked(service, path, accept) as answer:
        assert answer.status == 200
        with pytest.raises(http.client.IncompleteRead) as cut:
            answer.read()
    assert len(cut.value.partial) > 100_000
    assert "Secret" not in service.log
    assert "Traceback" not in service.log


@pytest.mark.parametrize(("path", "accept"), LONG)
@pytest.mark.parametrize("fault", ["404", "corrupt"])
def test_one_object_that_fails_after_the_first_byte_is_left_out_and_told_at_the_end(
    service: Service, ahi: Ahi, root: Path, path: str, accept: str, fault: str
) -> None:
    if fault == "corrupt" and "transfer-syntax" in accept:
        return  # what is passed on as it is stored is not decoded
    frame_id = _last_frame(root, CINE if CINE in path else SERIES)
    ahi.faults(f"GetImageFrame/{frame_id}:{fault}")
    with _asked(service, path, accept) as answer:
        assert answer.status == 200
        body = answer.read()
    if "zip" in accept:
        with zipfile.ZipFile(BytesIO(body)) as archive:
            assert archive.testzip() is None
            assert len(archive.namelist()) == COUNT
            told = archive.read("left-out.txt")
    else:
        boundary = answer.headers["Content-Type"].partition("boundary=")[2].encode()
        parts, end, told = body.partition(b"--" + boundary + b"--\r\n")
        assert end and parts.count(b"--" + boundary) == COUNT - 1
    assert told.strip().startswith(b"left out: /studies/") and told.count(b"left out: ") == 1
    assert "Secret" not in service.log
    assert "Traceback" not in service.log


def _last_frame(root: Path, series: str) -> str:
    storage = Storage.open(root / "store")
    (version,) = storage.image_sets_of(STUDY, series)
    document = json.loads(gzip.decompress(storage.metadata(version.image_set_id)))
    instances = document["Study"]["Series"][series]["Instances"]
    uid = f"{CINE}.1" if series == CINE else f"{SERIES}.{COUNT}"
    last: str = instances[uid]["ImageFrames"][-1]["ID"]
    return last
