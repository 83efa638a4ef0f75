"""Calls to AHI with retries, a deadline, counters and the report of outages. Runs in the FrameFetcher processes."""

import logging
import random
import time
from collections.abc import Callable
from itertools import chain, repeat
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from ahi.client.failures import (
    CallError,
    can_be_retried,
    error_code,
    is_conflict,
    is_outage,
    is_throttled,
    proxy_error,
    readable,
)
from ahi.client.rates import CallRates
from dicomweb.errors import NotFound, ProxyError
from runtime.heartbeat import Heartbeat
from runtime.outage import Outage
from runtime.shared_metrics import Metric, ProcessMetrics
from runtime.timing import measured

log = logging.getLogger(__name__)
T = TypeVar("T")

_COUNTERS = {
    "GetImageSet": Metric.AHI_GET_IMAGE_SET,
    "GetImageSetMetadata": Metric.AHI_GET_IMAGE_SET_METADATA,
    "GetImageFrame": Metric.AHI_GET_IMAGE_FRAME,
    "SearchImageSets": Metric.AHI_SEARCH_IMAGE_SETS,
    "StoreDICOM": Metric.AHI_STORE_DICOM,
}

_DELAYS_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.0)


class RetryingCaller:
    """Makes calls, and retries them until `deadline_seconds` after the first attempt. Safe to share between threads."""

    def __init__(
        self,
        deadline_seconds: float,
        process_metrics: ProcessMetrics | None = None,
        outage: Outage | None = None,
        heartbeat: Heartbeat | None = None,
        rates: CallRates | None = None,
        conflict_seconds: float = float("inf"),
    ) -> None:
        """`rates` bounds the attempts. Conflicts are retried for `conflict_seconds`, where that is shorter."""
        self._rates = rates or CallRates.unlimited()
        self._conflict_seconds = conflict_seconds
        self.deadline_seconds = deadline_seconds
        self._process_metrics = process_metrics or ProcessMetrics.alone()
        self._outage = outage or Outage("AHI")
        self._heartbeat = heartbeat or Heartbeat()

    def call(
        self,
        operation: str,
        call: Callable[[], T],
        patience_seconds: float | None = None,
        is_retried: Callable[[CallError], bool] = can_be_retried,
    ) -> T:
        """Make a call; UpstreamBusy where it does not succeed within `patience_seconds`, by default the deadline.

        The cause of the error is that of the last attempt. `is_retried` tells whether an error may be followed by
        another attempt.
        """
        began_at = time.monotonic()
        patience_seconds = self.deadline_seconds if patience_seconds is None else patience_seconds
        for delay_seconds in chain(_DELAYS_SECONDS, repeat(_DELAYS_SECONDS[-1])):
            self._rates.take(operation)
            if counter := _COUNTERS.get(operation):
                self._process_metrics.add(counter)
            try:
                with measured("ahi", operation), self._heartbeat.expecting(self.deadline_seconds):
                    answer = readable(call)
            except (ClientError, BotoCoreError) as error:
                if is_throttled(error):
                    self._process_metrics.add(Metric.AHI_THROTTLES)
                    self._rates.refused(operation)
                delay = delay_seconds * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
                most_seconds = min(patience_seconds, self._conflict_seconds) if is_conflict(error) else patience_seconds
                if not is_retried(error) or time.monotonic() + delay > began_at + most_seconds:
                    raise self.failed(operation, error) from error
                self._process_metrics.add(Metric.AHI_RETRIES)
                log.debug("AHI call retried operation=%s error=%s", operation, error_code(error))
            else:
                self.succeeded()
                return answer
            time.sleep(delay)
        raise AssertionError("there is always another attempt")

    def succeeded(self) -> None:
        """Note that AHI answers."""
        self._outage.is_over()

    def failed(self, operation: str, error: CallError) -> ProxyError:
        """Log the error of a call that is not retried, and return the error to raise."""
        if is_outage(error):
            self._outage.begins(error_code(error))
        elif isinstance(error, ClientError):  # AHI answers, if only to refuse
            self._outage.is_over()
        failure = proxy_error(operation, error)
        if can_be_retried(error):
            if not is_outage(error):
                log.error("AHI busy operation=%s error=%s", operation, error_code(error))
        elif not isinstance(failure, NotFound):
            log.error("AHI refused operation=%s error=%s", operation, error_code(error))
        return failure
