"""`python main.py link STUDY`: make a share link for one study."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from app.auth.links import Links, weasis_command
from app.settings import Settings, SettingsError
from dicomweb.errors import BadRequest
from dicomweb.uids import resource_path


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
    root = (settings.public_url or f"http://127.0.0.1:{settings.port}") + path
    yield f"until     {link.end}"
    yield f"DICOMweb  {root}"
    yield f"study     {root}{resource_path(link.study_instance_uid)}"
    if settings.viewer_root:
        yield f"viewer    {root}/viewer"
    yield f"Weasis    weasis://{weasis_command(root, link.study_instance_uid)}"
