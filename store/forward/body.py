"""The body of a request to AHI: instances of the spool, read from its files while they are sent."""

import errno
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from functools import cached_property, partial

from dicomweb.multipart import Part, encode_multipart, multipart_length
from store.forward.queue import PendingInstance

_PIECE_BYTES = 2**18
_PART_TYPE = "application/dicom"


class BatchBody:
    """The multipart body of some instances. It can be read several times.

    OSError if the bytes of an instance are not those that were accepted. `damaged` has these instances then.
    """

    def __init__(self, instances: Sequence[PendingInstance]) -> None:
        self._boundary = secrets.token_hex(24)
        self.damaged: set[PendingInstance] = set()
        self._parts = [self._part(one) for one in instances]

    @property
    def content_type(self) -> str:
        """The media type with its parameters."""
        return f'multipart/related; type="{_PART_TYPE}"; boundary={self._boundary}'

    @cached_property
    def length_bytes(self) -> int:
        """The number of bytes of all chunks."""
        return multipart_length(self._parts, self._boundary)

    @cached_property
    def sha256(self) -> str:
        """The digest of all chunks, in hexadecimal digits."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """The bytes, from the beginning."""
        return map(bytes, encode_multipart(self._parts, self._boundary))

    def _part(self, one: PendingInstance) -> Part:
        return Part(_PART_TYPE, "", one.instance.length_bytes, partial(self._read, one))

    def _read(self, one: PendingInstance) -> Iterator[bytes]:
        """The bytes of one instance. The last piece is given only if the digest of all is right."""
        left, digest = one.instance.length_bytes, hashlib.sha256()
        with one.entry.open_body() as file:  # one at a time: a batch may have the files of thousands of requests
            file.seek(one.instance.start)
            while left:
                piece = file.read(min(_PIECE_BYTES, left))
                left -= len(piece)
                digest.update(piece)
                if not piece or (not left and digest.hexdigest() != one.instance.sha256):
                    self.damaged.add(one)
                    raise OSError(errno.EIO, "a file of the spool is damaged")
                yield piece
