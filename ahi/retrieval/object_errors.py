"""Errors about one image set or frame, as opposed to outages. Runs in the web processes and the prefetch process."""

from ahi.image_sets.image_set import ImageSetKey
from ahi.workers.pool import FetcherPool
from ahi.workers.query_jobs import ping
from dicomweb.errors import ProxyError, UpstreamBroken, UpstreamBusy, UpstreamFailed, UpstreamRefused

MAX_BROKEN_IN_A_ROW = 3
"""Objects in a row that AHI has an error with. After that it is an outage."""


def reported_error(error: ProxyError | RuntimeError) -> ProxyError:
    """Return the error to report for an object whose job failed. The log of the FrameFetcher has the traceback."""
    if isinstance(error, ProxyError):
        return error
    return UpstreamFailed("it cannot be read; the log of the service says more")


def affects_one_object(fetchers: FetcherPool, error: ProxyError, key: ImageSetKey) -> bool:
    """Whether an error is about one image set, or a frame of it, and no outage. If in doubt, AHI is asked."""
    if isinstance(error, UpstreamBroken):
        try:
            ping_ahi(fetchers, key.datastore_id)
        except ProxyError:
            return False
        return True
    return not isinstance(error, UpstreamBusy | UpstreamRefused)


def ping_ahi(fetchers: FetcherPool, datastore_id: str | None) -> None:
    """Return if AHI answers a FrameFetcher; else UpstreamBusy or UpstreamFailed."""
    fetchers.run("ping", ping, datastore_id)
