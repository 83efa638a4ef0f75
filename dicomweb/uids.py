"""UIDs in URLs and file names.

AHI imports objects with malformed UIDs (warning B201): hash values, UUIDs, words with blanks, of up to 256 characters.
They can be retrieved. So malformed UIDs are looked up, and are an error only if nothing is found.
"""

import hashlib
import re
from urllib.parse import quote

from dicomweb.errors import BadRequest, NotFound, ProxyError

_LONGEST = 64
_LONGEST_IMPORTED = 256
_WELL_FORMED = re.compile(r"[0-9]+(\.[0-9]+)*\Z")
_FILE_NAME = 64
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NEVER = frozenset("/\\\ufffd")  # separators of paths and values, and bytes that are not text

_LEVELS = ("studies", "series", "instances")


def is_well_formed(uid: str) -> bool:
    """Whether it has the form of a UID (PS3.5 Section 9.1). Leading zeros of a component are allowed, as in AHI."""
    return len(uid) <= _LONGEST and _WELL_FORMED.match(uid) is not None


def parse_uid(text: str, name: str) -> str:
    """Check a UID, well-formed or not: 1 to 256 printable characters without slashes and backslashes.

    Blanks are allowed within it, and dots alone are not enough. `name` is its name for the client, for BadRequest.
    """
    named = text.strip(". ") and text == text.strip()
    if not named or len(text) > _LONGEST_IMPORTED or not text.isprintable() or not _NEVER.isdisjoint(text):
        raise ill_formed(name)
    return text


def resource_path(study: str, series: str | None = None, instance: str | None = None) -> str:
    """The path of a study, series or instance below the service root, percent-encoded."""
    uids = zip(_LEVELS, (study, series, instance), strict=True)
    return "".join(f"/{level}/{quote(uid, safe='')}" for level, uid in uids if uid is not None)


def ill_formed(name: str) -> BadRequest:
    """The error for a text that is not a UID."""
    return BadRequest(f"{name} is not a UID: 1 to 64 digits and dots are expected")


def file_name(uid: str) -> str:
    """A name for a file or a folder on any system: the UID itself if it is well-formed.

    Otherwise its safe characters, 64 at most, and a digest of the whole UID, so that UIDs that differ in case only have
    different names. The name is never reserved, begins with a letter or a digit, and has no blanks.
    """
    if len(uid) <= _FILE_NAME and _WELL_FORMED.match(uid):
        return uid
    harmless = _UNSAFE.sub("_", uid)[:_FILE_NAME].strip("._-")
    digest = hashlib.sha256(uid.encode(errors="surrogatepass")).hexdigest()[:16]
    return f"{harmless or 'uid'}-{digest}"


def absent(what: str, *uids: str | None) -> ProxyError:
    """The error if nothing is found under `uids`: NotFound, or BadRequest if one of them is malformed."""
    if all(uid is None or is_well_formed(uid) for uid in uids):
        return NotFound(what)
    return ill_formed(f"{what}, and what names it")
