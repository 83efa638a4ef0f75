"""Share links: a service root that shows one study for a limited time, without a login.

    https://host/link/TOKEN             a DICOMweb root for any viewer
    https://host/link/TOKEN/studies     finds that study and no other

The token holds the study and its end, signed with LINK_SECRET (HMAC-SHA256). A new secret ends all links.
"""

import hashlib
import time
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer

from db.scope import Scope
from dicomweb.errors import NotFound
from qido.image_sets.row_filters import parse_filter

PATH = "/link/<link>"
"""The root of a link, as a URL rule."""

SECRET_BYTES_AT_LEAST = 32
_SALT = "study link"


@dataclass(frozen=True)
class Link:
    """One study, and the end of the link in seconds since 1970."""

    study_instance_uid: str
    expires_at: int

    @property
    def scope(self) -> Scope:
        """The scope of the link: its study."""
        return Scope(None, (parse_filter("StudyInstanceUID", [self.study_instance_uid]),))


class Links:
    """Makes and reads tokens."""

    def __init__(self, secret: str) -> None:
        self._serializer = URLSafeSerializer(secret, _SALT, signer_kwargs={"digest_method": hashlib.sha256})

    def token(self, link: Link) -> str:
        """Make the token of a link."""
        return str(self._serializer.dumps([link.study_instance_uid, link.expires_at]))

    def read(self, token: str) -> Link:
        """Read the link from a token; NotFound if the signature is wrong, or the link has ended."""
        try:
            link = Link(*self._serializer.loads(token))
        except (BadData, TypeError) as error:
            raise NotFound("no such link") from error
        if time.time() >= link.expires_at:
            raise NotFound("the link has ended")
        return link
