"""The file of a spool entry: the body as it came in, the manifest behind it, and the length of the manifest at the end.

A file that breaks off anywhere has no such end, so it is no entry.
"""

import os
import struct
from pathlib import Path

_END = struct.Struct(">Q8s")
_MARK = b"\x89entry\r\n"
_LONGEST_MANIFEST = 2**28


def append_manifest(path: Path, manifest: bytes, *, sync: bool) -> None:
    """Make the file of an entry of a body; with `sync`, all of it is on disk afterwards. OSError."""
    with path.open("ab") as file:
        file.write(manifest + _END.pack(len(manifest), _MARK))
        file.flush()
        if sync:
            os.fsync(file.fileno())


def read_manifest(path: Path) -> tuple[bytes, int]:
    """The manifest in the file of an entry, and the size of the body before it; OSError, ValueError if it is none."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END) - _END.size
        if end < 0:
            raise ValueError("the file is too short")
        file.seek(end)
        length, mark = _END.unpack(file.read(_END.size))
        if mark != _MARK or length > min(end, _LONGEST_MANIFEST):
            raise ValueError("the file has no manifest")
        file.seek(end - length)
        return file.read(length), end - length
