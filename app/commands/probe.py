"""A question to the running service, for the health checks of containers: an image needs no HTTP client for it.

`python -m app.commands.probe` asks by the variables HOST and PORT alone. It is run every few seconds beside a
service that may need all processors, so it loads nothing that a question does not need.
"""

import http.client
import os
import sys

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_PATIENCE_SECONDS = 4


def probe(host: str, port: int, path: str = "/aetitle/live") -> str | None:
    """None if the service that listens there answers 200, else why not."""
    asked = _ANY_ADDRESS.get(host, host)
    connection = http.client.HTTPConnection(asked, port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{asked} port {port}: {error}"
    finally:
        connection.close()
    return None if status == http.client.OK else f"{path} answers {status}"


if __name__ == "__main__":
    sys.exit(probe(os.environ.get("HOST") or "0.0.0.0", int(os.environ.get("PORT") or 8080)))  # noqa: S104 - as Settings
