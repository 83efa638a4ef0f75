"""Thousands of files are references until their turn comes."""

import tracemalloc
from pathlib import Path

from ahi.cache.cache import Cache
from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.image_set import Frame, ImageSetKey
from ahi.image_sets.prepared_reader import PreparedImageSet, PreparedInstance
from ahi.retrieval.frames import Frames
from ahi.workers.pool import FetcherPool
from dicomweb.multipart import multipart_length
from dicomweb.negotiation import Accept
from dicomweb.transfer_syntax import HTJ2K_LOSSLESS_RPCL
from wado.files import agree_on_files, plan_parts
from wado.locate import LocatedInstance

COUNT = 5000
HEAD_BYTES = 20_000
PIXELS = PixelFormat(512, 512, 1, 16, 0, "MONOCHROME2")


def _series() -> list[LocatedInstance]:
    blocks = memoryview(bytes(HEAD_BYTES))
    nothing, head = (0, 0), (0, HEAD_BYTES)
    frames = (Frame("f" * 32, None),)
    prepared = [
        PreparedInstance(f"1.2.{n}", "1.2", HTJ2K_LOSSLESS_RPCL, (), PIXELS, frames, nothing, head, head, nothing, ())
        for n in range(COUNT)
    ]
    image_set = PreparedImageSet("1.2", "1.3", tuple(prepared), blocks)
    return [LocatedInstance("1.2", "1.3", ImageSetKey("d", "i"), "1", image_set, one) for one in prepared]


def test_the_length_of_a_series_is_known_without_its_heads_in_memory(tmp_path: Path) -> None:
    frames = Frames(FetcherPool([]), Cache(tmp_path, 2**20))
    located = _series()
    tracemalloc.start()
    try:
        files, _ = agree_on_files(located, Accept.from_values((), None), frames, single=False)
        plan = plan_parts(files, "http://host/aetitle")
        assert plan
        length_bytes = multipart_length(map(plan, files), "boundary")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert length_bytes > COUNT * (HEAD_BYTES + PIXELS.frame_bytes)
    assert peak_bytes < COUNT * HEAD_BYTES / 10


def test_stored_files_of_a_series_are_sized_one_by_one(tmp_path: Path) -> None:
    """To know their sizes is to have them: no Content-Length, and the first leaves before the last is there."""
    frames = Frames(FetcherPool([]), Cache(tmp_path, 2**20))
    accept = Accept.from_values(
        (), f'multipart/related; type="application/dicom"; transfer-syntax={HTJ2K_LOSSLESS_RPCL}'
    )
    files, _ = agree_on_files(_series(), accept, frames, single=False)
    assert plan_parts(files, "http://host/aetitle") is None
