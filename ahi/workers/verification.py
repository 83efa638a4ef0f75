"""The frames whose pixels have been compared with their checksums. Runs in the FrameFetcher processes.

A frame that is delivered as stored is not decoded, so a wrong byte among its coded samples is not noticed. With
VERIFY_FRAMES=decode such frames are decoded once, to compare them.
"""

import threading

from cachetools import FIFOCache

_MAX_VERIFIED = 100_000


class Verification:
    """The frames that one FrameFetcher has verified. `by_decoding`: whether frames that are not decoded are, too."""

    def __init__(self, *, by_decoding: bool = False) -> None:
        self.by_decoding = by_decoding
        self._lock = threading.Lock()
        self._verified: FIFOCache[str, None] = FIFOCache(_MAX_VERIFIED)

    def needs(self, frame_id: str) -> bool:
        """Whether a frame has still to be compared."""
        if not self.by_decoding:
            return False
        with self._lock:
            return frame_id not in self._verified

    def note_verified(self, frame_id: str) -> None:
        """Note that the pixels of a frame have their checksum."""
        if not self.by_decoding:
            return
        with self._lock:
            self._verified[frame_id] = None
