"""Tracebacks for the log, without the texts of errors: they may quote values of data sets, which are patient data."""

import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

from dicomweb.errors import UpstreamBusy, UpstreamFailed

log = logging.getLogger(__name__)

_SHOWN = (AttributeError, ImportError, MemoryError, NameError, UpstreamBusy, UpstreamFailed)
"""Errors whose texts name code and services only."""

_BETWEEN = "\nThe next error followed from it:\n\n"


def describe_exception(error: BaseException) -> str:
    """The traceback of an error and of those before it; of a text, only what `_SHOWN` and the system say."""
    return "".join(_described(error, set())).rstrip("\n")


def hide_uncaught_texts() -> None:
    """Have errors that end a thread or the process logged in this way, and not printed by the interpreter."""
    sys.excepthook = _log_uncaught
    sys.unraisablehook = lambda found: _log(found.exc_value)
    threading.excepthook = lambda found: _log(found.exc_value)


def _described(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before and id(before) not in seen:
        yield from _described(before, seen)
        yield _BETWEEN
    if error.__traceback__:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    kind, text = type(error), _text(error)
    yield f"{kind.__module__}.{kind.__qualname__}{text and f': {text}'}\n"


def _text(error: BaseException) -> str:
    if isinstance(error, OSError):
        return error.strerror or ""
    return str(error) if isinstance(error, _SHOWN) else ""


def _log_uncaught(_kind: Any, error: BaseException, _traceback: Any) -> None:
    _log(error)


def _log(error: BaseException | None) -> None:
    if error and not isinstance(error, SystemExit | KeyboardInterrupt):
        log.error("an error was not handled", exc_info=error)
