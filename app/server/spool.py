"""The spool: files without names for answers that their clients do not take.

The kernel deletes such a file when it is closed, however the process ends. The size of all files of a process is
bounded. Above the bound, or if files cannot be written, answers stay in memory, and their threads wait.
"""

import logging
import tempfile
import threading
from pathlib import Path
from typing import Any

from app.server.sendfile import FileBuffer
from app.server.waitress_adapter import MemoryBuffer
from runtime.file_piece import FilePiece

log = logging.getLogger(__name__)

_MIN_FILE_BYTES = 2**16  # less stays in memory
_MAX_BYTES = 2**30


class Spool:
    """The files of one process, in `folder`. Safe to share between threads."""

    def __init__(self, folder: Path, max_bytes: int = _MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._bytes = 0
        self._failed = False

    @property
    def bytes_held(self) -> int:
        """The total size of the files."""
        return self._bytes

    def move(self, buffers: list[Any]) -> None:
        """Replace buffers in memory by files, in place. The last buffer stays in memory, to take more."""
        for at, buffer in enumerate(buffers):
            if isinstance(buffer, MemoryBuffer) and len(buffer) >= _MIN_FILE_BYTES and (file := self._file(buffer)):
                buffer.close()
                buffers[at] = file
        if not isinstance(buffers[-1], MemoryBuffer):
            buffers.append(MemoryBuffer(2**62))

    def _file(self, buffer: MemoryBuffer) -> "_SpoolBuffer | None":
        content = buffer.get(len(buffer))
        if not self._reserve(len(content)):
            return None
        try:
            file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - its buffer closes it
            file.write(content)
            file.flush()
        except OSError as error:
            self.release(len(content))
            if not self._failed:
                log.warning("answers cannot be written to files reason=%s", error.strerror)
            self._failed = True
            return None
        self._failed = False
        return _SpoolBuffer(FilePiece(file, 0, len(content)), self)

    def _reserve(self, size_bytes: int) -> bool:
        with self._lock:
            if self._bytes + size_bytes > self._max_bytes:
                return False
            self._bytes += size_bytes
            return True

    def release(self, size_bytes: int) -> None:
        """Note that a file of this size was closed."""
        with self._lock:
            self._bytes -= size_bytes


class _SpoolBuffer(FileBuffer):
    """A part of an answer in a file of a spool."""

    def __init__(self, piece: FilePiece, spool: Spool) -> None:
        super().__init__(piece)
        self._spool: Spool | None = spool
        self._size_bytes = len(piece)

    def close(self) -> None:
        super().close()
        if self._spool:
            self._spool.release(self._size_bytes)
            self._spool = None
