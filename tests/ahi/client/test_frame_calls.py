"""Frame calls without boto3 equal those of boto3: URL, headers, and a signature that AWS would accept."""

import hashlib
import hmac
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from ahi.client.calls import AhiClient
from ahi.image_sets.image_set import ImageSetKey
from runtime.timing import start_timing
from tests.authority import Authority

KEY = ImageSetKey("d" * 32, "1" * 32)
ODD = ImageSetKey("d" * 32, "../odd id?x=1")
ACCESS_KEY, SECRET_KEY, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a/session+token=="
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Listener(ThreadingHTTPServer):
    """Answers every call with a frame, and keeps what was asked; `last` closes each connection after its answer."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.clients: set[tuple[str, int]] = set()
        self.last = False
        self.scheme = "https" if context else "http"
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        self.server.clients.add(self.client_address)
        self.send_response(200)
        self.send_header("Content-Length", "5")
        if self.server.last:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"frame")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[Listener]:
    listener = Listener(context)
    thread = Thread(target=listener.serve_forever)
    thread.start()
    yield listener
    listener.shutdown()
    thread.join()
    listener.server_close()


@contextmanager
def asking(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[AhiClient]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    client = AhiClient(region="eu-west-1", deadline_seconds=3)
    yield client
    client.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as made:
        yield made


@pytest.fixture
def client(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Iterator[AhiClient]:
    with asking(listener.url, monkeypatch) as made:
        yield made


def signature(path: str, headers: dict[str, str], body: bytes) -> str:
    """That of AWS Signature Version 4, as its documentation has it, over the headers that were signed."""
    found = re.search(
        r"Credential=\w+/(\d{8})/(.+?)/(.+?)/aws4_request, SignedHeaders=([^,]+)", headers["authorization"]
    )
    assert found
    date, region, service, names = found.groups()
    canonical_headers = "".join(f"{name}:{headers[name].strip()}\n" for name in names.split(";"))
    payload = hashlib.sha256(body).hexdigest()
    canonical = "\n".join(["POST", path.replace("%", "%25"), "", canonical_headers, names, payload])
    scope = f"{date}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, digest])
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize("key", [KEY, ODD])
def test_both_ways_ask_the_same_and_are_signed(listener: Listener, client: AhiClient, key: ImageSetKey) -> None:
    start_timing().traceparent = TRACEPARENT
    assert [client.image_frame(key, "f" * 32) for _ in range(2)] == [b"frame"] * 2
    start_timing()
    (path, headers, body), (short_path, short_headers, short_body) = listener.asked
    assert (short_path, short_body) == (path, body)
    changing = {
        "authorization",
        "x-amz-date",
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "accept-encoding",
        "user-agent",
    }
    assert {*short_headers} <= {*headers}
    same = {*headers} & {*short_headers} - changing
    assert {name: headers[name] for name in same} == {name: short_headers[name] for name in same}
    assert {"x-amz-security-token", "content-type", "host", "traceparent", "content-length"} <= same
    assert "ahi-dicomweb-proxy" in short_headers["user-agent"]
    for _, sent, _ in listener.asked:
        assert sent["authorization"].endswith(signature(path, sent, body))
        assert "/eu-west-1/medical-imaging/" in sent["authorization"]


def test_a_connection_is_used_again_unless_it_was_closed(listener: Listener, client: AhiClient) -> None:
    for _ in range(5):
        client.image_frame(KEY, "f" * 32)
    assert len(listener.clients) == 2  # one of boto3's
    listener.last = True
    for _ in range(3):
        client.image_frame(KEY, "f" * 32)
    assert len(listener.clients) == 4
    assert len(listener.asked) == 8  # none was asked twice


def test_renewed_credentials_sign_what_follows(
    listener: Listener, client: AhiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.image_frame(KEY, "f" * 32)
    credentials = client._client._request_signer._credentials  # type: ignore[attr-defined]
    monkeypatch.setattr(credentials, "access_key", "AKIDRENEWED")
    client.image_frame(KEY, "f" * 32)
    used = [headers["authorization"].partition("/")[0] for _, headers, _ in listener.asked]
    assert used == [f"AWS4-HMAC-SHA256 Credential={name}" for name in (ACCESS_KEY, "AKIDRENEWED")]


def test_certificates_are_verified_by_what_boto3_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    certificate = authority.sign("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.path, certificate.key_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path))
    with listening(context) as listener, asking(listener.url, monkeypatch) as client:
        assert [client.image_frame(KEY, "f" * 32) for _ in range(3)] == [b"frame"] * 3
        assert len(listener.clients) == 2


def test_behind_a_proxy_boto3_makes_all_calls(
    listener: Listener, client: AhiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", listener.url)
    for _ in range(2):
        client.image_frame(KEY, "f" * 32)
    assert not client._frame_calls.is_ready
