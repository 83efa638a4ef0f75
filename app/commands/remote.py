"""The servers that `check` calls. Here alone it is decided how a result names a server that does not answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from ahi.client.identity import endpoint_url
from app.check_result import ERROR, CheckResult, reason_of
from app.settings import NotNowError, SettingsError
from dicomweb.errors import ProxyError

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Remote:
    """A server that the service needs; `place` is its host and port, or the file of a database without a server."""

    place: str

    @classmethod
    def from_address(cls, host: str, port: int) -> "Remote":
        """The server that listens there."""
        return cls(f"{host} port {port}")

    @classmethod
    def from_url(cls, url: str) -> "Remote":
        """The server of a URL; without a port, the usual one of its scheme."""
        parts = urlsplit(url)
        return cls.from_address(parts.hostname or "", parts.port or _PORTS[parts.scheme])

    def tried(self, what: str) -> str:
        """The words that name what was tried, and where."""
        return f"tried {what} at {self.place}"

    def describe(self, tried: str, error: Exception, said: str | None = None) -> str:
        """The result in words: `said` or the error itself, its cause, what was tried, and where."""
        cause = _cause(error)
        return f"{said or error} ({f'{cause}; ' if cause else ''}{self.tried(tried)})"


class Unanswered(Exception):
    """A server does not answer as it should; the text names it."""


@contextmanager
def asking(remote: Remote, tried: str, *more: type[Exception]) -> Iterator[None]:
    """Unanswered in place of an error of the server: ProxyError, OSError, and `more` for what it answers."""
    caught: tuple[type[Exception], ...] = (ProxyError, OSError, *more)
    try:
        yield
    except caught as error:
        raise Unanswered(remote.describe(tried, error)) from error


def until_error(what: str, advice: str, check: Callable[[], Iterator[CheckResult]]) -> Iterator[CheckResult]:
    """The results of `check`; Unanswered becomes its last result, an ERROR with this advice."""
    try:
        yield from check()
    except Unanswered as error:
        yield CheckResult(what, ERROR, str(error), advice)


def without_login(what: str, region: str | None, error: SettingsError) -> CheckResult:
    """The result where an index has no login; it names Secrets Manager if that gives no secret."""
    if not isinstance(error, NotNowError):
        return CheckResult(what, ERROR, str(error), "correct the setting")
    finding = Remote.from_url(endpoint_url("secretsmanager", region)).describe("GetSecretValue", error)
    return CheckResult(what, ERROR, finding, "check the ARN, the rights to the secret, the network")


def _cause(error: BaseException) -> str | None:
    """The reason of the system for an error: that of the innermost OSError; None if there is none."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        following = following.__cause__ or following.__context__
    innermost = next((one for one in reversed(chain) if isinstance(one, OSError)), None)
    return reason_of(innermost) if innermost else None
