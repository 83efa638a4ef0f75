"""Decides the outcome of each item of an answer: sent as agreed on, sent as stored, or left out.

Runs in the web processes.

    items → Delivery.begin()    tries the first items, and those that are known to be bad, before the head is sent
          → items, warnings     the items to send, and the warnings for the head
          → outcomes()          each item right before its turn, without those that are left out
          → report()            all outcomes, for the end of the answer

To try an item is to fetch all its frames into the cache, or the first of more than 64 native ones. The error tells
what is at fault. NotAcceptable: the stored bytes are sound, only the encoding that was agreed on cannot be had. Where
AHI does not answer at all, no item is at fault, and the error is raised. Before the head this becomes a status, later
it cuts the connection.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic

from ahi.retrieval.bad_frames import BadFrames, NotesByImageSet
from ahi.retrieval.frames import FrameRequest, FrameResult, Frames
from ahi.retrieval.object_errors import MAX_BROKEN_IN_A_ROW
from dicomweb.errors import NotAcceptable, NotFound, ProxyError, UpstreamBroken, UpstreamFailed
from dicomweb.multipart import Part
from dicomweb.transfer_syntax import FrameEncoding
from runtime.file_piece import Chunk
from wado.outcome import (
    AsStored,
    Deliverable,
    ItemReport,
    ItemT,
    LeftOut,
    Outcome,
    encode_report,
    log_reports,
    warning_texts,
)

_FIRST_FRAMES = 8  # these are fetched at the same time, so to try them all takes little longer than one
_WHOLE_FRAMES = 64  # an item of more native frames is begun when its first frame is there
_STEP = 64  # items that are tried together until one is good
_MOST_NOTED = 64  # items that are tried before the head because they failed before


class Delivery(Generic[ItemT]):
    """The items of one answer."""

    def __init__(
        self,
        items: Sequence[ItemT],
        frames: Frames,
        bad_frames: BadFrames,
        notes: NotesByImageSet,
        as_stored: Callable[[ItemT], ItemT | None],
    ) -> None:
        """`as_stored` gives an item in its stored encoding, if the client takes that. `notes` tell which frames failed
        before."""
        self._all = list(items)
        self._frames = frames
        self._bad_frames = bad_frames
        self._notes = notes
        self._as_stored = as_stored
        self._tried: set[int] = set()
        self._left_out: set[int] = set()
        self._reports: list[ItemReport] = []
        self._failed: dict[int, int] = {}  # index of an item: the frame that it failed with, from 1
        self._broken = 0  # errors of AHI in a row

    @property
    def items(self) -> Sequence[ItemT]:
        """The items to send, as far as is known."""
        if not self._left_out:
            return self._all
        return [item for index, item in enumerate(self._all) if index not in self._left_out]

    @property
    def warnings(self) -> list[str]:
        """Texts of Warning headers on items that are not sent as requested."""
        return warning_texts(self._reports, len(self._all))

    def report(self) -> bytes:
        """A line for each item that is not sent as requested."""
        return encode_report(self._reports)

    def begin(self, first_frames: int = _FIRST_FRAMES) -> None:
        """Try the first items, and more until one can be sent. If none can, the reason is raised.

        The first items are as many as have `first_frames` frames together, but at least one.
        """
        at = self._first(first_frames)
        noted = (index for index in range(at, len(self._all)) if self._notes and self._noted(self._all[index]))
        good = self._try([*range(at), *islice(noted, _MOST_NOTED)])
        while not good and at < len(self._all):
            step = range(at, min(at + _STEP, len(self._all)))
            good = self._try([index for index in step if index not in self._tried], until_good=True)
            at = step.stop
        log_reports(self._reports, len(self._all))
        if self._reports and not good:
            reasons = [report.reason for report in self._reports]
            raise next((reason for reason in reasons if isinstance(reason, NotAcceptable)), reasons[0])

    def outcomes(self, size_of: Callable[[ItemT], int] | None = None) -> Iterator[Deliverable[ItemT] | AsStored[ItemT]]:
        """The items that are sent, in their order. Failures on the way are noted for later answers.

        `size_of` gives the size of an item in bytes if the answer has a Content-Length. An item that is sent as stored
        instead must then fit into the room that left-out items have made.
        """
        logged, room_bytes = len(self._reports), 0
        self._failed.clear()
        remaining = [index for index in range(len(self._all)) if index not in self._left_out]
        try:
            for index, outcome in self._decided(remaining):
                if isinstance(outcome, AsStored) and size_of:
                    more_bytes = size_of(outcome.item) - size_of(self._all[index])
                    if more_bytes > room_bytes:
                        outcome = LeftOut(self._all[index], outcome.reason)
                    else:
                        room_bytes -= more_bytes
                if isinstance(outcome, LeftOut):
                    room_bytes += size_of(outcome.item) if size_of else 0
                    self._reports.append(ItemReport.of(outcome))
                    continue
                if isinstance(outcome, AsStored):
                    self._reports.append(ItemReport.of(outcome))
                yield outcome
        finally:
            log_reports(self._reports[logged:], len(self._all))
            self._note_failed()

    def _first(self, most_frames: int) -> int:
        """The number of items that are always tried before the head."""
        frames = 0
        for index, item in enumerate(self._all):
            frames += len(self._numbers(item))
            if frames > most_frames and index:
                return index
        return len(self._all)

    def _try(self, indexes: Sequence[int], *, until_good: bool = False) -> bool:
        """Try items, all of them or until one can be sent; whether one can."""
        good = False
        for index, outcome in self._decided(indexes):
            self._tried.add(index)
            match outcome:
                case LeftOut():
                    self._left_out.add(index)
                    self._reports.append(ItemReport.of(outcome))
                    continue
                case AsStored(stored):
                    self._all[index] = stored
                    self._reports.append(ItemReport.of(outcome))
            good = True
            if until_good:
                break
        return good

    def _decided(self, indexes: Sequence[int]) -> Iterator[tuple[int, Outcome[ItemT]]]:
        """The outcomes of the items, one after another; frames of later items are fetched meanwhile."""
        feed = self._frames.fetch_each(self._wanted(indexes))
        for index in indexes:
            item, tried = self._all[index], None
            for number in self._numbers(item):
                tried = next(one for one in feed if one.request.index == index)
                if tried.error:
                    self._failed[index] = number
                    break
            yield index, self._outcome(index, item, tried)

    def _wanted(self, indexes: Iterable[int]) -> Iterator[FrameRequest]:
        """The frames to try; no more of an item when one has failed."""
        for index in indexes:
            item, counted = self._all[index], index in self._tried
            for number in self._numbers(item):
                if index in self._failed:
                    break
                yield FrameRequest(index, item.instance.frame(number), item.form, counted=counted)

    def _numbers(self, item: ItemT) -> Sequence[int]:
        """The frames that must be there before an item is begun. Encoded frames must all be, because their sizes come
        first."""
        numbers = item.frame_numbers
        if len(numbers) <= _WHOLE_FRAMES or item.form is not FrameEncoding.NATIVE:
            return numbers
        return tuple(dict.fromkeys((numbers[0], *self._noted(item))))

    def _noted(self, item: ItemT) -> Sequence[int]:
        """Frames of the item, counted from 1, that failed while an earlier answer was sent."""
        notes = self._notes.get(item.instance.key)
        numbers = notes.frame_numbers.get(item.instance.prepared.sop_instance_uid, ()) if notes else ()
        return [number for number in numbers if number in item.frame_numbers]

    def _outcome(self, index: int, item: ItemT, tried: FrameResult | None) -> Outcome[ItemT]:
        """The outcome of an item; `tried` is the last frame that was tried, None where it needs none."""
        if tried is None or tried.error is None:
            self._broken = 0
            return Deliverable(item, self._chunks(index, item, tried))
        self._raise_unless_alone(tried, tried.error)
        stored = self._as_stored(item) if isinstance(tried.error, NotAcceptable) else None
        if stored is None:
            return LeftOut(item, tried.error)
        wanted = (
            FrameRequest(index, item.instance.frame(number), stored.form, counted=True)
            for number in stored.frame_numbers
        )
        for one in self._frames.fetch_each(wanted):
            if one.error:
                self._raise_unless_alone(one, one.error)
                return LeftOut(item, tried.error)
        return AsStored(stored, self._chunks(index, stored, None), tried.error)

    def _raise_unless_alone(self, tried: FrameResult, error: ProxyError) -> None:
        """Raise the error if AHI as a whole is at fault, not this item alone."""
        self._broken = self._broken + 1 if isinstance(error, UpstreamBroken) else 0
        if self._broken >= MAX_BROKEN_IN_A_ROW or not self._frames.affects_one_object(error, tried.request.reference):
            self._failed.pop(tried.request.index, None)
            raise error

    def _chunks(self, index: int, item: ItemT, tried: FrameResult | None) -> Iterator[Chunk]:
        """The frames of an item that is begun; a frame that fails now cuts the answer."""
        numbers = item.frame_numbers
        if tried and len(numbers) == 1:
            yield self._frames.chunk_of(tried)
            return
        bodies = self._frames.read_chunks((item.instance.frame(number) for number in numbers), item.form)
        for number in numbers:
            try:
                body = next(bodies)
            except (UpstreamFailed, NotAcceptable, NotFound):
                self._failed[index] = number
                self._note_failed()
                raise
            yield body

    def _note_failed(self) -> None:
        """Note frames that failed after the head was sent, so that the head of a later answer can tell."""
        failed = ((self._all[index].instance, number) for index, number in sorted(self._failed.items()))
        self._bad_frames.note_all((one.key, one.prepared.sop_instance_uid, number) for one, number in failed)
        self._failed.clear()


def encode_parts(
    delivery: Delivery[ItemT],
    part_of: Callable[[ItemT, Iterator[Chunk]], Part],
    planned: Callable[[ItemT], Part] | None,
) -> Iterator[Part]:
    """The parts of a multipart answer; `planned` gives them without their bytes if there is a Content-Length."""
    size_of = (lambda item: _size(planned(item))) if planned else None
    for outcome in delivery.outcomes(size_of):
        yield part_of(outcome.item, outcome.frames)


def _size(part: Part) -> int:
    return len(part.head) + part.length_bytes
