"""`python main.py probe`: ask the running service whether it lives, for the health checks of containers.

`python -m app.commands.probe` does the same with the variables HOST and PORT alone. It runs every few seconds beside a
service that may need all processors, so it imports nothing that it does not need.
"""

import http.client
import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace

    from app.settings import Settings

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_PATIENCE_SECONDS = 4


def run(settings: "Settings", _: "Namespace") -> int:
    """Print why the service does not live; the exit status is 1 then, else 0."""
    problem = probe(settings.host, settings.port)
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


def probe(host: str, port: int, path: str = "/aetitle/live") -> str | None:
    """None if the service that listens there answers 200, else the reason."""
    address = _ANY_ADDRESS.get(host, host)
    try:
        with closing(http.client.HTTPConnection(address, port, timeout=_PATIENCE_SECONDS)) as connection:
            connection.request("GET", path)
            status = connection.getresponse().status
    except (OSError, UnicodeError, http.client.HTTPException) as error:  # the last two for names that no host has
        return f"{address} port {port}: {error}"
    return None if status == http.client.OK else f"{path} answers {status}"


def _main() -> str | None:
    """As `probe`, with HOST and PORT read as Settings reads them."""
    host, port = (os.environ.get(name, "").strip() for name in ("HOST", "PORT"))
    if not (port or "8080").isdecimal():
        return "PORT is not a whole number"
    return probe(host or "0.0.0.0", int(port or 8080))  # noqa: S104 - the default of Settings


if __name__ == "__main__":
    sys.exit(_main())
