"""What of the index is not shown because its image sets are no more."""

import logging
import threading
import time

from ahi.image_sets.deleted import DeletedImageSets
from db.deleted_image_sets import find_deleted_rows
from db.engine import Database
from db.scope import EVERYTHING, Scope

log = logging.getLogger(__name__)

_BELIEVED_SECONDS = 30.0  # the index may learn of a deletion, or of other image sets of a series


class DeletedRowFilter:
    """The scope without it; looked up when something has gone, and again from time to time."""

    def __init__(self, database: Database, deleted: DeletedImageSets) -> None:
        self._database = database
        self._deleted = deleted
        self._lock = threading.Lock()
        self._of: frozenset[str] = frozenset()
        self._looked_at = 0.0
        self._scope = EVERYTHING

    def scope(self) -> Scope:
        """Everything but what hangs on image sets that are no more; everything, as a rule."""
        image_set_ids = self._deleted.image_set_ids()
        if not image_set_ids:
            return EVERYTHING
        due = image_set_ids != self._of or time.monotonic() - self._looked_at > _BELIEVED_SECONDS
        if due and self._lock.acquire(blocking=False):  # one asks the index; others go on with what was known
            try:
                self._scope = Scope(hidden=find_deleted_rows(self._database, image_set_ids))
                self._of, self._looked_at = image_set_ids, time.monotonic()
                log.info("image sets that AHI has no more: %d", len(image_set_ids))
            finally:
                self._lock.release()
        return self._scope
