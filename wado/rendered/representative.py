"""The frame that stands for a study, a series or an instance, and others for it. Runs in the web processes."""

from collections import Counter
from collections.abc import Iterator, Sequence

_MOST_TRIED = 64


def middle_of_largest(series: Sequence[str]) -> int:
    """The index of the middle frame of the largest series; `series` has the Series Instance UID of each frame."""
    if not series:
        return 0
    indexes = _by_series(series)[0]
    return indexes[len(indexes) // 2]


def alternatives(series: Sequence[str], index: int) -> list[int]:
    """Indexes of frames that may stand in for the one at `index`, 63 at most.

    Its neighbours come first, then the middle of each series, then frames from all over.
    """
    order = dict.fromkeys(_in_order(series, index))
    return [other for other in order if 0 <= other < len(series)][1:_MOST_TRIED]


def _in_order(series: Sequence[str], index: int) -> Iterator[int]:
    yield from (index, index + 1, index - 1, index + 2, index - 2)
    yield from (indexes[len(indexes) // 2] for indexes in _by_series(series))
    step = -(-len(series) // _MOST_TRIED)
    yield from range(0, len(series), max(1, step))


def _by_series(series: Sequence[str]) -> list[list[int]]:
    """The indexes of each series, the largest first."""
    indexes: dict[str, list[int]] = {uid: [] for uid, _ in Counter(series).most_common()}
    for index, uid in enumerate(series):
        indexes[uid].append(index)
    return list(indexes.values())
