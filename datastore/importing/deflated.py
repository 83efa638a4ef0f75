"""Data sets that are deflated as a whole (PS3.5 Section A.5) are measured before pydicom inflates them.

A file of 3 MB can hold 3 GB, and pydicom inflates all of it at once, also for a header.
"""

import zlib
from pathlib import Path
from typing import BinaryIO

from pydicom.filereader import _read_command_set_elements, _read_file_meta_info, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian

MOST_BYTES = 2**29
"""How many bytes a deflated data set may have when it is inflated."""

_BLOCK_BYTES = 2**18


def inflates_too_far(path: Path, most_bytes: int = MOST_BYTES) -> bool:
    """Whether a file has a deflated data set of more than so many bytes; what pydicom raises where it is no file."""
    with path.open("rb") as file:
        read_preamble(file, force=True)
        meta = _read_file_meta_info(file)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return False
        _read_command_set_elements(file)
        return _exceeds(file, most_bytes)


def _exceeds(file: BinaryIO, most_bytes: int) -> bool:
    inflater, inflated_bytes = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while block := inflater.unconsumed_tail or file.read(_BLOCK_BYTES):
        inflated_bytes += len(inflater.decompress(block, _BLOCK_BYTES))
        if inflated_bytes > most_bytes:
            return True
        if inflater.eof:
            return False
    return inflated_bytes + len(inflater.flush()) > most_bytes  # a few bytes that it still holds
