"""Frames that are kept as pixels, and become codestreams when somebody asks for them.

Encoding takes longer than all else that is done for a frame, and many frames are never looked at. The file of such a
frame has a line of JSON, then the pixels. It is replaced by the codestream as a whole.
"""

import fcntl
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datastore.pixels.codecs import LosslessFormat, Pixels, encode_lossless
from runtime.durable_files import replace_durably

CONTENT_TYPE = "application/x-pixels"
"""The type of these files, which no client ever gets."""

_BEGIN = b'{"kept":'
_LEAST_SIDE = 64  # smaller frames are encoded in no time
_MOST_BYTES = 2**25  # the first one to ask would wait for too long
_MOST_SAMPLE_BYTES = 2  # the codecs give these back exactly, whatever they are
_SAMPLES = ((), (3,))  # of a pixel, as the end of a shape


@dataclass(frozen=True)
class KeptFrame:
    """The pixels of a frame, and whether its codestream transforms their components."""

    pixels: Pixels
    transform: bool

    @property
    def can_wait(self) -> bool:
        """Whether it is worth while to encode it later, and certain that this can be done."""
        shape, dtype = self.pixels.shape, self.pixels.dtype
        return (
            min(shape[:2]) >= _LEAST_SIDE
            and shape[2:] in _SAMPLES
            and dtype.kind in "iu"
            and dtype.itemsize <= _MOST_SAMPLE_BYTES
            and self.pixels.nbytes <= _MOST_BYTES
        )

    def to_bytes(self) -> bytes:
        """The content of its file. Equal frames have equal bytes."""
        little = self.pixels.astype(self.pixels.dtype.newbyteorder("<"), copy=False)
        head = {"kept": little.dtype.str, "shape": little.shape, "transform": self.transform}
        return json.dumps(head, separators=(",", ":")).encode() + b"\n" + little.tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "KeptFrame":
        """From the content of a file that `to_bytes` made."""
        line, _, _ = content.partition(b"\n")
        head = json.loads(line)
        pixels = np.frombuffer(content, np.dtype(head["kept"]), offset=len(line) + 1)
        return cls(pixels.reshape(head["shape"]), head["transform"])


class LateEncoder:
    """Encodes kept frames in their files. Safe to share between threads, and beside those of other processes."""

    def __init__(self, lossless: LosslessFormat, workers: int | None = None) -> None:
        """`workers` frames at most are encoded at a time: by default as many as there are cores."""
        self._lossless = lossless
        self._places = threading.BoundedSemaphore(workers or os.cpu_count() or 1)

    @property
    def content_type(self) -> str:
        """The type of a file when it has been encoded."""
        return self._lossless.content_type

    def encode(self, path: Path) -> None:
        """Have a file hold the codestream of its frame, unless it does. Whoever is killed leaves it as it was.

        NotEncodable if the codec fails, OSError if the file is gone or cannot be replaced.
        """
        with path.open("rb") as file:
            if file.read(len(_BEGIN)) != _BEGIN:
                return
            with self._places:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not os.path.samestat(os.fstat(file.fileno()), path.stat()):  # somebody else has replaced it
                    return
                file.seek(0)
                kept = KeptFrame.from_bytes(file.read())
                replace_durably(path, encode_lossless(kept.pixels, self._lossless, transform=kept.transform))
