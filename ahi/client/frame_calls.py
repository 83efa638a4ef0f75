"""GetImageFrame on a short way: a call that is made for each frame, and of which boto3 takes most of the time.

boto3 makes the first call and shows how: where to, with which headers, signed by whom. Those that follow differ in the
identifiers alone. Credentials, their renewal, the signature (AWS Signature Version 4) and what errors mean stay
botocore's; the connection is the standard library's. Behind a proxy, or where the signature is another one, boto3 makes
all calls.
"""

import http.client
import json
import os
import queue
import select
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, ReadTimeoutError
from botocore.httpsession import get_cert_path
from botocore.parsers import create_parser
from botocore.utils import get_environ_proxies

from ahi.image_sets.image_set import ImageSetKey

OPERATION = "GetImageFrame"

_CONNECT_SECONDS = 3.0
_HOP_BY_HOP = ("host", "content-length", "authorization", "x-amz-date", "x-amz-security-token", "traceparent")


@dataclass(frozen=True)
class RequestTemplate:
    """How boto3 makes the call, but for the identifiers: the URL before the path, headers, and who signs."""

    endpoint: str
    headers: Mapping[str, str]
    signer: Callable[[], Any]


class FrameCalls:
    """The calls of a client, once it has shown how. Safe to share between threads."""

    def __init__(self, client: Any, max_connections: int, read_seconds: float) -> None:
        """`read_seconds` is how long an answer may let us wait for its next bytes."""
        self._template: RequestTemplate | None = None
        self._read_seconds = read_seconds
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue(max_connections)
        self._secure: ssl.SSLContext | None = None
        self._errors = client.exceptions
        self._parser = create_parser(client.meta.service_model.metadata["protocol"])
        self._shape = client.meta.service_model.operation_model(OPERATION).output_shape
        if not client.meta.config.proxies:
            client.meta.events.register(f"before-sign.medical-imaging.{OPERATION}", self._learn)

    @property
    def known(self) -> bool:
        """Whether calls can be made here."""
        return self._template is not None

    def frame(self, key: ImageSetKey, frame_id: str, more: Mapping[str, str]) -> bytes:
        """The stored bytes of a frame; `more` are further headers. Errors are those of botocore."""
        template = self._template
        assert template is not None  # noqa: S101 - `known` was asked
        url = template.endpoint + _path(key)
        body = json.dumps({"imageFrameId": frame_id}).encode()
        request = AWSRequest("POST", url, {**template.headers, **more}, body)
        template.signer().add_auth(request)
        status, headers, content = self._exchange(url, dict(request.headers.items()), body)
        if status == http.HTTPStatus.OK:
            return content
        answer = {"status_code": status, "headers": headers, "body": content}
        found = self._parser.parse(answer, self._shape)
        raise self._errors.from_code(found["Error"]["Code"])(found, OPERATION)

    def close(self) -> None:
        """Give up all connections."""
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _learn(self, request: Any, request_signer: Any, **signing: Any) -> None:
        """Called by botocore before it signs a call."""
        endpoint, found, _ = request.url.partition("/datastore/")
        short = signing["signature_version"] == "v4" and not get_environ_proxies(request.url)
        if self._template or not (found and short):
            return
        names = signing["signing_name"], signing["region_name"], signing["signature_version"]
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        if endpoint.startswith("https:"):
            self._secure = ssl.create_default_context(cafile=_authorities())
        self._template = RequestTemplate(endpoint, headers, lambda: request_signer.get_auth_instance(*names))

    def _exchange(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        connection = self._connected(url)
        try:
            connection.request("POST", urlsplit(url).path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except TimeoutError as error:
            connection.close()
            raise ReadTimeoutError(endpoint_url=url, error=error) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ConnectionClosedError(endpoint_url=url, error=error) from error
        self._give_back(connection)
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def _connected(self, url: str) -> http.client.HTTPConnection:
        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                break
            if connection.sock and not _has_ended(connection.sock):
                return connection
            connection.close()
        host = urlsplit(url).netloc
        made = (
            http.client.HTTPSConnection(host, timeout=_CONNECT_SECONDS, context=self._secure)
            if self._secure
            else http.client.HTTPConnection(host, timeout=_CONNECT_SECONDS)
        )
        try:
            made.connect()
        except OSError as error:
            made.close()
            raise EndpointConnectionError(endpoint_url=url, error=error) from error
        made.sock.settimeout(self._read_seconds)
        return made

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        """An answer that was the last of its connection has closed it."""
        try:
            if connection.sock:
                self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()


def _path(key: ImageSetKey) -> str:
    """Identifiers are letters and digits; what is not comes from a damaged index, and AHI says so."""
    return f"/datastore/{_quoted(key.datastore_id)}/imageSet/{_quoted(key.image_set_id)}/getImageFrame"


def _quoted(identifier: str) -> str:
    return identifier if identifier.isascii() and identifier.isalnum() else quote(identifier, safe="-._~")


def _has_ended(sock: Any) -> bool:
    """Whether the other side has closed an idle connection, on which nothing is to come."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _authorities() -> str:
    """The file of the authorities that botocore trusts."""
    chosen = botocore.session.get_session().get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    return str(chosen or get_cert_path(True))
