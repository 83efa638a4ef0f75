"""Environment variables that are meant for the service and are none of its settings.

The environment is full of variables of others, so a name counts as meant for us only if it begins with a word that
nobody else uses, or is nearly one of ours whose right name is not set. Variables of the platform (AWS, systemd,
Kubernetes) never do.
"""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches

_OF_OURS = re.compile(
    r"(AHI|DATASTORE|IMAGE_SET|PART10|DCM4CHEE|DB_(TLS|SECRET|IAM|POOL|STATEMENT)|CACHE_M(AX|IN))_(?!PORT$)"
)

_OF_OTHERS = re.compile(
    r"(AWS|ECS|KUBERNETES|OTEL|PYTHON)_.*|.*_DIRECTORY"  # SDKs, and the folders that systemd names
    r"|.*_SERVICE_(HOST|PORT)(_.*)?|.*_PORT_\d+_(TCP|UDP)(_.*)?|.*_ENV_.*"  # services of Docker and Kubernetes
)
_LINKS = ("tcp://", "udp://")  # what they also say, of ports
_SHORTEST = 7  # PORT and HOST, AUTH and PREFIX: a letter more or less is another word
_NEAR = 0.85  # of difflib's ratio: two letters swapped or one missing; MY_DATABASE_URL is farther from DATABASE_URL


def suggestions(environ: Mapping[str, str], settings: Collection[str]) -> list[str]:
    """A line for each variable that must mean a setting, in the order of the environment."""
    return [
        f"{name} is no setting; is {meant} meant?"
        for name in environ
        if name not in settings
        and not environ[name].startswith(_LINKS)
        and (meant := _meant(name, settings))
        and not environ.get(meant)
    ]


def _meant(name: str, settings: Collection[str]) -> str | None:
    upper = name.upper()
    if _OF_OTHERS.fullmatch(upper) or len(name) < _SHORTEST:
        return None
    nearness = 0.0 if _OF_OURS.match(upper) else _NEAR
    return next(iter(get_close_matches(upper, settings, 1, nearness)), None)
