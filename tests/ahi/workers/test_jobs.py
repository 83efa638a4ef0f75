"""A frame is fetched once for all clients and encodings, however the requests overlap."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any, cast

from ahi.cache.cache import Cache
from ahi.client.calls import AhiClient
from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.frame_reference import FrameReference
from ahi.image_sets.image_set import Frame, ImageSetKey
from ahi.image_sets.version_cache import VersionCache
from ahi.workers.context import WorkerContext
from ahi.workers.frame_jobs import fetch_frame
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, FrameEncoding

SIDE, FETCH_SECONDS = 8, 0.002


class Client:
    """AHI, slowly: which frames it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def image_frame(self, _image_set: ImageSetKey, frame_id: str) -> bytes:
        self.asked.append(frame_id)
        time.sleep(FETCH_SECONDS)
        return bytes(SIDE * SIDE)


def test_requests_that_overlap_in_any_way_fetch_a_frame_once(tmp_path: Path) -> None:
    client, random = Client(), Random(1)  # noqa: S311
    context = WorkerContext(cast(AhiClient, client), Cache(tmp_path, 2**28), VersionCache(60))
    key, pixels = ImageSetKey("0" * 32, "1" * 32), PixelFormat(SIDE, SIDE, 1, 8, 0, "MONOCHROME2")
    references = [FrameReference(key, Frame(f"{n:032}", None), EXPLICIT_VR_LITTLE_ENDIAN, pixels) for n in range(150)]

    def ask(job: tuple[FrameReference, FrameEncoding, float]) -> Any:
        reference, form, seconds = job
        time.sleep(seconds)
        return fetch_frame(context, reference, form)

    with ThreadPoolExecutor(12) as threads:
        for reference in references:
            forms = (FrameEncoding.STORED, FrameEncoding.NATIVE) * 6
            list(threads.map(ask, [(reference, form, random.uniform(0, 2 * FETCH_SECONDS)) for form in forms]))
    assert sorted(client.asked) == [reference.frame.frame_id for reference in references]
