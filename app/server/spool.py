"""Answers that a client does not take are moved from memory to files without a name.

A file is deleted by the kernel when it is closed, however the process ends. What all connections of a process may have
in files is bounded; beyond it, and where files cannot be written, answers stay in memory, and their threads wait.
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

_LEAST_BYTES = 2**16  # less is not worth a file
_MOST_BYTES = 2**30


class Spool:
    """The files of one process, in `folder`. Safe to share between threads."""

    def __init__(self, folder: Path, most_bytes: int = _MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._bytes = 0
        self._failed = False

    @property
    def bytes_held(self) -> int:
        """The size of all files."""
        return self._bytes

    def move(self, buffers: list[Any]) -> None:
        """Put what lies in memory into files, in place; the last buffer stays one that takes more."""
        for at, buffer in enumerate(buffers):
            if isinstance(buffer, MemoryBuffer) and len(buffer) >= _LEAST_BYTES and (file := self._file(buffer)):
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
            if self._bytes + size_bytes > self._most_bytes:
                return False
            self._bytes += size_bytes
            return True

    def release(self, size_bytes: int) -> None:
        """A file of this size is gone."""
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
