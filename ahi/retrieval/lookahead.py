"""The frames that a viewer will probably request next: those around the last one, in display order.

Runs in the web processes. Prefetching begins when a frame is requested that the cache does not have. A window is laid
around that frame, and moved when the viewer comes near its edge. Without a window, or away from its edge, a request
costs one look into a table. One rendered image alone opens no window, as it may be the thumbnail of its series. Two
near each other show that somebody is scrolling.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from cachetools import FIFOCache

from ahi.cache.cache import Cache
from ahi.image_sets.frame_reference import has_encoding
from ahi.image_sets.image_set import ImageSetKey
from ahi.image_sets.prepared_reader import PreparedImageSet, PreparedInstance
from ahi.retrieval.frames import reference_to
from ahi.workers.frame_jobs import fetch_frame
from ahi.workers.pool import FetcherPool
from ahi.workers.scheduler import PREFETCH_SECONDS
from dicomweb.transfer_syntax import FrameEncoding, transfer_syntax

_MAX_WINDOWS = 256
_NEAR = 8  # frames between two images of one viewer: its connections, and web processes, take turns at a series
_Scope = tuple[ImageSetKey, FrameEncoding]


@dataclass(frozen=True)
class PrefetchBudget:
    """The bounds of what is prefetched around a frame. `frames` is 0 for no prefetching."""

    frames: int
    max_bytes: int

    def frame_count(self, frame_bytes: int) -> int:
        """Return the number of frames of this size to prefetch."""
        return min(self.frames, self.max_bytes // max(1, frame_bytes))


@dataclass(frozen=True)
class FrameAccess:
    """A frame that a client requested. `frame_number` starts at 1 in its instance."""

    key: ImageSetKey
    image_set: PreparedImageSet
    instance: PreparedInstance
    frame_number: int
    encoding: FrameEncoding

    @property
    def scope(self) -> _Scope:
        """The image set and encoding that share one window."""
        return self.key, self.encoding

    @property
    def position(self) -> int:
        """The position of the frame in display order, from 0."""
        return self.image_set.first_frame[self.instance.sop_instance_uid] + self.frame_number - 1


@dataclass(frozen=True)
class _Window:
    """The positions that were sent to the FrameFetchers, and when."""

    positions: range
    sent_at: float

    def serves(self, position: int, moved: range, *, missed: bool) -> bool:
        """Whether it still reaches half as far as the `moved` window. A missed frame may have been dropped."""
        if missed and time.monotonic() - self.sent_at > PREFETCH_SECONDS / 2:
            return False
        before, behind = position - moved.start, moved.stop - position
        return self.positions.start <= position - before // 2 and self.positions.stop >= position + (behind + 1) // 2


class FrameLookahead:
    """Has the FrameFetchers prefetch what comes next. Safe to share between threads."""

    def __init__(self, fetchers: FetcherPool, cache: Cache, budget: PrefetchBudget) -> None:
        self._fetchers = fetchers
        self._cache = cache
        self._budget = budget
        self._lock = threading.Lock()
        self._windows: FIFOCache[_Scope, _Window] = FIFOCache(_MAX_WINDOWS)
        self._rendered: FIFOCache[_Scope, int] = FIFOCache(_MAX_WINDOWS)  # the position of the last rendered frame

    def note_rendered(self, access: FrameAccess, *, missed: bool) -> None:
        """Note that a client requested a rendered frame. `missed`: the cache did not have the frame."""
        position = access.position
        with self._lock:
            last = self._rendered.get(access.scope)
            self._rendered[access.scope] = position
        if last is not None and 0 < abs(position - last) <= _NEAR:
            self.note(access, missed=missed)

    def note(self, access: FrameAccess, *, missed: bool) -> None:
        """Note that a client requested a frame. `missed`: the cache did not have it."""
        with self._lock:
            window = self._windows.get(access.scope)
        if window is None and not missed:
            return
        order, frames = access.image_set.frame_order, self._frame_count(access.instance)
        position = access.position
        moved = around(position, frames, len(order))
        if not frames or (window is not None and window.serves(position, moved, missed=missed)):
            return
        with self._lock:
            self._windows[access.scope] = _Window(moved, time.monotonic())
        self._prefetch(access, [order[index] for index in nearest(position, moved)])

    def _frame_count(self, instance: PreparedInstance) -> int:
        """Return the number of frames to prefetch, of the size of those of the instance; 0 for a video."""
        if instance.pixels is None or transfer_syntax(instance.transfer_syntax_uid).video:
            return 0
        return self._budget.frame_count(instance.pixels.frame_bytes)

    def _prefetch(self, access: FrameAccess, frames: Sequence[tuple[PreparedInstance, int]]) -> None:
        encoding = access.encoding
        references = (
            reference_to(access.key, instance, number)
            for instance, number in frames
            if has_encoding(instance.transfer_syntax_uid, instance.pixels, encoding)
        )
        missing = [reference for reference in references if not self._cache.has(reference.cache_name(encoding))]
        scope = f"{access.key.image_set_id}.{encoding.value}"
        self._fetchers.prefetch(
            scope, fetch_frame, [(reference.frame.frame_id, (reference, encoding)) for reference in missing]
        )


def around(position: int, frames: int, count: int) -> range:
    """Return the window around a position in 0 to `count`: a quarter of its frames before, the rest behind it."""
    start = max(0, position - frames // 4)
    return range(start, min(count, position + frames - frames // 4 + 1))


def nearest(position: int, window: range) -> Iterator[int]:
    """Yield the window without the position itself, nearest first: three steps forward for one back."""
    forward, back = iter(range(position + 1, window.stop)), iter(range(position - 1, window.start - 1, -1))
    while step := [*islice(forward, 3), *islice(back, 1)]:
        yield from step
