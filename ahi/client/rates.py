"""The rates at which AHI allows an account to call its operations. Runs in the index command.

The defaults are the quotas that AWS publishes (AWS HealthImaging Developer Guide, throttling limits).
"""

from collections.abc import Mapping

from runtime.token_bucket import TokenBucket

SEARCHES_PER_SECOND = 25.0
METADATA_PER_SECOND = 50.0
PUBLISHED_RATES = {
    "SearchImageSets": SEARCHES_PER_SECOND,
    "GetImageSet": 25.0,
    "GetImageSetMetadata": METADATA_PER_SECOND,
    "ListDatastores": 5.0,
}
"""Calls a second, by operation. AHI allows a burst of twice as many, of which half is left for delays on the way."""


class CallRates:
    """A token bucket for each operation, shared by all calls of a command. Safe to share between threads."""

    def __init__(self, per_second: Mapping[str, float] | None = None) -> None:
        """`per_second` has rates other than the published ones, by operation."""
        rates = {**PUBLISHED_RATES, **(per_second or {})}
        self._buckets = {operation: TokenBucket(rate, rate) for operation, rate in rates.items()}

    @classmethod
    def unlimited(cls) -> "CallRates":
        """No bucket for any operation."""
        rates = cls()
        rates._buckets = {}
        return rates

    def take(self, operation: str) -> None:
        """Wait until a call of this operation may be made."""
        if bucket := self._buckets.get(operation):
            bucket.take()

    def refused(self, operation: str) -> None:
        """Note that AHI refused a call because there were too many."""
        if bucket := self._buckets.get(operation):
            bucket.refused()
