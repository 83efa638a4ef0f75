"""Rows of the index whose image sets AHI has deleted: searches do not show them. Runs in the web processes."""

import logging
import threading
import time

from ahi.image_sets.deleted import DeletedImageSets
from db.deleted_image_sets import find_deleted_rows
from db.engine import Database
from db.scope import EVERYTHING, Scope

log = logging.getLogger(__name__)

_BELIEVED_SECONDS = 30.0  # the index may be updated meanwhile


class DeletedRowFilter:
    """The scope without deleted rows; looked up after a deletion, and again every 30 seconds."""

    def __init__(self, database: Database, deleted: DeletedImageSets) -> None:
        self._database = database
        self._deleted = deleted
        self._lock = threading.Lock()
        self._image_set_ids: frozenset[str] = frozenset()
        self._updated_at = 0.0
        self._scope = EVERYTHING

    def scope(self) -> Scope:
        """Everything except rows that belong to deleted image sets alone."""
        image_set_ids = self._deleted.image_set_ids()
        if not image_set_ids:
            return EVERYTHING
        due = image_set_ids != self._image_set_ids or time.monotonic() - self._updated_at > _BELIEVED_SECONDS
        if due and self._lock.acquire(blocking=False):  # one thread reads the index; others use the old scope
            try:
                self._scope = Scope(hidden=find_deleted_rows(self._database, image_set_ids))
                self._image_set_ids, self._updated_at = image_set_ids, time.monotonic()
                log.info("image sets that AHI has deleted: %d", len(image_set_ids))
            finally:
                self._lock.release()
        return self._scope
