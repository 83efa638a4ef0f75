"""Errors."""

from ahi.image_sets.image_set import ImageSetKey
from ahi.workers.pool import FetcherPool
from ahi.workers.query_jobs import ping
from dicomweb.errors import ProxyError, UpstreamBroken, UpstreamBusy, UpstreamFailed, UpstreamRefused


def reported_error(error: ProxyError | RuntimeError) -> ProxyError:
    """What is told of an object whose job failed; of what nobody foresaw the log of the fetcher has the traceback."""
    if isinstance(error, ProxyError):
        return error
    return UpstreamFailed("it cannot be read; the log of the service says more")


MAX_BROKEN_IN_A_ROW = 3
"""Objects one after another that AHI has an error with: then it has one as a whole."""


def affects_one_object(fetchers: FetcherPool, error: ProxyError, key: ImageSetKey) -> bool:
    """Whether an error is about one image set, or a frame of it, and AHI answers otherwise.

    It is asked where that is not clear.
    """
    if isinstance(error, UpstreamBroken):
        try:
            ping_ahi(fetchers, key.datastore_id)
        except ProxyError:
            return False
        return True
    return not isinstance(error, UpstreamBusy | UpstreamRefused)


def ping_ahi(fetchers: FetcherPool, datastore_id: str | None) -> None:
    """Nothing if AHI answers a fetcher, else UpstreamBusy or UpstreamFailed."""
    fetchers.run("ping", ping, datastore_id)
