"""The result of one check, and how results are printed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True)
class CheckResult:
    """One result, a member of the list that `--json` prints.

    `what` was checked, `level` is OK, WARNING or ERROR, `told` is the result in words. `advice` says what to do; it is
    "" if nothing has to be done.
    """

    what: str
    level: str
    told: str
    advice: str = ""


def failed(results: Sequence[CheckResult]) -> bool:
    """Whether the service cannot do its work."""
    return any(result.level == ERROR for result in results)


def describe(results: Sequence[CheckResult], *, as_json: bool) -> Iterator[str]:
    """The lines of a table, or one JSON list."""
    if as_json:
        yield json.dumps([asdict(result) for result in results], indent=2)
        return
    width = max(len(result.what) for result in results)
    for result in results:
        yield f"{result.level:<8} {result.what:<{width}}  {result.told}"
        if result.advice:
            yield f"{'':<8} {'':<{width}}  -> {result.advice}"


def reason_of(error: OSError) -> str:
    """The reason in words, also for errors of TLS."""
    reasons = (getattr(error, "verify_message", None), getattr(error, "reason", None), error.strerror)
    return next((str(reason) for reason in reasons if reason), type(error).__name__)
