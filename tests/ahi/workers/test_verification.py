"""VERIFY_FRAMES=decode: a frame with a wrong byte among its coded samples is dropped, and fetched again next time."""

import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import imagecodecs
import numpy as np
import pytest

from ahi.cache.cache import Cache
from ahi.client.calls import AhiClient
from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.frame_reference import FrameReference
from ahi.image_sets.image_set import Frame, ImageSetKey
from ahi.image_sets.version_cache import VersionCache
from ahi.workers.context import WorkerContext
from ahi.workers.frame_jobs import fetch_frame, reduced_frame
from ahi.workers.pool import FetcherSockets
from ahi.workers.scheduler import JobCall, SchedulerLimits
from ahi.workers.verification import Verification
from ahi.workers.worker import WorkerServer
from dicomweb.errors import UpstreamFailed
from dicomweb.transfer_syntax import JPEG_2000_LOSSLESS, FrameEncoding
from runtime.heartbeat import Heartbeat

SIDE = 64
PIXELS = np.random.default_rng(1).integers(0, 4096, (SIDE, SIDE), "<u2")
RIGHT = bytes(imagecodecs.jpeg2k_encode(PIXELS, level=0, codecformat="J2K", reversible=True))
WRONG = RIGHT[: len(RIGHT) // 2] + bytes([RIGHT[len(RIGHT) // 2] ^ 0xFF]) + RIGHT[len(RIGHT) // 2 + 1 :]
REFERENCE = FrameReference(
    ImageSetKey("0" * 32, "1" * 32),
    Frame("f" * 32, zlib.crc32(PIXELS.tobytes())),
    JPEG_2000_LOSSLESS,
    PixelFormat(SIDE, SIDE, 1, 16, 0, "MONOCHROME2"),
)
STORED = REFERENCE.cache_name(FrameEncoding.STORED)


class Ahi:
    """Gives these frames, one after another; the last for ever."""

    def __init__(self, *frames: bytes) -> None:
        self.frames = list(frames)

    def image_frame(self, _key: ImageSetKey, _frame_id: str) -> bytes:
        return self.frames.pop(0) if len(self.frames) > 1 else self.frames[0]


Made = Callable[..., tuple[WorkerContext, list[JobCall]]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def make(*frames: bytes, by_decoding: bool = True) -> tuple[WorkerContext, list[JobCall]]:
        client = cast(AhiClient, Ahi(*frames))
        verification = Verification(by_decoding=by_decoding)
        context = WorkerContext(client, Cache(tmp_path, 2**24), VersionCache(60), verification=verification)
        later: list[JobCall] = []
        context.background.bind(lambda request: not later.append(request))
        return context, later

    return make


def _do(context: WorkerContext, later: list[JobCall]) -> None:
    for request in later:
        request.job(context, *request.arguments)
    later.clear()


def test_a_wrong_byte_among_the_samples_is_found_in_the_background_and_fetched_again(made: Made) -> None:
    context, later = made(WRONG, RIGHT)
    assert fetch_frame(context, REFERENCE, FrameEncoding.STORED) is None
    assert context.cache.read(STORED) == WRONG
    _do(context, later)
    assert context.cache.read(STORED) is None
    fetch_frame(context, REFERENCE, FrameEncoding.STORED)
    _do(context, later)
    assert context.cache.read(STORED) == RIGHT


def test_a_sound_frame_is_decoded_once(made: Made) -> None:
    context, later = made(RIGHT)
    fetch_frame(context, REFERENCE, FrameEncoding.NATIVE)
    assert not context.verification.needs(REFERENCE.frame.frame_id)
    _do(context, later)
    assert context.cache.read(STORED) == RIGHT


def test_nothing_is_decoded_unless_that_is_set(made: Made) -> None:
    context, later = made(WRONG, by_decoding=False)
    fetch_frame(context, REFERENCE, FrameEncoding.STORED)
    assert not later


def test_nothing_of_a_wrong_frame_is_drawn(made: Made) -> None:
    context, _ = made(WRONG)
    htj2k = FrameReference(REFERENCE.image_set, REFERENCE.frame, "1.2.840.10008.1.2.4.202", REFERENCE.pixels)
    with pytest.raises(UpstreamFailed):
        reduced_frame(context, htj2k, 0.25)


def test_a_fetcher_does_its_own_jobs_and_takes_no_more_than_so_many(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ahi.workers.worker._MAX_BACKGROUND_JOBS", 2)
    context, _ = made(RIGHT)
    sockets, done = FetcherSockets(1), threading.Semaphore(0)
    server = WorkerServer(sockets.listening[0], context, SchedulerLimits(threads=2), Heartbeat())

    def job(_context: WorkerContext, _number: int) -> Any:
        done.release()

    assert [context.background.submit(job, number) for number in range(3)] == [True, True, False]
    threading.Thread(target=server.work, daemon=True).start()
    assert all(done.acquire(timeout=60) for _ in range(2))
    sockets.remove()
