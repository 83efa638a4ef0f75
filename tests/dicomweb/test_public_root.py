"""URLs that we hand out begin with the root under which the client knows us."""

import pytest

from dicomweb.errors import BadRequest
from dicomweb.public_root import PublicRoot

DIRECT = {"wsgi.url_scheme": "http", "SERVER_PORT": "8080", "SERVER_NAME": "node"}
PROXIED = {**DIRECT, "HTTP_X_FORWARDED_FOR": "10.0.0.1"}


@pytest.mark.parametrize(
    ("public_url", "environ", "expected"),
    [
        pytest.param(None, {**DIRECT, "HTTP_HOST": "h:8080"}, "http://h:8080/aetitle", id="Host as it is"),
        pytest.param(None, {**DIRECT, "HTTP_HOST": "h"}, "http://h:8080/aetitle", id="port forgotten by the client"),
        pytest.param(None, {**PROXIED, "HTTP_HOST": "h"}, "http://h/aetitle", id="behind a proxy the port is its own"),
        pytest.param(None, DIRECT, "http://node:8080/aetitle", id="no Host"),
        pytest.param(None, {**DIRECT, "HTTP_HOST": "[::1]:8080"}, "http://[::1]:8080/aetitle", id="IPv6"),
        pytest.param(None, {**DIRECT, "HTTP_HOST": "[::1]"}, "http://[::1]:8080/aetitle", id="IPv6 without port"),
        pytest.param(None, {**DIRECT, "SERVER_PORT": "80", "HTTP_HOST": "h"}, "http://h/aetitle", id="default port"),
        pytest.param(None, {**PROXIED, "HTTP_HOST": "h", "SCRIPT_NAME": "/pacs"}, "http://h/pacs/aetitle", id="prefix"),
        pytest.param("https://d.example/p", {**DIRECT, "HTTP_HOST": "h"}, "https://d.example/p/aetitle", id="path"),
        pytest.param("https://d.example/", {**DIRECT, "HTTP_HOST": "h"}, "https://d.example/aetitle", id="configured"),
    ],
)
def test_the_root_is_the_clients_view(public_url: str | None, environ: dict[str, str], expected: str) -> None:
    assert PublicRoot(public_url, "/aetitle").of(environ) == expected


@pytest.mark.parametrize(
    "host", ['a"b', "a b", "a/b", "<h>", "h:", "h:x", "h:1:2", "[::1", "[x]", "h\n", "é", "a@b", "h" * 300]
)
def test_what_is_no_host_is_in_no_url(host: str) -> None:
    """RFC 9112 Section 3.2: 400."""
    with pytest.raises(BadRequest, match="Host"):
        PublicRoot(None, "/aetitle").of({**DIRECT, "HTTP_HOST": host})
