"""Which of many images stands for a study, a series or an instance, and which others may, should it be bad."""

from collections import Counter
from collections.abc import Iterator, Sequence

_MOST_TRIED = 64


def middle_of_largest(series: Sequence[str]) -> int:
    """The index of the middle frame of the series that has the most; `series` are those of all frames, in order."""
    if not series:
        return 0
    of_series = _by_series(series)[0]
    return of_series[len(of_series) // 2]


def candidates(series: Sequence[str], index: int) -> list[int]:
    """The index, then others in its place: its neighbours, the middle of each other series, then all, or 64 of many."""
    order = dict.fromkeys(_in_order(series, index))
    return [one for one in order if 0 <= one < len(series)][:_MOST_TRIED]


def _in_order(series: Sequence[str], index: int) -> Iterator[int]:
    yield from (index, index + 1, index - 1, index + 2, index - 2)
    yield from (of_series[len(of_series) // 2] for of_series in _by_series(series))
    step = -(-len(series) // _MOST_TRIED)
    yield from range(0, len(series), max(1, step))


def _by_series(series: Sequence[str]) -> list[list[int]]:
    """The indexes of each series, the largest first."""
    indexes: dict[str, list[int]] = {uid: [] for uid, _ in Counter(series).most_common()}
    for index, uid in enumerate(series):
        indexes[uid].append(index)
    return list(indexes.values())
