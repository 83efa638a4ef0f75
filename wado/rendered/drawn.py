"""Pictures as the web process has them: those that are kept are read, the others a fetcher draws."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ahi.ahead import Ahead, Asked
from ahi.cache import Cache
from ahi.fetchers import Fetchers, Pending
from ahi.jobs import Form
from wado.locate import LocatedInstance
from wado.rendered.draw import Picture, render

_AHEAD = 4  # pictures that are being drawn while an earlier one is sent


@dataclass(frozen=True)
class Drawn:
    """Encoded pictures."""

    fetchers: Fetchers
    cache: Cache
    ahead: Ahead

    def one(self, picture: Picture, instance: LocatedInstance) -> bytes:
        """A picture of an instance, encoded as it says; who scrolls has the frames around it fetched from AHI, too."""
        kept = self._kept(picture)
        if kept is not None:
            return kept
        missed = not self.cache.has(picture.frames[0].cache_name(Form.STORED))
        drawing = self.fetchers.submit(picture.route, render, picture)
        number = picture.frame_numbers[0]
        asked = Asked(instance.key, instance.image_set, instance.prepared, number, Form.STORED)
        self.ahead.note_picture(asked, missed=missed)
        return drawing.result()

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
        kept = self._kept(picture)
        return self.fetchers.submit(picture.route, render, picture) if kept is None else kept

    def _kept(self, picture: Picture) -> bytes | None:
        kept = self.cache.read(picture.cache_name)
        self.cache.count_use(hit=kept is not None)
        return kept


def _done(begun: bytes | Pending[bytes]) -> bytes:
    return begun.result() if isinstance(begun, Pending) else begun
