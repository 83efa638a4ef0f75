"""A file that is read where it is sliced: what is mapped instead counts as memory of the process, all around it too.

A mapped file that somebody cuts kills the process that reads it; one that is read says so.
"""

import os
from typing import BinaryIO

from dicomweb.errors import UpstreamBusy


class FileView:
    """The first `length_bytes` of an open file, which is closed when nobody has the view any more."""

    def __init__(self, file: BinaryIO, length_bytes: int) -> None:
        self._file = file
        self._length_bytes = length_bytes
        self.is_damaged = False
        """Whether the file has turned out to be shorter than it was."""

    def __len__(self) -> int:
        return self._length_bytes

    def __getitem__(self, bounds: slice) -> bytes:
        """The bytes within the bounds; UpstreamBusy where the file has become shorter."""
        start, stop, _ = bounds.indices(self._length_bytes)
        wanted = max(0, stop - start)
        found = os.pread(self._file.fileno(), wanted, start)
        if len(found) < wanted:
            self.is_damaged = True
            raise UpstreamBusy("a cached file was damaged, and is had anew", retry_after_seconds=1)
        return found

    def __del__(self) -> None:
        self._file.close()
