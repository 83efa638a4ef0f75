"""Jobs that ask AHI something and write nothing to disk. Runs in the FrameFetcher processes."""

import time

from ahi.client.searches import PAGE_SIZE
from ahi.image_sets.image_set import ImageSetKey
from ahi.workers.context import WorkerContext
from dicomweb.errors import NotFound, UpstreamBusy, UpstreamFailed


def search_study(context: WorkerContext, datastore_id: str, study_instance_uid: str) -> tuple[ImageSetKey, ...]:
    """Return the image sets of a study that SearchImageSets finds; none without the right to that call.

    UpstreamBusy where AHI does not answer, or the rate of calls is too high.
    """
    searches = context.searches
    remembered = searches.get(datastore_id, study_instance_uid)
    if remembered is not None:
        return remembered
    if not searches.may_call(datastore_id):
        raise UpstreamBusy("too many studies are being looked for", retry_after_seconds=1)
    asked_at = time.monotonic()
    try:
        found = context.client.search_study(datastore_id, study_instance_uid)
    except NotFound:  # AHI no longer has this data store
        found = []
    except UpstreamFailed as error:
        searches.note_refusal(datastore_id, str(error))
        return ()
    except UpstreamBusy:
        searches.note_silence(datastore_id)
        raise
    searches.count(len(found) // PAGE_SIZE)
    searches.put(datastore_id, study_instance_uid, found, asked_at)
    return tuple(found)


def ping(context: WorkerContext, datastore_id: str | None) -> None:
    """Return if AHI answers; else UpstreamBusy or UpstreamFailed."""
    context.client.ping(datastore_id)
