"""The memory of listing and comparing many image sets, of which the index has all.

python -m bench.index_memory [--listed 1000000]

The lists of AHI are made up in this process, so that no quota and no network takes time. The ledger of the index is a
file of SQLite. Memory is the most that the process had until then, after a tenth of the image sets and after all.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event

from ahi.client.listing_calls import ListedImageSet, ListingCalls, Page, SeriesFilter, TimeRange
from ahi.client.searches import PAGE_SIZE
from bench.index_fill import insert_rows, ledger_row
from bench.opening import Figure
from bench.table import markdown
from index.ahi.listing import Listing
from index.ahi.spool import SortedImageSets
from index.compare import Comparison, differences, recorded_in_order
from index.writing.writer import IndexWriter

_STORE = "d" * 32
_BEGAN = datetime(2024, 1, 1, tzinfo=timezone.utc)
_MOST_GROWTH_MB = 64.0


class MadeUpLists(ListingCalls):
    """SearchImageSets of a data store with one image set a second; their IDs come in no order."""

    def __init__(self, image_sets: int) -> None:
        """It calls nobody."""
        self._image_sets = image_sets

    def image_sets(
        self, _datastore_id: str, wanted: TimeRange | SeriesFilter, token: str | None = None, size: int = PAGE_SIZE
    ) -> Page:
        """A page; the token is the number of the first image set of the next one."""
        if not isinstance(wanted, TimeRange):
            raise TypeError("only ranges of times are made up")
        first = max(0, _number(wanted.first)) if wanted.first else 0
        last = min(self._image_sets - 1, _number(wanted.last)) if wanted.last else self._image_sets - 1
        start = last if wanted.newest_first else int(token or first)
        end = min(start + size, last + 1)
        return Page(tuple(map(image_set, range(start, end))), str(end) if end <= last else None)


def image_set(number: int) -> ListedImageSet:
    """An image set of the data store."""
    at = _BEGAN + timedelta(seconds=number)
    return ListedImageSet(f"{number * 2654435761 % 2**32:08x}{number:024x}", 1, True, at, at)


def _number(at: datetime) -> int:
    return (at - _BEGAN) // timedelta(seconds=1)


def record_all(writer: IndexWriter, image_sets: int) -> None:
    """Have the ledger say that the index has all image sets."""
    numbers = iter(range(image_sets))
    while some := list(islice(numbers, 1000)):
        writer.session.run(partial(insert_rows, [ledger_row(_STORE, image_set(number)) for number in some]))


def measure(image_sets: int) -> list[Figure]:
    """The figures."""
    memory: dict[str, list[float]] = {"listing": [], "comparing": []}
    with tempfile.TemporaryDirectory(prefix="bench-index-") as folder:
        writer = IndexWriter(f"sqlite:///{Path(folder) / 'index.sqlite'}")
        writer.create_or_migrate()
        record_all(writer, image_sets)
        spool = SortedImageSets()
        noting = partial(_Noting, image_sets)
        began = time.monotonic()
        listing = noting(memory["listing"])

        def take(some: Sequence[ListedImageSet]) -> None:
            spool.add(some)
            listing.add(len(some))

        Listing(MadeUpLists(image_sets), _STORE, take).run()
        listed_seconds, began = time.monotonic() - began, time.monotonic()
        found, comparing = Comparison(_STORE), noting(memory["comparing"])
        recorded = recorded_in_order(writer, _STORE, Event())
        for difference in differences(_STORE, comparing.each(spool), recorded):
            found.add(difference)
        compared_seconds = time.monotonic() - began
        spool.close()
        writer.close()
    if found.total:
        raise RuntimeError(f"{found.total} differences, where there are none")
    lines = [Figure(f"listing of {image_sets} image sets, without AHI", listed_seconds, "s"),
             Figure("comparing them", compared_seconds, "s")]  # fmt: skip
    for step, (tenth, rest) in memory.items():
        lines += [Figure(f"memory after {step} a tenth", tenth, "MB"),
                  Figure(f"memory after {step} all", rest, "MB", at_most=tenth + _MOST_GROWTH_MB)]  # fmt: skip
    return lines


class _Noting:
    """Notes the memory after a tenth, and after all."""

    def __init__(self, image_sets: int, noted: list[float]) -> None:
        self._left = [max(1, image_sets // 10), image_sets]
        self._done = 0
        self._noted = noted

    def add(self, number: int) -> None:
        self._done += number
        while self._left and self._done >= self._left[0]:
            self._left.pop(0)
            self._noted.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    def each(self, image_sets: Iterator[ListedImageSet] | SortedImageSets) -> Iterator[ListedImageSet]:
        for one in image_sets:
            yield one
            self.add(1)


def main(arguments: Sequence[str] | None = None, tell: Callable[[str], None] = print) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listed", type=int, default=1_000_000)
    meaning = {True: "met", False: "missed", None: "-"}
    found = measure(parser.parse_args(arguments).listed)
    rows = [(one.line, one.value, one.unit, one.at_most or "-", meaning[one.met]) for one in found]
    tell(markdown(("line", "found", "unit", "aim", ""), rows))


if __name__ == "__main__":
    main()
