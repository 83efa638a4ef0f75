"""A question to the running service, for the health checks of containers: an image needs no HTTP client for it."""

import http.client

from app.settings import Settings

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_PATIENCE_SECONDS = 4


def probe(settings: Settings, path: str = "/aetitle/live") -> str | None:
    """None if the service of these settings answers 200, else why not."""
    host = _ANY_ADDRESS.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{host} port {settings.port}: {error}"
    finally:
        connection.close()
    return None if status == http.client.OK else f"{path} answers {status}"
