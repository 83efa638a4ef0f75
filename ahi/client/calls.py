"""AWS HealthImaging over boto3: the calls of a reader, retried within a deadline, its errors in our words."""

import logging
import math
import random
import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
)
from botocore.parsers import ResponseParserError

from ahi.client.frame_calls import FrameCalls
from ahi.client.searches import AT_ONCE
from ahi.image_sets.image_set import METADATA_BYTES, ImageSetKey, ImageSetProperties, check_metadata_bound
from dicomweb.errors import (
    BadRequest,
    NotAcceptable,
    NotFound,
    ProxyError,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
)
from runtime.heartbeat import Heartbeat
from runtime.outage import Outage
from runtime.shared_metrics import Metric, ProcessMetrics
from runtime.timing import current_timing, measured

if TYPE_CHECKING:
    from mypy_boto3_medical_imaging import HealthImagingClient

log = logging.getLogger(__name__)
T = TypeVar("T")

_RETRIED = frozenset(
    {
        "ThrottlingException",
        "TooManyRequestsException",
        "ConflictException",
        "InternalServerException",
        "InternalServerError",
        "InternalFailure",
        "ServiceUnavailable",
        "ServiceUnavailableException",
    }
)
"""Errors that pass by themselves. A conflict is one: metadata of a fresh import is not ready yet."""

_THROTTLED = frozenset({"ThrottlingException", "TooManyRequestsException"})

_COUNTED = {
    "GetImageSet": Metric.AHI_GET_IMAGE_SET,
    "GetImageSetMetadata": Metric.AHI_GET_IMAGE_SET_METADATA,
    "GetImageFrame": Metric.AHI_GET_IMAGE_FRAME,
    "SearchImageSets": Metric.AHI_SEARCH_IMAGE_SETS,
}

_USER_AGENT = f"ahi-dicomweb-proxy Boto3/{boto3.__version__} Botocore/{botocore.__version__}"

