"""The root in URLs over a real socket: who may change it, and who not."""

import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from json import loads
from pathlib import Path
from typing import Any

import pytest

from tests.service.process import Service

SAID = {"X-Forwarded-Host": "d.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/pacs"}


@pytest.fixture(scope="module")
def behind(datastore_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that trusts proxies on loopback."""
    environment = {"DATASTORE_ROOT": str(datastore_root), "TRUSTED_PROXY": "10.0.0.0/8, 127.0.0.1"}
    service = Service(tmp_path_factory.mktemp("behind"), environment)
    yield service
    service.stop()


def ask(service: Service, headers: dict[str, str]) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request("GET", "/aetitle/studies?limit=1", headers=headers)
    answer = connection.getresponse()
    body = loads(answer.read())
    connection.close()
    return answer.status, body


def root(service: Service, headers: dict[str, str]) -> str:
    status, (study,) = ask(service, headers)
    assert status == 200
    url: str = study["00081190"]["Value"][0]
    return url.partition("/studies/")[0]


def test_a_trusted_proxy_says_how_the_client_came(behind: Service) -> None:
    assert root(behind, SAID) == "https://d.example/pacs/aetitle"
    assert root(behind, {"Forwarded": 'for="[2001:db8::1]";proto=https;host="d.example:8443"'}) == (
        "https://d.example:8443/aetitle"
    )
    assert root(behind, {"X-Forwarded-For": "6.6.6.6, 192.0.2.1", "X-Forwarded-Host": "evil, d.example"}) == (
        "http://d.example/aetitle"
    )
    assert root(behind, {"X-Forwarded-Proto": "x,y", "Forwarded": '",;='}) == behind.root
    behind.logs("from=192.0.2.1")


def test_a_client_cannot_say_so_itself(service: Service) -> None:
    assert root(service, SAID) == service.root
    assert root(service, {"Forwarded": "host=evil;proto=https"}) == service.root


def test_a_host_that_is_none_is_refused(service: Service) -> None:
    status, problem = ask(service, {"Host": 'x"},{"evil'})
    assert (status, problem["detail"]) == (400, "the Host header is not a host")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example"])
def test_a_page_that_gives_its_name_our_address_reads_nothing(service: Service, behind: Service, host: str) -> None:
    """DNS rebinding: a browser connects to 127.0.0.1 and sends the name of the page."""
    for one in (service, behind):
        headers = {"Host": host.format(port=one.port), "X-Forwarded-Host": "127.0.0.1"}
        status, problem = ask(one, headers)
        assert (status, problem["title"]) == (421, "Misdirected Request")
        assert "PUBLIC_URL" in problem["detail"]


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        ("http://evil.example", "127.0.0.1", b"421"),
        ("http://127.0.0.1", "evil.example", b"421"),
        ("HTTPS://evil.example:{port}", "localhost", b"421"),
        ("http://[2001:db8::1]", "localhost", b"421"),
        ("http://localhost:{port}", "127.0.0.1:{port}", b"200"),
        ("http://[::1]:{port}", "[::1]", b"200"),
    ],
)
def test_a_whole_url_names_a_host_as_well(service: Service, target: str, host: str, expected: bytes) -> None:
    with socket.create_connection(("127.0.0.1", service.port), 60) as connection:
        line = f"GET {target.format(port=service.port)}/aetitle/studies?limit=1 HTTP/1.1\r\n"
        connection.sendall(f"{line}Host: {host.format(port=service.port)}\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 " + expected


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "[::1]:{port}", "127.0.0.1:{port}"])
def test_names_of_this_machine_are_answered(service: Service, host: str) -> None:
    assert ask(service, {"Host": host.format(port=service.port)})[0] == 200
