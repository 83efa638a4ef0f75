"""A file that is read where it is sliced: what is mapped instead counts as memory of the process, all around it too."""

import os
from typing import BinaryIO


class FileView:
    """The bytes of an open file, which is closed when nobody has the view any more."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._length_bytes = os.fstat(file.fileno()).st_size

    def __len__(self) -> int:
        return self._length_bytes

    def __getitem__(self, bounds: slice) -> bytes:
        start, stop, _ = bounds.indices(self._length_bytes)
        return os.pread(self._file.fileno(), max(0, stop - start), start)

    def __del__(self) -> None:
        self._file.close()
