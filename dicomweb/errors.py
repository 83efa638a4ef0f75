"""What can go wrong, in the words of the domain.

    ProxyError
     ├── BadRequest        the client sent something ill-formed
     ├── Unauthorized      the client has not said who it is, or cannot prove it
     ├── Forbidden         it is known who asks, and that this is not for them
     ├── NotFound          no such study, series, instance, frame or bulk value
     ├── NotAcceptable     it exists, but not in a form that the client takes
     ├── Misdirected       the client asked another server, by its name
     ├── PreconditionFailed  the client wants it only if it is what it was
     ├── RangeNotSatisfiable  the bytes asked for lie beyond the end
     ├── TooManyRequests   the client asks too often
     ├── UpstreamFailed    AHI or the index answered with something that cannot be used
     │    ├── UpstreamRefused  it does not serve us at all: wrong credentials, say
     │    └── UnusableAnswer   AHI gave something else than what it was asked for, which may pass
     └── UpstreamBusy      AHI or the index is down, throttled or slow; trying again later helps
          └── UpstreamBroken  AHI answers, again and again, that it has an error; perhaps with this one object only

`dicomweb.respond` knows which HTTP status each one is. Messages are written for the client: what was wrong and what
would be right. They never hold SQL, ARNs or patient data.
"""


class ProxyError(Exception):
    """The base of all errors that become an answer."""


class BadRequest(ProxyError):
    """The request is ill-formed."""


class Unauthorized(ProxyError):
    """No credentials, or wrong ones; `challenges` say which are taken (RFC 9110 Section 11.6.1)."""

    def __init__(self, message: str, challenges: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.challenges = challenges


class Forbidden(ProxyError):
    """Who asks may not do this."""


class NotFound(ProxyError):
    """The target does not exist, or its UIDs do not belong together."""


class NotAcceptable(ProxyError):
    """The target exists, but in none of the media types that the client takes."""


class Misdirected(ProxyError):
    """The request is for a host that this service does not answer for (RFC 9110 Section 15.5.20)."""


class PreconditionFailed(ProxyError):
    """The representation is not the one that the client knows."""


class RangeNotSatisfiable(ProxyError):
    """No byte of the range exists; `length_bytes` is how many there are."""

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
    """A service behind this one refuses us, whatever we ask for."""


class UnusableAnswer(UpstreamFailed):
    """A service behind this one gave something else than it should: HTML, half a frame, metadata without an end."""

    def __init__(self, message: str, retry_after_seconds: int = 30) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UpstreamBusy(ProxyError):
    """A service behind this one is unavailable for now."""

    def __init__(self, message: str, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UpstreamBroken(UpstreamBusy):
    """A service behind this one answers that it has an error: as a whole, or with what was asked for."""
