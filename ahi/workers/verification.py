"""Which frames are compared with their checksums by decoding them, beyond those that are decoded anyway.

Without that, a wrong byte among the coded samples of a frame that is delivered as stored is not noticed.
"""

import threading
from collections import OrderedDict

_MOST_KNOWN = 100_000


class Verification:
    """The frames that one fetcher has compared; `by_decoding` is whether all are to be."""

    def __init__(self, *, by_decoding: bool = False) -> None:
        self.by_decoding = by_decoding
        self._lock = threading.Lock()
        self._sound: OrderedDict[str, None] = OrderedDict()

    def needs(self, frame_id: str) -> bool:
        """Whether a frame is still to be compared."""
        if not self.by_decoding:
            return False
        with self._lock:
            return frame_id not in self._sound

    def is_sound(self, frame_id: str) -> None:
        """Its pixels have their checksum."""
        if not self.by_decoding:
            return
        with self._lock:
            self._sound[frame_id] = None
            if len(self._sound) > _MOST_KNOWN:
                self._sound.popitem(last=False)
