"""Encoded pictures from the cache, or drawn by a FrameFetcher. Runs in the web processes."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ahi.cache.cache import Cache
from ahi.retrieval.lookahead import FrameAccess, FrameLookahead
from ahi.retrieval.object_errors import MAX_BROKEN_IN_A_ROW, affects_one_object, reported_error
from ahi.workers.pool import FetcherPool, JobFuture
from dicomweb.errors import BadRequest, ProxyError, UpstreamBroken
from dicomweb.transfer_syntax import FrameEncoding
from wado.locate import LocatedInstance
from wado.rendered.frame_jobs import Picture, render

_AHEAD = 4  # pictures that are drawn while an earlier one is sent


@dataclass(frozen=True)
class FirstRendered:
    """The first candidate that could be drawn, its index from 0, and why those before it could not."""

    index: int
    body: bytes
    failed: Sequence[ProxyError]


@dataclass(frozen=True)
class RenderedImages:
    """Reads pictures from the cache and submits jobs for the others."""

    fetchers: FetcherPool
    cache: Cache
    lookahead: FrameLookahead

    def one(self, picture: Picture, instance: LocatedInstance) -> bytes:
        """One encoded picture; the look-ahead may prefetch the frames around it from AHI."""
        cached = self._cached(picture)
        if cached is not None:
            return cached
        missed = not self.cache.has(picture.frames[0].cache_name(FrameEncoding.STORED))
        job = self.fetchers.submit(picture.route, render, picture)
        number = picture.frame_numbers[0]
        access = FrameAccess(instance.key, instance.image_set, instance.prepared, number, FrameEncoding.STORED)
        self.lookahead.note_rendered(access, missed=missed)
        return job.result()

    def first_of(self, candidates: Iterable[tuple[Picture, LocatedInstance]]) -> FirstRendered:
        """The first candidate that can be drawn. If there is none, the error of the first candidate is raised."""
        failed: list[ProxyError] = []
        broken = 0
        for index, (picture, instance) in enumerate(candidates):
            try:
                return FirstRendered(index, self.one(picture, instance), failed)
            except BadRequest:
                raise  # the request is at fault, not the picture
            except (ProxyError, RuntimeError) as error:
                failed.append(reported_error(error))
            broken += isinstance(failed[-1], UpstreamBroken)
            if broken >= MAX_BROKEN_IN_A_ROW or not affects_one_object(self.fetchers, failed[-1], instance.key):
                raise failed[-1]
        raise failed[0]

    def each(self, pictures: Iterable[Picture]) -> Iterator[bytes | ProxyError]:
        """Pictures in their order, or the error of one that cannot be drawn; the next few are drawn meanwhile.

        An error that is not of the picture alone is raised.
        """
        waiting: deque[tuple[Picture, bytes | JobFuture[bytes]]] = deque()
        try:
            for picture in pictures:
                waiting.append((picture, self._begin(picture)))
                if len(waiting) > _AHEAD:
                    yield self._finish(*waiting.popleft())
            while waiting:
                yield self._finish(*waiting.popleft())
        finally:  # nobody waits for the rest any more
            for _, body in waiting:
                if isinstance(body, JobFuture):
                    body.abandon()

    def _begin(self, picture: Picture) -> bytes | JobFuture[bytes]:
        cached = self._cached(picture)
        return self.fetchers.submit(picture.route, render, picture) if cached is None else cached

    def _cached(self, picture: Picture) -> bytes | None:
        cached = self.cache.read(picture.cache_name)
        self.cache.count_use(hit=cached is not None)
        return cached

    def _finish(self, picture: Picture, body: bytes | JobFuture[bytes]) -> bytes | ProxyError:
        try:
            return body.result() if isinstance(body, JobFuture) else body
        except BadRequest:
            raise
        except (ProxyError, RuntimeError) as error:
            reason = reported_error(error)
        if not affects_one_object(self.fetchers, reason, picture.frames[0].image_set):
            raise reason
        return reason
