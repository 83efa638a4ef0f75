"""What an operator asks for on the command line: a new token, a link to a study."""

import time
from collections.abc import Iterator

from app.auth.bearer import new_token
from app.auth.links import PATH, Link, Links
from app.settings import Settings, SettingsError
from dicomweb.errors import BadRequest
from dicomweb.uids import parse_uid, resource_path


def make_token(name: str, groups: str) -> Iterator[str]:
    """A new static token, and the line for AUTH_TOKENS_FILE; SettingsError for a name that no line can hold."""
    if not name or ":" in name + groups:
        raise SettingsError("a name has at least one character, and neither name nor groups have a colon")
    token, line = new_token(name, groups)
    yield f"token, shown once:        {token}"
    yield f"line of AUTH_TOKENS_FILE: {line}"


def make_link(settings: Settings, study_instance_uid: str, hours: float) -> Iterator[str]:
    """The URLs of a share link for one study; SettingsError where links cannot be made."""
    if not settings.link_secret:
        raise SettingsError("LINK_SECRET is not set, which signs links")
    if not 0 < hours <= 24 * 366:
        raise SettingsError("--hours is not between 0 and 8784")
    try:
        study = parse_uid(study_instance_uid, "STUDY")
    except BadRequest as error:
        raise SettingsError(str(error)) from error
    expires_at = int(time.time() + hours * 3600)
    token = Links(settings.link_secret).token(Link(study, expires_at))
    root = (settings.public_url or f"http://127.0.0.1:{settings.port}") + PATH.replace("<link>", token)
    yield f"until     {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(expires_at))}"
    yield f"DICOMweb  {root}"
    yield f"study     {root}{resource_path(study)}"
    yield f'Weasis    weasis://$dicom:rs --url "{root}" -r "studyUID={study}"'
