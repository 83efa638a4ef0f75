"""Calls that outlast an outage of AHI or of the index: a run of hours does not end because of some minutes."""

import logging
import time
from collections.abc import Callable, Iterable
from threading import Event, Thread
from typing import TypeVar

from dicomweb.errors import UpstreamBusy

log = logging.getLogger(__name__)
T = TypeVar("T")

PAUSE_SECONDS = 5.0
OUTAGE_SECONDS = 1800.0
"""The longest outage that is waited for."""

_END_SECONDS = 15.0
"""The time that calls and transactions under way get at the end of a run that is stopped."""


def join(threads: Iterable[Thread], is_over: Callable[[], bool]) -> None:
    """Wait for threads. Of a run that is over, those that are slow to stop are left.

    The database rolls back what they began.
    """
    give_up_at = float("inf")
    for thread in threads:
        while thread.is_alive() and time.monotonic() < give_up_at:
            thread.join(0.2)
            if is_over():
                give_up_at = min(give_up_at, time.monotonic() + _END_SECONDS)


def patiently(call: Callable[[], T], stop: Event, outage_seconds: float = OUTAGE_SECONDS) -> T:
    """The result of a call that is made again while AHI or the index does not answer.

    UpstreamBusy after `outage_seconds`, or when `stop` is set meanwhile; all other errors of the call at once.
    """
    give_up_at = time.monotonic() + outage_seconds
    while True:
        try:
            return call()
        except UpstreamBusy as error:  # noqa: PERF203 - calls over the network
            if time.monotonic() > give_up_at or stop.wait(PAUSE_SECONDS):
                raise
            log.warning("waiting: %s", error)
