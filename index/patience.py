"""Calls that outlast an outage of AHI or of the index: a run of hours does not end because of some minutes."""

import logging
import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from dicomweb.errors import UpstreamBusy

log = logging.getLogger(__name__)
T = TypeVar("T")

PAUSE_SECONDS = 5.0
OUTAGE_SECONDS = 1800.0
"""The longest outage that is waited for."""


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
