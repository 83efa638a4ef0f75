"""`python main.py link STUDY`: make a share link for one study."""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import closing

from app.auth.links import Links, weasis_command
from app.processes.resources import open_index_writer
from app.settings import Settings, SettingsError
from app.viewer_parts import viewer_folder
from db.share_links import SharedLink
from dicomweb.errors import BadRequest, ProxyError
from dicomweb.uids import resource_path
from index.writing.share_links import note_share_link

MADE_BY = "command line"
"""The user of links that this command makes."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the study, and `--hours`."""
    parser.add_argument("study", help="Study Instance UID")
    parser.add_argument("--hours", type=float, default=24, help="how long the link lasts (default: 24)")


def run(settings: Settings, options: Namespace) -> int:
    """Print the end of the link and its URLs."""
    print("\n".join(make_link(settings, options.study, options.hours)))
    return 0


def make_link(settings: Settings, study_instance_uid: str, hours: float) -> Iterator[str]:
    """The URLs of a share link that lasts 0 to 8784 hours; SettingsError if links cannot be made."""
    if not settings.link_secret:
        raise SettingsError("LINK_SECRET, which signs links, is not set")
    try:
        path, link = Links(settings.link_secret).issue(study_instance_uid, hours)
    except BadRequest as error:
        raise SettingsError(str(error)) from error
    noted = _noted(
        settings, SharedLink(Links.id_of(path), MADE_BY, link.study_instance_uid, int(time.time()), link.expires_at)
    )
    root = (settings.public_url or f"http://127.0.0.1:{settings.port}") + path
    yield f"until     {link.end}"
    yield f"DICOMweb  {root}"
    yield f"study     {root}{resource_path(link.study_instance_uid)}"
    if viewer_folder(settings.viewer_root):
        yield f"viewer    {root}/viewer"
    yield f"Weasis    weasis://{weasis_command(root, link.study_instance_uid)}"
    yield f"revoke    {noted}"


def _noted(settings: Settings, link: SharedLink) -> str:
    """Note the link where the console revokes it, if there is a login that writes to the index; words about it."""
    if not settings.may_write_index:
        return "by a new LINK_SECRET: there is no login that writes to the index, which could note the link"
    try:
        with closing(open_index_writer(settings, pool_size=1)) as writer:
            note_share_link(writer.session, link, time.time())
    except (ProxyError, SettingsError) as error:
        return f"by a new LINK_SECRET: the link could not be noted: {error}"
    return "in the console, page Access"
