"""The body of a request, written to a file of the spool as it comes in. Memory holds one piece of it at a time."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from dicomweb.errors import BadRequest, ContentTooLarge
from store.receive.file_bytes import FileBytes
from store.spool.spool import Spool, full

_PIECE_BYTES = 2**17
_CHECK_BYTES = 2**26  # between two checks whether the disk has room


class Stream(Protocol):
    """The body as the server gives it."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, `size` at most; b"" at the end."""


class ReceivedBody:
    """A body in `incoming` of the spool. As much as was received may be added to it, before the spool accepts it."""

    def __init__(self, spool: Spool, path: Path, file: BinaryIO, max_bytes: int) -> None:
        self.path = path
        self._spool = spool
        self._file = file
        self._max_bytes, self._received_bytes = max_bytes, 0
        self._checked_bytes = 0
        self.length_bytes = 0
        self._content = FileBytes(file.fileno(), 0)

    @property
    def content(self) -> FileBytes:
        """What it has now. It is one object as long as nothing is added, so that a short body is read once."""
        if self._content.length_bytes != self.length_bytes:
            self._content = FileBytes(self._file.fileno(), self.length_bytes)
        return self._content

    def add(self, piece: bytes) -> None:
        """Write bytes behind the last ones; SpoolFull if the disk takes no more, ContentTooLarge for too many."""
        if self.length_bytes - self._received_bytes + len(piece) > self._max_bytes:
            raise too_large(self._max_bytes)
        if self.length_bytes >= self._checked_bytes:
            self._spool.check_room(_CHECK_BYTES)
            self._checked_bytes = self.length_bytes + _CHECK_BYTES
        view = memoryview(piece)
        try:
            while view:
                view = view[os.write(self._file.fileno(), view) :]
        except OSError as error:
            raise full(error) from error
        self.length_bytes += len(piece)

    def receive(self, stream: Stream) -> None:
        """Write the whole body; BadRequest if it is empty."""
        while piece := stream.read(_PIECE_BYTES):
            self.add(piece)
        if not self.length_bytes:
            raise BadRequest("the body is empty, so nothing was stored")
        self._received_bytes = self.length_bytes


@contextmanager
def receiving(spool: Spool, stream: Stream, max_bytes: int) -> Iterator[ReceivedBody]:
    """Receive a whole body. At the end of the context its file is deleted, unless the spool has accepted it.

    BadRequest if the body is empty, ContentTooLarge if it has more than `max_bytes`, SpoolFull if there is no room.
    """
    path = spool.incoming / secrets.token_hex(16)
    try:
        file = path.open("x+b", buffering=0)
    except OSError as error:
        raise full(error) from error
    try:
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed, so `Spool.sweep` leaves it alone
            body = ReceivedBody(spool, path, file, max_bytes)
            body.receive(stream)
            yield body
    finally:
        path.unlink(missing_ok=True)


def too_large(max_bytes: int) -> ContentTooLarge:
    """The error for a body of more bytes."""
    return ContentTooLarge(f"the body has more than {max_bytes} bytes: send fewer instances in one request")
