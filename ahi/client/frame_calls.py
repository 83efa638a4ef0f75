"""Calls of GetImageFrame without most of boto3, which would take most of their time. Runs in the FrameFetchers.

boto3 makes the first call, which tells the URL, the headers and the signer. Later calls differ only in the identifiers.
botocore still has the credentials and their renewal, signs the requests (AWS Signature Version 4) and parses errors.
The standard library makes the connections. Behind a proxy, or with another kind of signature, boto3 makes all calls.
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
    """The parts of a request that do not depend on the frame. `endpoint` is the URL before the path."""

    endpoint: str
    headers: Mapping[str, str]
    signer: Callable[[], Any]


class FrameCalls:
    """The calls of a boto3 client, after its first one. Safe to share between threads."""

    def __init__(self, client: Any, max_connections: int, read_seconds: float) -> None:
        """`read_seconds` bounds the wait for the next bytes of an answer."""
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
    def is_ready(self) -> bool:
        """Whether the first call has been made by boto3."""
        return self._template is not None

    def frame(self, key: ImageSetKey, frame_id: str, headers: Mapping[str, str]) -> bytes:
        """Fetch the stored bytes of a frame. `headers` are added to the request. Errors are those of botocore."""
        template = self._template
        assert template is not None  # noqa: S101 - the caller has checked `is_ready`
        url = template.endpoint + _path(key)
        body = json.dumps({"imageFrameId": frame_id}).encode()
        request = AWSRequest("POST", url, {**template.headers, **headers}, body)
        template.signer().add_auth(request)
        status, answer_headers, content = self._exchange(url, dict(request.headers.items()), body)
        if status == http.HTTPStatus.OK:
            return content
        answer = {"status_code": status, "headers": answer_headers, "body": content}
        parsed = self._parser.parse(answer, self._shape)
        raise self._errors.from_code(parsed["Error"]["Code"])(parsed, OPERATION)

    def close(self) -> None:
        """Close all idle connections."""
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _learn(self, request: Any, request_signer: Any, **signing: Any) -> None:
        """Take the template from a call of boto3. botocore calls this before it signs the call."""
        endpoint, has_path, _ = request.url.partition("/datastore/")
        is_supported = signing["signature_version"] == "v4" and not get_environ_proxies(request.url)
        if self._template or not (has_path and is_supported):
            return
        names = signing["signing_name"], signing["region_name"], signing["signature_version"]
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        if endpoint.startswith("https:"):
            self._secure = ssl.create_default_context(cafile=_ca_file())
        self._template = RequestTemplate(endpoint, headers, lambda: request_signer.get_auth_instance(*names))

    def _exchange(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        connection = self._connection(url)
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
        self._release(connection)
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def _connection(self, url: str) -> http.client.HTTPConnection:
        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                break
            if connection.sock and not _has_ended(connection.sock):
                return connection
            connection.close()
        host = urlsplit(url).netloc
        connection = (
            http.client.HTTPSConnection(host, timeout=_CONNECT_SECONDS, context=self._secure)
            if self._secure
            else http.client.HTTPConnection(host, timeout=_CONNECT_SECONDS)
        )
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise EndpointConnectionError(endpoint_url=url, error=error) from error
        connection.sock.settimeout(self._read_seconds)
        return connection

    def _release(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection for the next call, unless the server has closed it after its answer."""
        try:
            if connection.sock:
                self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()


def _path(key: ImageSetKey) -> str:
    """The path of the call. Other identifiers than letters and digits come from a damaged index; AHI refuses them."""
    return f"/datastore/{_quoted(key.datastore_id)}/imageSet/{_quoted(key.image_set_id)}/getImageFrame"


def _quoted(identifier: str) -> str:
    return identifier if identifier.isascii() and identifier.isalnum() else quote(identifier, safe="-._~")


def _has_ended(sock: Any) -> bool:
    """Whether the server has closed an idle connection: only then is there something to read."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _ca_file() -> str:
    """The path of the file of authorities that botocore trusts."""
    configured = botocore.session.get_session().get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    return str(configured or get_cert_path(True))
