"""`python main.py link STUDY`: make a share link for one study."""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from app.auth.links import PATH, Link, Links
from app.settings import Settings, SettingsError
from dicomweb.errors import BadRequest
from dicomweb.uids import parse_uid, resource_path


def add_arguments(parser: ArgumentParser) -> None:
    """Add the study, and `--hours`."""
    parser.add_argument("study", help="Study Instance UID")
    parser.add_argument("--hours", type=float, default=24)


def run(settings: Settings, options: Namespace) -> int:
    """Print the end of the link and its URLs."""
    print("\n".join(make_link(settings, options.study, options.hours)))
    return 0


def make_link(settings: Settings, study_instance_uid: str, hours: float) -> Iterator[str]:
    """The URLs of a share link that lasts 0 to 8784 hours; SettingsError if links cannot be made."""
    if not settings.link_secret:
        raise SettingsError("LINK_SECRET, which signs links, is not set")
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
    if settings.viewer_root:
        yield f"viewer    {root}/viewer"
    yield f'Weasis    weasis://$dicom:rs --url "{root}" -r "studyUID={study}"'
