"""Pictures that are kept are read, and nobody is asked for them."""

from pathlib import Path

from ahi.cache.cache import Cache
from ahi.image_sets.frame_reference import FrameReference
from ahi.image_sets.image_set import Frame, ImageSetKey
from ahi.retrieval.lookahead import FrameLookahead, PrefetchBudget
from ahi.workers.pool import FetcherPool
from dicomweb.media_types import JPEG
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN
from runtime.shared_metrics import Metric
from wado.rendered.frame_jobs import Picture
from wado.rendered.rendered_images import RenderedImages


def _picture(number: int, head: bytes = b"") -> Picture:
    key = ImageSetKey("0" * 32, "1" * 32)
    reference = FrameReference(key, Frame(f"{number:032}", None), EXPLICIT_VR_LITTLE_ENDIAN, None)
    return Picture((reference,), (1,), head, JPEG)


def test_kept_pictures_come_in_their_order_without_any_fetcher(tmp_path: Path) -> None:
    cache, pictures = Cache(tmp_path, 10**6), [_picture(number) for number in range(9)]
    for number, picture in enumerate(pictures):
        cache.put(picture.cache_name, b"%d" % number)
    drawn = RenderedImages(FetcherPool([]), cache, FrameLookahead(FetcherPool([]), cache, PrefetchBudget(0, 0)))
    assert list(drawn.each(pictures)) == [b"%d" % number for number in range(9)]
    assert cache.process_metrics.counters.total(Metric.CACHE_HITS) == 9


def test_equal_pictures_are_one_and_other_ones_have_another_name() -> None:
    assert len({_picture(1), _picture(1)}) == 1
    assert len({_picture(1).cache_name, _picture(2).cache_name, _picture(1, b"head").cache_name}) == 3
