"""DICOM UIDs as they arrive in a URL."""

import re

from dicomweb.errors import BadRequest

_UID = re.compile(r"[0-9.]{1,64}\Z")


def parse_uid(text: str, name: str) -> str:
    """A UID: 1 to 64 digits and dots (PS3.5 Section 9.1); `name` is what the client calls it.

    Leading zeros of a component are let through, since AHI imports them.
    """
    if not _UID.match(text) or text.startswith(".") or text.endswith(".") or ".." in text:
        raise BadRequest(f"{name} is not a UID: 1 to 64 digits and dots are expected")
    return text
