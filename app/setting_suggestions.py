"""Misspelt settings among the environment variables. Runs in every process that reads the settings.

Most variables belong to other programs. A name counts as a misspelt setting in two cases: it begins with a word that
only our settings use, or it is nearly the name of a setting that is not set. Variables of the platform (AWS, systemd,
Kubernetes) never count.
"""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches

_OF_OURS = re.compile(
    r"(AHI|DATASTORE|IMAGE_SET|PART10|DCM4CHEE|DB_(TLS|SECRET|IAM|POOL|STATEMENT)|INDEX_(WRITE|EVENTS)|CACHE_M(AX|IN))_(?!PORT$)"
)

_OF_OTHERS = re.compile(
    r"(AWS|ECS|KUBERNETES|OTEL|PYTHON)_.*|.*_DIRECTORY"  # SDKs, and the folders that systemd names
    r"|.*_SERVICE_(HOST|PORT)(_.*)?|.*_PORT_\d+_(TCP|UDP)(_.*)?|.*_ENV_.*"  # services of Docker and Kubernetes
)
_LINKS = ("tcp://", "udp://")  # values of ports of linked services
_SHORTEST = 7  # shorter names, such as PORT, are too near to other words
_NEAR = 0.85  # of difflib's ratio: two letters swapped or one missing; MY_DATABASE_URL is farther from DATABASE_URL


def suggestions(environ: Mapping[str, str], settings: Collection[str]) -> list[str]:
    """One line for each misspelt setting, in the order of the environment."""
    return [
        f"{name} is no setting; is {meant} meant?"
        for name in environ
        if name not in settings
        and not environ[name].startswith(_LINKS)
        and (meant := _meant_setting(name, settings))
        and not environ.get(meant)
    ]


def _meant_setting(name: str, settings: Collection[str]) -> str | None:
    upper = name.upper()
    if _OF_OTHERS.fullmatch(upper) or len(name) < _SHORTEST:
        return None
    nearness = 0.0 if _OF_OURS.match(upper) else _NEAR
    return next(iter(get_close_matches(upper, settings, 1, nearness)), None)
