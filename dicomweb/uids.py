"""UIDs as they arrive in a URL, and as they are put into one.

AHI imports objects whose UIDs are no UIDs (warning B201): hash values, UUIDs, words with blanks, of up to 256
characters. Whoever finds one in a list opens it, so what may be such a name is looked for; where nothing is found under
it, it is ill-formed.
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
_NEVER = frozenset("/\\\ufffd")  # they part paths and values; or were no text

_LEVELS = ("studies", "series", "instances")


def is_well_formed(uid: str) -> bool:
    """Whether it has the form of a UID (PS3.5 Section 9.1).

    Leading zeros of a component are let through, since AHI does not mind them.
    """
    return len(uid) <= _LONGEST and _WELL_FORMED.match(uid) is not None


def parse_uid(text: str, name: str) -> str:
    """A UID, or what stored objects may have in its place: 1 to 256 printable characters, but slashes.

    Blanks may be within, and there has to be something else than dots. `name` is what the client calls it; BadRequest
    names it.
    """
    named = text.strip(". ") and text == text.strip()
    if not named or len(text) > _LONGEST_IMPORTED or not text.isprintable() or not _NEVER.isdisjoint(text):
        raise ill_formed(name)
    return text


def resource_path(study: str, series: str | None = None, instance: str | None = None) -> str:
    """The path of a study, series or instance below the service root, as it stands in a URL."""
    uids = zip(_LEVELS, (study, series, instance), strict=True)
    return "".join(f"/{level}/{quote(uid, safe='')}" for level, uid in uids if uid is not None)


def ill_formed(name: str) -> BadRequest:
    """The error for what is not a UID."""
    return BadRequest(f"{name} is not a UID: 1 to 64 digits and dots are expected")


def file_name(uid: str) -> str:
    """A name for a file or a folder on any system: the UID itself where it is well formed.

    Else what is harmless of it, 64 characters at most, and a digest of all of it: other UIDs, those that differ in case
    only too, have other names. It is never a reserved name, begins with a letter or a digit, and has no blanks.
    """
    if len(uid) <= _FILE_NAME and _WELL_FORMED.match(uid):
        return uid
    harmless = _UNSAFE.sub("_", uid)[:_FILE_NAME].strip("._-")
    digest = hashlib.sha256(uid.encode(errors="surrogatepass")).hexdigest()[:16]
    return f"{harmless or 'uid'}-{digest}"


def absent(what: str, *uids: str | None) -> ProxyError:
    """The error for what is not found under `uids`: NotFound, or BadRequest where one of them is not well formed."""
    if all(uid is None or is_well_formed(uid) for uid in uids):
        return NotFound(what)
    return ill_formed(f"{what}, and what names it")
