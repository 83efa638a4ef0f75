"""A version of an image set while it is written, in a folder aside."""

import threading
from pathlib import Path


class Staging:
    """The frames of a version that does not exist yet; `Storage.publish` makes it exist, and waits for the disk."""

    def __init__(self, folder: Path, image_set_id: str, version: int, stored_frame_ids: frozenset[str]) -> None:
        """`stored_frame_ids` are the frames that earlier versions have already."""
        self.folder = folder
        self.image_set_id = image_set_id
        self.version = version
        self.content_types: dict[str, str] = {}
        self._stored_frame_ids = stored_frame_ids
        self._lock = threading.Lock()

    def add_frame(self, frame_id: str, stored: bytes, content_type: str) -> None:
        """Write one frame, unless it exists already: the bytes of a frame ID never change. Safe in any thread."""
        with self._lock:
            if frame_id in self._stored_frame_ids or frame_id in self.content_types:
                return
            self.content_types[frame_id] = content_type
        with (self.folder / frame_id).open("xb") as file:
            file.write(stored)

    def keep_only(self, frame_ids: frozenset[str]) -> None:
        """Delete the new frames that are not needed after all."""
        for frame_id in self.content_types.keys() - frame_ids:
            (self.folder / frame_id).unlink()
            del self.content_types[frame_id]
