"""Pictures as the web process has them: those that are kept are read, the others a fetcher draws."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ahi.cache import Cache
from ahi.fetchers import Fetchers, Pending
from wado.rendered.draw import Picture, render

_AHEAD = 4  # pictures that are being drawn while an earlier one is sent


@dataclass(frozen=True)
class Drawn:
    """Encoded pictures."""

    fetchers: Fetchers
    cache: Cache

    def one(self, picture: Picture) -> bytes:
        """A picture, encoded as it says."""
        return _done(self._begun(picture))

    def each(self, pictures: Iterable[Picture]) -> Iterator[bytes]:
        """Pictures in their order; some later ones are already being drawn while one is used."""
        waiting: deque[bytes | Pending[bytes]] = deque()
        try:
            for picture in pictures:
                waiting.append(self._begun(picture))
                if len(waiting) > _AHEAD:
                    yield _done(waiting.popleft())
            while waiting:
                yield _done(waiting.popleft())
        finally:  # the client has gone
            for begun in waiting:
                if isinstance(begun, Pending):
                    begun.abandon()

    def _begun(self, picture: Picture) -> bytes | Pending[bytes]:
        kept = self.cache.read(picture.cache_name)
        self.cache.count_use(hit=kept is not None)
        return self.fetchers.submit(picture.route, render, picture) if kept is None else kept


def _done(begun: bytes | Pending[bytes]) -> bytes:
    return begun.result() if isinstance(begun, Pending) else begun
