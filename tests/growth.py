"""Whether work grows with the length of its input, and no faster: by the time of the processor that a thread takes."""

import time
from collections.abc import Callable

_TIMES = 4
_MOST = 9.0  # for four times the input: linear work takes 4 times as long, quadratic work 16 times
_NOTICED_SECONDS = 0.02
_TRIES = 4


def seconds_of(work: Callable[[], object]) -> float:
    """The least time of the processor that the work took in a few tries; other processes do not count."""
    least = float("inf")
    for _ in range(3):
        began = time.thread_time()
        work()
        least = min(least, time.thread_time() - began)
        if least > 0.5:
            break
    return least


def grows_linearly(prepare: Callable[[int], Callable[[], object]], largest: int, smallest: int = 64) -> None:
    """Fail if four times the length takes more than nine times the time; `prepare` makes the work for a length.

    Lengths go up to `largest`, so that exponential work is noticed before it lasts for ever.
    """
    lengths = [largest]
    while lengths[-1] > smallest * _TIMES:
        lengths.append(lengths[-1] // _TIMES)
    earlier = None
    for length in reversed(lengths):
        seconds = seconds_of(prepare(length))
        for _ in range(_TRIES):  # who else is busy may have emptied the caches of the processor
            if earlier is None or seconds < _NOTICED_SECONDS or seconds < earlier * _MOST:
                break
            seconds, earlier = seconds_of(prepare(length)), seconds_of(prepare(length // _TIMES))
        else:
            raise AssertionError(f"{length} took {seconds:.4f} s, {length // _TIMES} took {earlier:.4f} s")
        earlier = seconds