_UNUSABLE = (
    ResponseParserError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What botocore and we raise on an answer of another shape: its parser trusts that services keep to their model."""

_VERSION = re.compile(r"[0-9]{1,20}", re.ASCII)
_PIECE_BYTES = 2**20
_SEARCH_SECONDS = 5.0  # as a rule, somebody waits who has most of a study already
_IMAGE_SET_ID = re.compile(r"[0-9a-z]{32}", re.ASCII)
_MOST_PAGES = 40
"""Of SearchImageSets for one study: 2,000 image sets."""

_DELAYS_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.0)

_MEANING: dict[str, Callable[[str], ProxyError]] = {
    "ResourceNotFoundException": NotFound,
    "ValidationException": NotFound,  # an identifier from the index that AHI finds ill-formed
    "BadRequestException": BadRequest,
    "NotAcceptableException": NotAcceptable,
    "ServiceQuotaExceededException": UpstreamBusy,
    "AccessDeniedException": UpstreamFailed,
    "ExpiredTokenException": UpstreamRefused,
    "ExpiredToken": UpstreamRefused,
    "UnrecognizedClientException": UpstreamRefused,
    "UnknownOperationException": UpstreamRefused,
}


class AhiClient:
    """The calls a read-only proxy makes. Safe to share between threads; make it after a fork, not before.

    A call is given up `deadline_seconds` after it began, retries included, and then is UpstreamBusy.
    """

    def __init__(
        self,
        *,
        region: str,
        max_connections: int = 32,
        deadline_seconds: float = 10,
        process_metrics: ProcessMetrics | None = None,
        outage: Outage | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        """`outage` is told when AHI goes and comes back, and may be shared by processes; `heartbeat` of each call."""
        self._outage = outage or Outage("AHI")
        self._deadline_seconds = deadline_seconds
        self._process_metrics = process_metrics or ProcessMetrics.alone()
        self._heartbeat = heartbeat or Heartbeat()
        self._client = _boto3_client(
            region,
            Config(
                max_pool_connections=max_connections,
                connect_timeout=3,
                read_timeout=deadline_seconds,
                retries={"total_max_attempts": 1},  # ours know the deadline, and that a conflict passes
                parameter_validation=False,  # identifiers are AHI's own; AHI says if one is ill-formed
                user_agent=_USER_AGENT,  # botocore's own is put together anew for each call, which takes a tenth of it
            ),
        )

        self._frame_calls = FrameCalls(self._client, max_connections, deadline_seconds)

    def image_set_metadata(self, key: ImageSetKey, version: str, max_bytes: int = METADATA_BYTES) -> bytes:
        """The metadata of one version, as gzip or as plain JSON; UpstreamFailed where it has more than `max_bytes`."""

        def call() -> bytes:
            answer = self._client.get_image_set_metadata(
                datastoreId=key.datastore_id, imageSetId=key.image_set_id, versionId=version
            )
            pieces, size_bytes = [], 0
            for piece in answer["imageSetMetadataBlob"].iter_chunks(_PIECE_BYTES):
                pieces.append(piece)
                size_bytes += len(piece)
                check_metadata_bound(size_bytes, max_bytes)
            return b"".join(pieces)

        return self._retried("GetImageSetMetadata", call)

    def image_set(
        self, key: ImageSetKey, version: str | None = None, patience_seconds: float | None = None
    ) -> ImageSetProperties:
        """The properties of one version, by default the latest.

        `patience_seconds` bounds how long it is tried again, if that is to be less than the deadline.
        """
        chosen = {"versionId": version} if version else {}

        def call() -> ImageSetProperties:
            answer: Any = self._client.get_image_set(
                datastoreId=key.datastore_id, imageSetId=key.image_set_id, **chosen
            )
            return _properties(answer)

        return self._retried("GetImageSet", call, patience_seconds)

    def image_frame(self, key: ImageSetKey, frame_id: str) -> bytes:
        """The stored bytes of a frame."""

        def call() -> bytes:
            if self._frame_calls.known:
                return self._frame_calls.frame(key, frame_id, _trace())
            answer = self._client.get_image_frame(
                datastoreId=key.datastore_id,
                imageSetId=key.image_set_id,
                imageFrameInformation={"imageFrameId": frame_id},
            )
            return answer["imageFrameBlob"].read()

        return self._retried("GetImageFrame", call)

    def search_study(self, datastore_id: str, study_instance_uid: str) -> list[ImageSetKey]:
        """The image sets of a study in a data store, as SearchImageSets finds them; NotFound without that data store.

        2,000 at most; UpstreamFailed where the right to the call is missing.
        """
        equal: Any = {"operator": "EQUAL", "values": [{"DICOMStudyInstanceUID": study_instance_uid}]}
        give_up = time.monotonic() + min(self._deadline_seconds, _SEARCH_SECONDS)

        def call(token: str | None) -> tuple[list[ImageSetKey], str | None]:
            page: Any = {"nextToken": token} if token else {}
            answer: Any = self._client.search_image_sets(
                datastoreId=datastore_id, searchCriteria={"filters": [equal]}, maxResults=AT_ONCE, **page
            )
            return _summaries(datastore_id, answer)

        found: list[ImageSetKey] = []
        token: str | None = None
        for page in range(_MOST_PAGES):
            patience_seconds = give_up - time.monotonic()
            if page and patience_seconds < 0:
                raise UpstreamBusy("AWS HealthImaging does not answer at the moment")
            more, token = self._retried("SearchImageSets", partial(call, token), patience_seconds)
            found += more
            if not token:
                break
        return found

    def ping(self, datastore_id: str | None) -> float | None:
        """AHI's clock (seconds since 1970, if it says) if it answers us, else UpstreamBusy or UpstreamFailed.

        Not retried.
        """
        answer: Any
        try:
            if datastore_id:
                answer = self._client.get_datastore(datastoreId=datastore_id)
            else:
                answer = self._client.list_datastores(maxResults=1)
        except ClientError as error:
            answer = error.response
            code = error.response["Error"]["Code"]
            if code != "AccessDeniedException":  # it knows us; reading image sets needs no right to this call
                raise self._translated("GetDatastore", error) from error
        except BotoCoreError as error:
            raise self._translated("GetDatastore", error) from error
        except _UNUSABLE as error:
            raise self._translated("GetDatastore", UnreadableAnswer()) from error
        self._outage.is_over()
        date = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
        try:
            return parsedate_to_datetime(date).timestamp() if date else None
        except ValueError:
            return None

    def close(self) -> None:
        """Give up all connections."""
        self._client.close()
        self._frame_calls.close()

    def _retried(self, operation: str, call: Callable[[], T], patience_seconds: float | None = None) -> T:
        give_up = time.monotonic() + (self._deadline_seconds if patience_seconds is None else patience_seconds)
        delays = iter(_DELAYS_SECONDS)
        while True:
            self._process_metrics.add(_COUNTED[operation])
            try:
                with measured("ahi", operation), self._heartbeat.expecting(self._deadline_seconds):
                    answer = _usable(call)
            except (ClientError, BotoCoreError) as error:
                if _code(error) in _THROTTLED:
                    self._process_metrics.add(Metric.AHI_THROTTLES)
                pause = next(delays, math.inf) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
                if not _passes(error) or time.monotonic() + pause > give_up:
                    raise self._translated(operation, error) from error
                self._process_metrics.add(Metric.AHI_RETRIES)
                log.debug("AHI call retried operation=%s error=%s", operation, _code(error))
            else:
                self._outage.is_over()
                return answer
            time.sleep(pause)

    def _translated(self, operation: str, error: ClientError | BotoCoreError) -> ProxyError:
        code = _code(error)
        if _is_away(error):
            self._outage.begins(code)
        elif isinstance(error, ClientError):  # to refuse is to answer
            self._outage.is_over()
        if isinstance(error, UnreadableAnswer):
            return UpstreamBroken(f"AWS HealthImaging answered {operation} with something that cannot be used")
        if _passes(error):
            if not _is_away(error):
                log.error("AHI busy operation=%s error=%s", operation, code)
            broken = isinstance(error, ClientError) and _is_away(error)
            return (UpstreamBroken if broken else UpstreamBusy)("AWS HealthImaging does not answer at the moment")
        meaning = _MEANING.get(code, UpstreamFailed)
        if meaning is NotFound:
            return NotFound("AWS HealthImaging does not have it any more")
        log.error("AHI refused operation=%s error=%s", operation, code)
        if isinstance(error, NoCredentialsError):
            return UpstreamRefused("the service has no AWS credentials")
        return meaning(f"AWS HealthImaging refused {operation}: {code}")


class UnreadableAnswer(BotoCoreError):
    """AHI, or who answers in its place, answered with success and something else than the operation has."""

    fmt = "the answer cannot be used"


def _usable(call: Callable[[], T]) -> T:
    """What a call gives; UnreadableAnswer where botocore or we cannot read it: HTML, nothing, JSON without an end."""
    try:
        return call()
    except (ClientError, BotoCoreError, ProxyError):
        raise
    except _UNUSABLE as error:
        raise UnreadableAnswer from error


def _properties(answer: Any) -> ImageSetProperties:
    """Those that GetImageSet answered; TypeError or ValueError where they are none, NotFound of a deleted one."""
    if answer.get("imageSetState") == "DELETED":
        raise NotFound("the image set was deleted")
    version, is_primary, updated_at = answer.get("versionId"), answer.get("isPrimary"), answer.get("updatedAt")
    if not isinstance(version, str) or not _VERSION.fullmatch(version) or not isinstance(is_primary, bool | None):
        raise TypeError("not the properties of an image set")
    return ImageSetProperties(version, is_primary is not False, updated_at.timestamp() if updated_at else 0.0)


def _summaries(datastore_id: str, answer: Any) -> tuple[list[ImageSetKey], str | None]:
    """The image sets that SearchImageSets answered, and the token of the next page; TypeError where it is no answer."""
    token, ids = answer.get("nextToken"), [one["imageSetId"] for one in answer["imageSetsMetadataSummaries"]]
    if not isinstance(token, str | None) or not all(_IMAGE_SET_ID.fullmatch(one) for one in ids):
        raise TypeError("not the answer of a search")
    return [ImageSetKey(datastore_id, one) for one in ids], token


def _boto3_client(region: str, config: Config) -> "HealthImagingClient":
    """A client that adds no `runtime-` to the host of an endpoint that the operator has chosen.

    Where the endpoint comes from (environment, profile) is botocore's affair; that it was chosen shows in its URL.
    """
    session = boto3.session.Session(region_name=region)
    unconfigured: dict[str, Any] = {"ignore_configured_endpoint_urls": True}
    own = session.client("medical-imaging", config=config.merge(Config(**unconfigured)))
    client = session.client("medical-imaging", config=config)
    if client.meta.endpoint_url != own.meta.endpoint_url:
        client = session.client("medical-imaging", config=config.merge(Config(inject_host_prefix=False)))
    client.meta.events.register("before-sign.medical-imaging", _pass_trace_on)
    return client


def _pass_trace_on(request: Any, **_: object) -> None:
    for name, value in _trace().items():
        request.headers[name] = value


def _trace() -> dict[str, str]:
    """The header that tells which trace a call is part of."""
    timing = current_timing()
    return {"traceparent": timing.traceparent} if timing and timing.traceparent else {}


def _code(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"]
    return type(error).__name__


def _passes(error: ClientError | BotoCoreError) -> bool:
    """Whether trying again can help: named errors, 5xx and 429 under any name, cut connections, time-outs."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return _code(error) in _RETRIED or status in (409, 429) or status >= 500
    return isinstance(error, HTTPClientError | ConnectionError | IncompleteReadError | UnreadableAnswer)


def _is_away(error: ClientError | BotoCoreError) -> bool:
    """Whether nobody answers, or only to say that something is broken; not where we ask too much of it."""
    if isinstance(error, ClientError):
        return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500
    return _passes(error)
