"""The call that stores instances: AHI's STOW-RS service, which is in no SDK. Runs in the forwarder, and in `check`.

botocore has the credentials and their renewal, the connections, and the signature (AWS Signature Version 4). AHI
documents a literal value in place of the digest of the body. AWS's own samples sign the digest. So both can be chosen.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.httpsession import URLLib3Session, get_cert_path
from botocore.utils import get_environ_proxies

from ahi.client.boto3_client import USER_AGENT, trace_headers
from ahi.client.failures import CallError, can_be_retried, is_conflict, may_be_done
from ahi.client.retries import RetryingCaller
from dicomweb.errors import NotFound, UpstreamBroken, UpstreamBusy, UpstreamFailed
from runtime.heartbeat import Heartbeat
from runtime.outage import Outage
from runtime.shared_metrics import ProcessMetrics

OPERATION = "StoreDICOM"
MAX_BODY_BYTES = 10**9
"""The most bytes that AHI takes in one request."""

STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"

_SERVICE = "medical-imaging"
_CONNECT_SECONDS = 3.0
_READ_SECONDS = 600.0
_INSTANCE, _FAILURE, _WARNING = "00081155", "00081197", "00081196"
_STORED, _FAILED = "00081199", "00081198"
_NOT_TAKEN = (400, 406, 411, 413, 415)
_CODES = {409: "ConflictException", 429: "ThrottlingException", 503: "ServiceUnavailable"}


class OutcomeUnknown(UpstreamBroken):
    """AHI may have stored what was sent, or not: its answer did not come, or cannot be read."""


class StowBody(Protocol):
    """The body of a store request. It can be read several times."""

    @property
    def content_type(self) -> str:
        """The media type with its parameters."""

    @property
    def length_bytes(self) -> int:
        """The number of bytes of all chunks."""

    @property
    def sha256(self) -> str:
        """The digest of all chunks, in hexadecimal digits."""

    def chunks(self) -> Iterable[bytes]:
        """The bytes, from the beginning."""


@dataclass(frozen=True)
class StowAnswer:
    """The answer of AHI about the instances of a request, by SOP Instance UID. It may say nothing of some.

    `stored` has the warning reason of each stored instance, 0 without one. `failed` has the failure reason of each
    refused one, 0 without one. `not_taken` is the reason if AHI refuses the request as a whole for its content.
    """

    stored: Mapping[str, int]
    failed: Mapping[str, int]
    not_taken: str = ""


class StowClient:
    """Calls of the STOW-RS service. Safe to share between threads. Make it after a fork."""

    def __init__(
        self,
        *,
        region: str,
        endpoint: str | None = None,
        signs_body: bool = True,
        deadline_seconds: float = 30.0,
        read_seconds: float = _READ_SECONDS,
        max_connections: int = 8,
        process_metrics: ProcessMetrics | None = None,
        outage: Outage | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        """`endpoint` is the URL before `/datastore`, by default that of AHI in the region.

        With `signs_body` the digest of the body is signed. A call is retried until `deadline_seconds` after its begin.
        `read_seconds` bounds the wait for an answer.
        """
        self._endpoint = (endpoint or default_endpoint(region)).rstrip("/")
        self._region = region
        self._signs_body = signs_body
        self._deadline_seconds = deadline_seconds
        self._credentials = boto3.session.Session(region_name=region).get_credentials()
        options: dict[str, Any] = {  # its stubs have other types
            "verify": get_cert_path(True),
            "proxies": get_environ_proxies(self._endpoint),
            "timeout": (_CONNECT_SECONDS, read_seconds),
            "max_pool_connections": max_connections,
        }
        self._session = URLLib3Session(**options)
        self._caller = RetryingCaller(read_seconds, process_metrics, outage, heartbeat)

    def store(self, datastore_id: str, body: StowBody, *, may_be_stored: bool = False) -> StowAnswer:
        """Send instances to a data store.

        UpstreamBusy or UpstreamFailed if AHI has not stored them. OutcomeUnknown if it may have stored them: whoever
        sends them again makes another version of their image set. With `may_be_stored`, conflicts are not retried
        here: AHI may be storing what was sent before.
        """

        def is_retried(error: CallError) -> bool:
            return can_be_retried(error) and not may_be_done(error) and not (may_be_stored and is_conflict(error))

        def call() -> StowAnswer:
            return _parse(*self._exchange(f"{self._endpoint}/datastore/{datastore_id}/studies", body))

        try:
            return self._caller.call(OPERATION, call, self._deadline_seconds, is_retried)
        except NotFound as error:
            raise UpstreamFailed("AWS HealthImaging does not have the data store that instances go to") from error
        except UpstreamBusy as error:
            if isinstance(error.__cause__, CallError) and may_be_done(error.__cause__):
                raise OutcomeUnknown(str(error)) from error
            raise

    def _exchange(self, url: str, body: StowBody) -> tuple[int, Mapping[str, str], bytes]:
        headers = {
            "Content-Type": body.content_type,
            "Content-Length": str(body.length_bytes),
            "Accept": "application/dicom+json",
            "User-Agent": USER_AGENT,
            **trace_headers(),
        }
        if self._signs_body:
            headers["X-Amz-Content-SHA256"] = body.sha256
        else:
            headers |= {"X-Amz-Content-SHA256": STREAMING, "X-Amz-Decoded-Content-Length": str(body.length_bytes)}
        request = AWSRequest("POST", url, headers)
        if self._credentials is None:
            raise NoCredentialsError
        SigV4Auth(self._credentials, _SERVICE, self._region).add_auth(request)
        prepared: Any = request.prepare()
        prepared.body = body.chunks()
        if "Content-Length" in prepared.headers:
            del prepared.headers["Content-Length"]  # that of no body
        prepared.headers["Content-Length"] = str(body.length_bytes)
        answer = self._session.send(prepared)
        return answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, answer.content


def default_endpoint(region: str) -> str:
    """The endpoint of AHI's DICOMweb services in a region."""
    return f"https://dicom-medical-imaging.{region}.amazonaws.com"


def _parse(status: int, headers: Mapping[str, str], content: bytes) -> StowAnswer:
    """Parse an answer. ClientError for an error of AHI; ValueError, TypeError or LookupError if it cannot be read."""
    kind = headers.get("x-amzn-errortype", "").partition(":")[0]
    if kind or status not in (200, 202, 409):
        code = kind or _CODES.get(status, str(status))
        if status in _NOT_TAKEN and code not in ("ExpiredTokenException", "ExpiredToken"):
            return StowAnswer({}, {}, not_taken=code)
        error: Any = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(error, OPERATION)
    document = json.loads(content)
    return StowAnswer(_reasons(document, _STORED, _WARNING), _reasons(document, _FAILED, _FAILURE))


def _reasons(document: Any, sequence: str, reason: str) -> dict[str, int]:
    """The reason of each item of a sequence, by SOP Instance UID; 0 for an item without one."""
    items = document.get(sequence, {}).get("Value", [])
    reasons = {}
    for item in items:
        uid, values = item[_INSTANCE]["Value"][0], item.get(reason, {}).get("Value", [0])
        if not isinstance(uid, str) or type(values[0]) is not int:
            raise TypeError("not the answer of a store request")
        reasons[uid] = values[0]
    return reasons
