"""Bodies that AHI never sends, and something between it and its clients might: what a fault answers with."""

import gzip
import json
from collections.abc import Callable, Mapping
from functools import cache

_LEVELS = 100_000
_BOMB_MEMBER_BYTES = 2**24
_BOMB_MEMBERS = 256

_WRONG_TYPES = {
    "versionId": {"1": []},
    "imageSetState": ["ACTIVE"],
    "isPrimary": "perhaps",
    "updatedAt": "yesterday",
    "Patient": [],
    "Study": {"DICOM": {"StudyInstanceUID": {}}, "Series": {"1.2": {"Instances": {"1.2.3": {"ImageFrames": [7]}}}}},
}


def _deep() -> bytes:
    """JSON of so many levels; the first names are those that metadata has."""
    return b'{"Study":' + b'{"DICOM":' * _LEVELS + b"{}" + b"}" * _LEVELS + b"}"


@cache
def _bomb() -> bytes:
    """Some megabytes of gzip that unpack to 4 GiB of blanks, which JSON allows at its start."""
    return gzip.compress(b" " * _BOMB_MEMBER_BYTES) * _BOMB_MEMBERS + gzip.compress(b"{}")


STRANGE: Mapping[str, Callable[[], bytes]] = {
    "html": lambda: b"<!DOCTYPE html><html><body>Sign in to the network</body></html>",
    "empty": lambda: b"",
    "list": lambda: b"[]",
    "object": lambda: b"{}",
    "wrong-types": lambda: json.dumps(_WRONG_TYPES).encode(),
    "deep": _deep,
    "deep-gzip": lambda: gzip.compress(_deep()),
    "bomb": _bomb,
}
"""A body by name."""
