"""Which frames a viewer will ask for next: those around what it asked for, in display order.

Prefetching begins when a frame is asked for that the cache does not have. A window is then laid around it, and moved
when a viewer comes near its edge. While all that is asked for is in the cache and away from an edge, or no window was
opened, a request costs one look at a table here and nothing else.

A picture alone opens none: it may be the thumbnail of its series. Two that lie near each other are somebody scrolling.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from ahi.cache.cache import Cache
from ahi.image_sets.frame_reference import has_encoding
from ahi.image_sets.image_set import ImageSetKey
from ahi.image_sets.prepared_reader import PreparedImageSet, PreparedInstance
from ahi.retrieval.frames import reference_to
from ahi.workers.frame_jobs import fetch_frame
from ahi.workers.pool import FetcherPool
from ahi.workers.scheduler import PREFETCH_SECONDS
from dicomweb.transfer_syntax import FrameEncoding, transfer_syntax

_MOST_WINDOWS = 256
_NEAR = 8  # frames from one picture to the next; connections, and web processes, take turns at a series
_Scope = tuple[ImageSetKey, FrameEncoding]
V = TypeVar("V")


@dataclass(frozen=True)
class PrefetchBudget:
    """How much is prefetched around a frame; no frames is no prefetching."""

    frames: int
    max_bytes: int

    def of(self, frame_bytes: int) -> int:
        """How many frames of that size."""
        return min(self.frames, self.max_bytes // max(1, frame_bytes))


@dataclass(frozen=True)
class FrameAccess:
    """A frame that a client asked for: where it is, from 1 in its instance, and in which form."""

    key: ImageSetKey
    image_set: PreparedImageSet
    instance: PreparedInstance
    frame_number: int
    form: FrameEncoding


@dataclass(frozen=True)
class _Window:
    """What was given to the fetchers, and when."""

    positions: range
    sent_at: float

    def serves(self, position: int, moved: range, *, missed: bool) -> bool:
        """Whether it still reaches half as far as the `moved` one would; what was missed may have been dropped."""
        if missed and time.monotonic() - self.sent_at > PREFETCH_SECONDS / 2:
            return False
        before, behind = position - moved.start, moved.stop - position
        return self.positions.start <= position - before // 2 and self.positions.stop >= position + (behind + 1) // 2


class FrameLookahead:
    """Has fetchers prefetch what comes next. Safe to share between threads."""

    def __init__(self, fetchers: FetcherPool, cache: Cache, budget: PrefetchBudget) -> None:
        self._fetchers = fetchers
        self._cache = cache
        self._budget = budget
        self._lock = threading.Lock()
        self._windows: OrderedDict[_Scope, _Window] = OrderedDict()
        self._pictures: OrderedDict[_Scope, int] = OrderedDict()  # the position of the last one

    def note_picture(self, asked: FrameAccess, *, missed: bool) -> None:
        """A client asked for a picture of a frame, and the cache did not have the frame if `missed`."""
        scope, position = (asked.key, asked.form), _position(asked)
        with self._lock:
            last = self._pictures.pop(scope, None)
            _put(self._pictures, scope, position)
        if last is not None and 0 < abs(position - last) <= _NEAR:
            self.note(asked, missed=missed)

    def note(self, asked: FrameAccess, *, missed: bool) -> None:
        """A client asked for a frame, and the cache did not have it if `missed`."""
        scope = (asked.key, asked.form)
        window = self._windows.get(scope)
        if window is None and not missed:
            return
        order, frames = asked.image_set.frame_order, self._frames(asked.instance)
        position = _position(asked)
        moved = around(position, frames, len(order))
        if not frames or (window is not None and window.serves(position, moved, missed=missed)):
            return
        with self._lock:
            self._windows.pop(scope, None)
            _put(self._windows, scope, _Window(moved, time.monotonic()))
        self._prefetch(asked, [order[index] for index in nearest(position, moved)])

    def _frames(self, instance: PreparedInstance) -> int:
        """How many frames like those of the instance are prefetched; a video is had when it is asked for."""
        if instance.pixels is None or transfer_syntax(instance.transfer_syntax_uid).video:
            return 0
        return self._budget.of(instance.pixels.frame_bytes)

    def _prefetch(self, asked: FrameAccess, wanted: Sequence[tuple[PreparedInstance, int]]) -> None:
        references = [
            reference_to(asked.key, instance, number)
            for instance, number in wanted
            if has_encoding(instance.transfer_syntax_uid, instance.pixels, asked.form)
        ]
        lacking = [one for one in references if not self._cache.has(one.cache_name(asked.form))]
        scope = f"{asked.key.image_set_id}.{asked.form.value}"
        self._fetchers.prefetch(scope, fetch_frame, [(one.frame.frame_id, (one, asked.form)) for one in lacking])


def _position(asked: FrameAccess) -> int:
    """Where the frame is in the display order, from 0."""
    return asked.image_set.first_frame[asked.instance.sop_instance_uid] + asked.frame_number - 1


def _put(table: OrderedDict[_Scope, V], scope: _Scope, value: V) -> None:
    table[scope] = value
    if len(table) > _MOST_WINDOWS:
        table.popitem(last=False)


def around(position: int, frames: int, count: int) -> range:
    """The window around a position: a fourth of its frames lie before, the rest behind it, as far as there are any."""
    start = max(0, position - frames // 4)
    return range(start, min(count, position + frames - frames // 4 + 1))


def nearest(position: int, window: range) -> Iterator[int]:
    """The window without the position itself, nearest first; three steps forward for one back."""
    forward, back = iter(range(position + 1, window.stop)), iter(range(position - 1, window.start - 1, -1))
    while step := [*islice(forward, 3), *islice(back, 1)]:
        yield from step
