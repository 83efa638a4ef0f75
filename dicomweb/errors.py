"""The errors that become answers.

    ProxyError
     ├── BadRequest        the client sent something ill-formed
     ├── Unauthorized      the client has no valid credentials
     ├── Forbidden         the client is known and has no right to this
     ├── NotFound          no such study, series, instance, frame or bulk value
     ├── NotAcceptable     it exists, but in no media type that the client accepts
     ├── Misdirected       the request is for another host
     ├── RequestTimeout    the body comes in too slowly
     ├── Conflict          the request contradicts what is stored
     ├── LengthRequired    the length of the body is not known
     ├── ContentTooLarge   the body is longer than allowed
     ├── UnsupportedMediaType  the body is of a type that is not taken here
     ├── PreconditionFailed  the representation is not the one that the client requires
     ├── RangeNotSatisfiable  the bytes asked for lie beyond the end
     ├── TooManyRequests   the client asks too often
     ├── UpstreamFailed    AHI or the index answered with something that cannot be used
     │    ├── UpstreamRefused  it refuses all our requests, because of wrong credentials, say
     │    ├── UpstreamDenied   it denies us an operation, or a data store, for which we have no right
     │    └── UnusableAnswer   AHI gave something else than asked for; a later answer may be right
     └── UpstreamBusy      AHI or the index is down, throttled or slow; a retry later helps
          ├── UpstreamBroken  AHI answers with errors again and again, perhaps for this object only
          ├── UpstreamThrottled  it takes no more calls, or has no room, at the moment
          └── UpstreamLocked  AHI is writing this image set

`dicomweb.respond` maps each one to an HTTP status. Messages are for the client: they tell what was wrong and what would
be right. They never have SQL, ARNs or patient data.
"""


class ProxyError(Exception):
    """The base of all errors that become an answer."""


class BadRequest(ProxyError):
    """The request is ill-formed."""


class Unauthorized(ProxyError):
    """The credentials are missing or wrong; `challenges` tell which are accepted (RFC 9110 Section 11.6.1)."""

    def __init__(self, message: str, challenges: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.challenges = challenges


class Forbidden(ProxyError):
    """The client has no right to do this."""


class NotFound(ProxyError):
    """The target does not exist, or its UIDs do not belong together."""


class NotAcceptable(ProxyError):
    """The target exists, but in none of the media types that the client accepts."""


class RequestTimeout(ProxyError):
    """The body of a request comes in too slowly."""


class Conflict(ProxyError):
    """The request contradicts what is stored."""


class LengthRequired(ProxyError):
    """A request has neither Content-Length nor chunks (RFC 9110 Section 15.5.12)."""


class ContentTooLarge(ProxyError):
    """The body of a request is longer than allowed."""


class UnsupportedMediaType(ProxyError):
    """The body of a request is of a media type or coding that is not taken here."""


class Misdirected(ProxyError):
    """The request is for a host that this service does not answer for (RFC 9110 Section 15.5.20)."""


class PreconditionFailed(ProxyError):
    """The representation is not the one that the client requires."""


class RangeNotSatisfiable(ProxyError):
    """No byte of the range exists; `length_bytes` is the size of the representation."""

    def __init__(self, length_bytes: int) -> None:
        super().__init__(f"the range lies beyond the end; there are {length_bytes} bytes")
        self.length_bytes = length_bytes


class TooManyRequests(ProxyError):
    """The client asks too often."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UpstreamFailed(ProxyError):
    """A service behind this one gave an unusable answer."""


class UpstreamRefused(UpstreamFailed):
    """A service behind this one refuses all our requests."""


class UpstreamDenied(UpstreamFailed):
    """A service behind this one denies us an operation or an object. It answers others."""


class UnusableAnswer(UpstreamFailed):
    """A service behind this one gave a wrong answer: HTML, half a frame, or truncated metadata."""

    def __init__(self, message: str, retry_after_seconds: int = 30) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UpstreamBusy(ProxyError):
    """A service behind this one is unavailable for now."""

    def __init__(self, message: str, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UpstreamBroken(UpstreamBusy):
    """A service behind this one answers with errors, for all requests or for one object."""


class UpstreamThrottled(UpstreamBusy):
    """A service behind this one takes no more calls, or has no room, at the moment. It answers."""


class UpstreamLocked(UpstreamBusy):
    """A service behind this one is writing this object."""
