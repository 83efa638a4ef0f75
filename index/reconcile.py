"""Brings the index into agreement with AHI: list, compare, and read what differs. Runs in `python main.py index`.

with Reconciliation(...) as run:
    run.list_all()                            all image sets of all data stores, sorted on disk
    run.compare()                         numbers and examples, for each data store
    run.apply(...)                            the differences, read and written
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import TracebackType

from ahi.client.calls import AhiClient
from ahi.client.listing_calls import ListedImageSet
from dicomweb.errors import ProxyError
from index.ahi.listing import Listing, ListingStopped
from index.ahi.spool import SortedImageSets
from index.compare import Comparison, Difference, Kind, confirmed, differences, recorded_in_order
from index.fill import Filler
from index.follow.changed import Outcome, Parse
from index.follow.progress import FollowerProgress
from index.progress import Progress
from index.writing.writer import IndexWriter


@dataclass(frozen=True)
class Applied:
    """What became of the differences; `locked` is the number of image sets that AHI goes on writing."""

    outcomes: Counter[Outcome]
    locked: int

    @property
    def left(self) -> int:
        """The image sets that are still not in the index as AHI has them."""
        return self.outcomes[Outcome.FAILED] + self.outcomes[Outcome.ASIDE] + self.locked


@dataclass
class Reconciliation:
    """One run over these data stores. `stop` ends it at any time; what is written stays."""

    client: AhiClient
    writer: IndexWriter
    parse: Parse
    datastore_ids: Sequence[str]
    stop: threading.Event = field(default_factory=threading.Event)
    new_progress: Callable[..., Progress] = Progress
    _listed: dict[str, SortedImageSets] = field(default_factory=dict, init=False)
    _began_at: dict[str, datetime] = field(default_factory=dict, init=False)  # by AHI's clock

    def __enter__(self) -> "Reconciliation":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for spool in self._listed.values():
            spool.close()

    def list_all(self) -> dict[str, ProxyError]:
        """List all image sets. Returns the data stores that cannot be listed: they are left out from here on.

        Errors are those of Listing, if none can be listed.
        """
        failed: dict[str, ProxyError] = {}
        with self.new_progress("listing") as progress:
            for datastore_id in self.datastore_ids:
                try:
                    self._list(datastore_id, progress)
                except ProxyError as error:  # noqa: PERF203 - calls over the network
                    failed[datastore_id] = error
                    self._leave_out(datastore_id)
        if failed and not self._listed:
            raise next(iter(failed.values()))
        self.datastore_ids = list(self._listed)
        return failed

    def _list(self, datastore_id: str, progress: Progress) -> None:
        if (told := self.client.ping(datastore_id)) is not None:
            self._began_at[datastore_id] = datetime.fromtimestamp(told, timezone.utc)
        spool = self._listed[datastore_id] = SortedImageSets()
        Listing(self.client.listing, datastore_id, _taking(spool, progress), stop=self.stop).run()

    def _leave_out(self, datastore_id: str) -> None:
        """Forget half a list: image sets that are not in it would be taken for deleted."""
        self._began_at.pop(datastore_id, None)
        if spool := self._listed.pop(datastore_id, None):
            spool.close()

    def is_first(self) -> bool:
        """Whether the index has nothing of these data stores."""
        return not any(self.writer.recorded_after(datastore_id, most=1) for datastore_id in self.datastore_ids)

    def differences(self, counted: Mapping[str, Comparison] | None = None) -> Iterator[Difference]:
        """All differences as they are now; those of AHI are as it was listed. `counted` gets the numbers in AHI."""
        for datastore_id, spool in self._listed.items():
            listed = spool if counted is None else _counting(spool, counted[datastore_id])
            yield from differences(datastore_id, listed, recorded_in_order(self.writer, datastore_id, self.stop))

    def unless_stopped(self, counted: Mapping[str, Comparison] | None = None) -> Iterator[Difference]:
        """As `differences`; ListingStopped instead of the next one if `stop` is set."""
        for difference in self.differences(counted):
            if self.stop.is_set():
                raise ListingStopped
            yield difference

    def compare(self) -> list[Comparison]:
        """The numbers of each data store. AHI is asked for each image set that it did not list.

        ListingStopped if `stop` is set meanwhile.
        """
        found = {datastore_id: Comparison(datastore_id) for datastore_id in self.datastore_ids}
        for difference in confirmed(self.client, self.unless_stopped(found)):
            found[difference.datastore_id].add(difference)
        return list(found.values())

    def apply(self, kinds: Iterable[Kind], total: int, *, with_aside: bool = False) -> Applied:
        """Read or remove what differs in these ways. `with_aside` also tries what was put aside.

        Once all was tried, a follower need only look at what was updated since the listing began. Errors are those of
        Filler.
        """
        chosen = frozenset(kinds)
        with self.new_progress("filling", total) as progress:
            filler = Filler(self.client, self.writer, self.parse, self.stop, on_done=progress.add)
            filler.run(
                difference
                for difference in self.differences()
                if difference.kind in chosen and (with_aside or not difference.is_aside)
            )
        self._note_filled()
        return Applied(filler.tally.outcomes, filler.locked)

    def _note_filled(self) -> None:
        if self.stop.is_set():
            return
        following = FollowerProgress(self.writer.session)
        for datastore_id, began_at in self._began_at.items():
            following.note_filled(datastore_id, began_at)


def _counting(listed: Iterable[ListedImageSet], comparison: Comparison) -> Iterator[ListedImageSet]:
    for found in listed:
        comparison.in_ahi += 1
        yield found


def _taking(spool: SortedImageSets, progress: Progress) -> Callable[[Sequence[ListedImageSet]], None]:
    def take(image_sets: Sequence[ListedImageSet]) -> None:
        spool.add(image_sets)
        progress.add(len(image_sets))

    return take
