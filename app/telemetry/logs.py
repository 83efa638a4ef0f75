"""The formats of log lines: text for people, JSON for machines. A line has the ID of its request, if there is one.

Nothing in the log is patient data. Our own lines have none. Libraries quote values of data sets and of queries in their
lines, in warnings, and in the texts of errors. So only those lines of libraries pass that are listed here, and errors
are described by `app.telemetry.exceptions`. All this is done where lines are written: a library may set up its logger
and its warnings when it is imported, which may be later.
"""

import json
import logging
import warnings
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from flask import g, has_request_context

from app.telemetry.exceptions import describe_exception, hide_uncaught_texts

OUR_LOGGERS = frozenset(
    ("__main__", "access", "ahi", "app", "datastore", "db", "dicomweb", "index", "qido", "runtime", "store", "wado")
)
"""The packages that log, and the access log."""

_LEAST_LEVELS = {  # logger of a library, or its package: the lowest level of lines that pass
    "boto3": logging.WARNING,
    "botocore": logging.WARNING,  # below it, credentials and whole requests
    "opentelemetry": logging.WARNING,
    "urllib3": logging.WARNING,
    "waitress": logging.WARNING,  # below it, whole paths when clients disconnect
    "waitress.queue": logging.ERROR,  # a warning whenever one request waits for a thread
}


def start_logging(level: str, form: str) -> None:
    """Log to standard error, as `text` or as `json`."""
    logging.raiseExceptions = False  # a line that cannot be written, on a full disk, is lost without a traceback
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    handler.addFilter(has_no_values)
    logging.basicConfig(level=level, handlers=[handler])
    hide_uncaught_texts()
    warnings.simplefilter("ignore")  # and each text would be remembered for ever
    warnings.showwarning = _drop_warning


def has_no_values(record: logging.LogRecord) -> bool:
    """Whether a record is ours, or of a library whose lines of this level have no values of data sets."""
    package, _, _ = record.name.partition(".")
    if package in OUR_LOGGERS:
        return True
    least = _LEAST_LEVELS.get(record.name, _LEAST_LEVELS.get(package))
    return least is not None and record.levelno >= least


def _drop_warning(*_: Any, **__: Any) -> None:
    """Take the place of `warnings.showwarning`."""


class TextLines(logging.Formatter):
    """One line of text; fields of a record follow its message as `name=value`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatException(self, ei: Any) -> str:  # noqa: N802 - a name of the standard library
        """The error without the texts of libraries."""
        return describe_exception(ei[1]) if ei[1] else ""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - a name of the standard library
        """The line without the traceback, which `format` adds."""
        fields = " ".join(f"{name}={_word(value)}" for name, value in _fields(record).items())
        return f"{super().formatMessage(record)} {fields}".rstrip()


class JsonLines(logging.Formatter):
    """One JSON object in a line: `time` (UTC), `level`, `logger`, `message`, the record's fields, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        line |= _fields(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - a name of the standard library
        """The error without the texts of libraries."""
        return describe_exception(ei[1]) if ei[1] else ""


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    if "request" not in fields and has_request_context() and "request_id" in g:
        return {**fields, "request": g.request_id}
    return fields


def _word(value: Any) -> str:
    """A value in quotes if it could be mistaken for the next field or the next line."""
    text = "-" if value is None else str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(' "=')
    return text if text and plain else json.dumps(text)
