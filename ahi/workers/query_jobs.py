"""Jobs that ask AHI something and store nothing on disk. Runs in the FrameFetcher processes."""

from ahi.client.searches import AT_ONCE
from ahi.image_sets.image_set import ImageSetKey
from ahi.workers.context import WorkerContext
from dicomweb.errors import (
    NotFound,
    UpstreamBusy,
    UpstreamFailed,
)


def search_study(context: WorkerContext, datastore_id: str, study_instance_uid: str) -> tuple[ImageSetKey, ...]:
    """The image sets of a study in a data store, by AHI's own index; none where the right to ask is missing.

    UpstreamBusy where AHI does not answer, or was asked too often.
    """
    searches = context.searches
    known = searches.get(datastore_id, study_instance_uid)
    if known is not None:
        return known
    if not searches.may_call(datastore_id):
        raise UpstreamBusy("too many studies are being looked for", retry_after_seconds=1)
    try:
        found = context.client.search_study(datastore_id, study_instance_uid)
    except NotFound:  # no such data store any more
        found = []
    except UpstreamFailed as error:
        searches.refused(datastore_id, str(error))
        return ()
    except UpstreamBusy:
        searches.silent(datastore_id)
        raise
    searches.count(len(found) // AT_ONCE)
    searches.put(datastore_id, study_instance_uid, found)
    return tuple(found)


def ping(context: WorkerContext, datastore_id: str | None) -> None:
    """Nothing if AHI answers."""
    context.client.ping(datastore_id)
