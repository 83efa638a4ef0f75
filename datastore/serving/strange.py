"""Bodies for faults: AHI never sends them, but a proxy in between might."""

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
    """JSON nested very deep, which begins like metadata."""
    return b'{"Study":' + b'{"DICOM":' * _LEVELS + b"{}" + b"}" * _LEVELS + b"}"


@cache
def _bomb() -> bytes:
    """Some megabytes of gzip that unpack to 4 GiB of blanks before an empty object."""
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
"""The bodies by name."""
