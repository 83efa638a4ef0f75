"""The differences between AHI and the index: two streams sorted by image set, merged. Runs in `python main.py index`.

Memory stays flat however many image sets there are: the listing is sorted on disk, and the ledger of the index is read
a thousand rows at a time. No metadata is read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import chain, islice
from threading import Event

from ahi.client.calls import AhiClient
from ahi.client.listing_calls import ListedImageSet
from ahi.image_sets.image_set import ImageSetKey
from dicomweb.errors import NotFound
from index.follow.changed import has_version
from index.follow.holds import FAILURES
from index.patience import patiently
from index.writing.ledger import Recorded, Revision, utc
from index.writing.writer import IndexWriter

_ROWS = 1000
_CONFIRMED_AT_ONCE = 8
_MOST_EXAMPLES = 1000


class Kind(Enum):
    """The kinds of differences."""

    MISSING = "missing"  # AHI has it, the index does not
    BEHIND = "behind"  # the index has an older version
    GONE = "gone"  # the index has it, AHI does not
    RETURNED = "returned"  # the index has removed it, AHI has it all the same


@dataclass(frozen=True)
class Difference:
    """One image set that differs. `listed` is None for one that AHI does not have."""

    kind: Kind
    datastore_id: str
    image_set_id: str
    listed: ListedImageSet | None = None
    recorded: Recorded | None = None

    @property
    def is_aside(self) -> bool:
        """Whether it was put aside after too many failures, and AHI has no newer version than the one that failed."""
        if self.recorded is None or self.recorded.attempts < FAILURES:
            return False
        return self.listed is None or self.recorded.failed_before(revision_of(self.listed))


def recorded_in_order(writer: IndexWriter, datastore_id: str, stop: Event) -> Iterator[Recorded]:
    """The rows of the ledger of a data store, in the order of their IDs. Errors are those of `patiently`."""
    after = ""
    while rows := patiently(partial(writer.recorded_after, datastore_id, after, _ROWS), stop):
        yield from rows
        after = rows[-1].image_set_id


def differences(
    datastore_id: str, listed: Iterable[ListedImageSet], recorded: Iterable[Recorded]
) -> Iterator[Difference]:
    """The differences of one data store. Both streams are in the order of their IDs.

    Those that returned are not certain: AHI may have listed them before they were deleted.
    """
    ledger = iter(recorded)
    row = next(ledger, None)
    for found in listed:
        while row and row.image_set_id < found.image_set_id:
            yield from _unlisted(datastore_id, row)
            row = next(ledger, None)
        own = row if row and row.image_set_id == found.image_set_id else None
        if kind := _kind(found, own):
            yield Difference(kind, datastore_id, found.image_set_id, found, own)
        if own:
            row = next(ledger, None)
    for left in chain([row] if row else [], ledger):
        yield from _unlisted(datastore_id, left)


def _kind(listed: ListedImageSet, recorded: Recorded | None) -> Kind | None:
    if recorded and recorded.is_deleted:
        return Kind.RETURNED
    if recorded is None or recorded.revision is None:
        return Kind.MISSING
    return None if has_version(recorded, revision_of(listed)) else Kind.BEHIND


def revision_of(listed: ListedImageSet) -> Revision:
    """The revision that AHI lists."""
    return Revision(listed.version, utc(listed.updated_at), listed.is_primary)


def _unlisted(datastore_id: str, recorded: Recorded) -> Iterator[Difference]:
    if not recorded.is_deleted:
        yield Difference(Kind.GONE, datastore_id, recorded.image_set_id, None, recorded)


def confirmed(client: AhiClient, found: Iterable[Difference]) -> Iterator[Difference]:
    """The differences, without those of image sets that were created or deleted since they were listed.

    AHI is asked for each one that it did not list, and for each one that is back (GetImageSet). Errors are those of
    AhiClient.
    """

    def is_true(difference: Difference) -> bool:
        if difference.kind in (Kind.GONE, Kind.RETURNED):
            return is_gone(client, difference) is (difference.kind is Kind.GONE)
        return True

    rest = iter(found)
    with ThreadPoolExecutor(_CONFIRMED_AT_ONCE, thread_name_prefix="confirm") as pool:
        while some := list(islice(rest, _ROWS)):
            yield from (one for one, true in zip(some, pool.map(is_true, some), strict=True) if true)


def is_gone(client: AhiClient, difference: Difference) -> bool:
    """Whether AHI says that it does not have an image set."""
    try:
        client.image_set(ImageSetKey(difference.datastore_id, difference.image_set_id))
    except NotFound:
        return True
    return False


@dataclass
class Comparison:
    """The result for one data store: numbers, and the first thousand differences."""

    datastore_id: str
    in_ahi: int = 0
    counts: Counter[Kind] = field(default_factory=Counter)
    put_aside: int = 0
    examples: list[Difference] = field(default_factory=list)

    @property
    def total(self) -> int:
        """The number of all differences."""
        return sum(self.counts.values())

    def add(self, difference: Difference) -> None:
        """Count a difference."""
        self.counts[difference.kind] += 1
        self.put_aside += difference.is_aside
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append(difference)
