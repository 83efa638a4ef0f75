"""The size of data sets that are deflated as a whole (PS3.5 Section A.5), before pydicom inflates them.

A file of 3 MB can hold 3 GB, and pydicom inflates all of it at once even for the header.
"""

import zlib
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicomweb.pydicom_adapter import read_file_meta, skip_command_set

MOST_BYTES = 2**29
"""The largest inflated size of a data set in bytes."""

_BLOCK_BYTES = 2**18


def inflates_too_far(path: Path, most_bytes: int = MOST_BYTES) -> bool:
    """Whether a file has a deflated data set of more than so many inflated bytes.

    Errors of pydicom if the file is damaged.
    """
    with path.open("rb") as file:
        if read_file_meta(file).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return False
        skip_command_set(file)
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
