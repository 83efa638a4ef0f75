"""The errors of calls to AHI: which can be retried, which mean an outage, and what each means for a client.

Runs in the FrameFetcher processes.
"""

from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ProxyConnectionError,
)
from botocore.parsers import ResponseParserError

from dicomweb.errors import (
    BadRequest,
    NotAcceptable,
    NotFound,
    ProxyError,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamFailed,
    UpstreamLocked,
    UpstreamRefused,
    UpstreamThrottled,
)

T = TypeVar("T")
CallError = ClientError | BotoCoreError

_THROTTLED = frozenset({"ThrottlingException", "TooManyRequestsException"})

_BUSY = 503

_RETRIED = _THROTTLED | {
    "ConflictException",
    "InternalServerException",
    "InternalServerError",
    "InternalFailure",
    "ServiceUnavailable",
    "ServiceUnavailableException",
}
"""Errors that pass by themselves. A conflict is one: the metadata of a fresh import is not ready yet."""

_UNREADABLE = (
    ResponseParserError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""The errors that botocore and we raise on an answer of another shape: its parser trusts the model of the service."""

_MEANING: dict[str, Callable[[str], ProxyError]] = {
    "ResourceNotFoundException": NotFound,
    "ValidationException": NotFound,  # an identifier from the index that is malformed
    "BadRequestException": BadRequest,
    "NotAcceptableException": NotAcceptable,
    "ServiceQuotaExceededException": UpstreamThrottled,
    "AccessDeniedException": UpstreamDenied,
    "ExpiredTokenException": UpstreamRefused,
    "ExpiredToken": UpstreamRefused,
    "UnrecognizedClientException": UpstreamRefused,
    "UnknownOperationException": UpstreamRefused,
}


_NOT_CONNECTED = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError)


class UnreadableAnswer(BotoCoreError):
    """An answer with the status of success and without a result: HTML, nothing, half of a JSON text."""

    fmt = "the answer cannot be used"


def readable(call: Callable[[], T]) -> T:
    """Make a call; UnreadableAnswer where botocore or we cannot read its answer."""
    try:
        return call()
    except (ClientError, BotoCoreError, ProxyError):
        raise
    except _UNREADABLE as error:
        raise UnreadableAnswer from error


def error_code(error: CallError) -> str:
    """AHI's code of an error, or the class of an error of botocore."""
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"]
    return type(error).__name__


def is_throttled(error: CallError) -> bool:
    """Whether AHI received too many calls."""
    return error_code(error) in _THROTTLED


def is_conflict(error: CallError) -> bool:
    """Whether an image set is being written at the moment."""
    return error_code(error) == "ConflictException" or (isinstance(error, ClientError) and _status(error) == 409)


def can_be_retried(error: CallError) -> bool:
    """Whether a retry can help: named errors, 5xx and 429 under any name, cut connections, timeouts."""
    if isinstance(error, ClientError):
        status = _status(error)
        return error_code(error) in _RETRIED or status in (409, 429) or status >= 500
    return isinstance(error, HTTPClientError | ConnectionError | IncompleteReadError | UnreadableAnswer)


def may_be_done(error: CallError) -> bool:
    """Whether AHI may have done what it was asked to, although the call failed.

    It has not where it refuses the call, is busy (409, 429, 503), or cannot be connected to.
    """
    if isinstance(error, ClientError):
        return _status(error) >= 500 and _status(error) != _BUSY and not is_throttled(error)
    return can_be_retried(error) and not isinstance(error, _NOT_CONNECTED)


def is_outage(error: CallError) -> bool:
    """Whether AHI does not answer, or answers that it has an error. Throttling is no outage."""
    if isinstance(error, ClientError):
        return _status(error) >= 500
    return can_be_retried(error)


def proxy_error(operation: str, error: CallError) -> ProxyError:
    """Translate an error into one of the proxy."""
    if isinstance(error, UnreadableAnswer):
        return UpstreamBroken(f"AWS HealthImaging answered {operation} with something that cannot be used")
    if is_conflict(error):
        return UpstreamLocked("AWS HealthImaging is writing this image set at the moment")
    if can_be_retried(error):
        return _not_now(error)("AWS HealthImaging does not answer at the moment")
    code = error_code(error)
    meaning = _MEANING.get(code, UpstreamFailed)
    if meaning is NotFound:
        return NotFound("AWS HealthImaging does not have it any more")
    if isinstance(error, NoCredentialsError):
        return UpstreamRefused("the service has no AWS credentials")
    return meaning(f"AWS HealthImaging refused {operation}: {code}")


def _not_now(error: CallError) -> type[UpstreamBusy]:
    if not isinstance(error, ClientError):
        return UpstreamBusy
    return UpstreamBroken if is_outage(error) else UpstreamThrottled


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
