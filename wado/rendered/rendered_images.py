"""Pictures as the web process has them: those that are kept are read, the others a fetcher draws."""

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
from wado.rendered.draw import Picture, render

_AHEAD = 4  # pictures that are being drawn while an earlier one is sent


@dataclass(frozen=True)
class FirstRendered:
    """A picture, which of the candidates it is, from 0, and why those before it cannot be drawn."""

    number: int
    body: bytes
    failed: Sequence[ProxyError]


@dataclass(frozen=True)
class RenderedImages:
    """Encoded pictures."""

    fetchers: FetcherPool
    cache: Cache
    lookahead: FrameLookahead

    def one(self, picture: Picture, instance: LocatedInstance) -> bytes:
        """A picture of an instance, encoded as it says; who scrolls has the frames around it fetched from AHI, too."""
        kept = self._kept(picture)
        if kept is not None:
            return kept
        missed = not self.cache.has(picture.frames[0].cache_name(FrameEncoding.STORED))
        drawing = self.fetchers.submit(picture.route, render, picture)
        number = picture.frame_numbers[0]
        asked = FrameAccess(instance.key, instance.image_set, instance.prepared, number, FrameEncoding.STORED)
        self.lookahead.note_picture(asked, missed=missed)
        return drawing.result()

    def first_of(self, candidates: Iterable[tuple[Picture, LocatedInstance]]) -> FirstRendered:
        """The first of the candidates that can be drawn. If none can, why the first cannot is raised."""
        failed: list[ProxyError] = []
        broken = 0
        for number, (picture, instance) in enumerate(candidates):
            try:
                return FirstRendered(number, self.one(picture, instance), failed)
            except BadRequest:
                raise  # of the request, whatever is drawn
            except (ProxyError, RuntimeError) as error:
                failed.append(reported_error(error))
            broken += isinstance(failed[-1], UpstreamBroken)
            if broken >= MAX_BROKEN_IN_A_ROW or not affects_one_object(self.fetchers, failed[-1], instance.key):
                raise failed[-1]
        raise failed[0]

    def each(self, pictures: Iterable[Picture]) -> Iterator[bytes | ProxyError]:
        """Pictures in their order, or why one cannot be drawn; some later ones are being drawn while one is used.

        What is no fault of a picture is raised.
        """
        waiting: deque[tuple[Picture, bytes | JobFuture[bytes]]] = deque()
        try:
            for picture in pictures:
                waiting.append((picture, self._begun(picture)))
                if len(waiting) > _AHEAD:
                    yield self._done(*waiting.popleft())
            while waiting:
                yield self._done(*waiting.popleft())
        finally:  # the client has gone
            for _, begun in waiting:
                if isinstance(begun, JobFuture):
                    begun.abandon()

    def _begun(self, picture: Picture) -> bytes | JobFuture[bytes]:
        kept = self._kept(picture)
        return self.fetchers.submit(picture.route, render, picture) if kept is None else kept

    def _kept(self, picture: Picture) -> bytes | None:
        kept = self.cache.read(picture.cache_name)
        self.cache.count_use(hit=kept is not None)
        return kept

    def _done(self, picture: Picture, begun: bytes | JobFuture[bytes]) -> bytes | ProxyError:
        try:
            return begun.result() if isinstance(begun, JobFuture) else begun
        except BadRequest:
            raise
        except (ProxyError, RuntimeError) as error:
            reason = reported_error(error)
        if not affects_one_object(self.fetchers, reason, picture.frames[0].image_set):
            raise reason
        return reason
