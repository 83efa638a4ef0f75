"""Share links: a service root that shows one study for a limited time, without a login.

    https://host/link/TOKEN             a DICOMweb root for any viewer
    https://host/link/TOKEN/studies     finds that study and no other

The token holds the study and its end, signed with LINK_SECRET (HMAC-SHA256). A new secret ends all links.

The viewer of this service has no token in its URLs. A browser that opens a link there gets a cookie with the token, and
uses the root `/link/ID`. The ID is a hash of the token. Several links are open at once, each with its cookie.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from itsdangerous import BadData, URLSafeSerializer

from db.scope import Scope
from dicomweb.errors import BadRequest, NotFound, Unauthorized
from dicomweb.uids import parse_uid
from qido.image_sets.row_filters import parse_filter

PATH = "/link/<link>"
"""The root of a link, as a URL rule."""

SECRET_BYTES_AT_LEAST = 32
LONGEST_HOURS = 24 * 366
"""The longest time that a link may last."""

_SALT = "study link"
_ID = re.compile(r"[0-9a-f]{32}\Z")
_COOKIE = re.compile(r"(?:__Host-)?link-([0-9a-f]{32})\Z")


@dataclass(frozen=True)
class Link:
    """One study, and the end of the link in seconds since 1970."""

    study_instance_uid: str
    expires_at: int

    @property
    def end(self) -> str:
        """The end in words."""
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.expires_at))

    @property
    def scope(self) -> Scope:
        """The scope of the link: its study."""
        return Scope(None, (parse_filter("StudyInstanceUID", [self.study_instance_uid]),))


def link_id(token: str) -> str:
    """The ID of a link, which is no secret."""
    return hashlib.sha256(token.encode()).hexdigest()[:32]


def cookie_name(token: str, *, secure: bool) -> str:
    """The name of the cookie that holds a token; `secure` if the browser came by HTTPS."""
    return f"{'__Host-' if secure else ''}link-{link_id(token)}"


class Links:
    """Makes and reads tokens. A link that was revoked has ended."""

    def __init__(self, secret: str, is_revoked: Callable[[str], bool] = lambda _: False) -> None:
        """`is_revoked` tells it of a link by its ID."""
        self._is_revoked = is_revoked
        self._serializer = URLSafeSerializer(secret, _SALT, signer_kwargs={"digest_method": hashlib.sha256})

    def issue(self, study_instance_uid: str, hours: float) -> tuple[str, Link]:
        """Make a link that lasts so long from now: its root, and the link.

        BadRequest if the study is no UID, or if `hours` are not above 0 and up to LONGEST_HOURS.
        """
        if not 0 < hours <= LONGEST_HOURS:
            raise BadRequest(f"a link lasts 0 to {LONGEST_HOURS} hours")
        link = Link(parse_uid(study_instance_uid, "STUDY"), int(time.time() + hours * 3600))
        return PATH.replace("<link>", self.token(link)), link

    @staticmethod
    def id_of(root: str) -> str:
        """The ID of the link that has this root."""
        return link_id(root.removeprefix(PATH.partition("<")[0]))

    def token(self, link: Link) -> str:
        """Make the token of a link."""
        return str(self._serializer.dumps([link.study_instance_uid, link.expires_at]))

    def read(self, token: str) -> Link:
        """Read the link from a token; NotFound if the signature is wrong, or the link has ended."""
        try:
            link = Link(*self._serializer.loads(token))
        except (BadData, TypeError) as error:
            raise NotFound("no such link") from error
        if time.time() >= link.expires_at or self._is_revoked(link_id(token)):
            raise NotFound("the link has ended")
        return link

    def token_of(self, text: str, cookies: Mapping[str, str]) -> str:
        """The token that a path names: it is there, or in the cookie of the ID that is there.

        Unauthorized if there is no such cookie, or its link has ended: a page can tell that from a missing study.
        """
        if not _ID.match(text):
            return text
        for identifier, token, _ in self.opened(cookies):
            if identifier == text:
                return token
        raise Unauthorized("the link has ended, or this browser has not opened it")

    def opened(self, cookies: Mapping[str, str]) -> Iterator[tuple[str, str, Link]]:
        """The links that a browser has opened and that have not ended: ID, token and link."""
        for name, token in cookies.items():
            if (found := _COOKIE.match(name)) and found[1] == link_id(token):
                with suppress(NotFound):
                    yield found[1], token, self.read(token)


def weasis_command(root: str, study_instance_uid: str) -> str:
    """The command of Weasis that opens a study, as a person types it; the UID is well-formed."""
    return f'$dicom:rs --url "{root}" -r "studyUID={study_instance_uid}"'


def weasis_url(root: str, study_instance_uid: str) -> str:
    """The command of Weasis as a URL that a browser hands to it."""
    return f"weasis://{quote(weasis_command(root, study_instance_uid), safe='')}"
