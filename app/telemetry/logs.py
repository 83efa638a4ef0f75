"""The formats of log lines: text for people, JSON for machines. A line has the ID of its request, if there is one."""

import json
import logging
import warnings
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from flask import g, has_request_context


def start_logging(level: str, form: str) -> None:
    """Log to standard error, as `text` or as `json`."""
    logging.raiseExceptions = False  # a line that cannot be written, on a full disk, is lost without a traceback
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("botocore").setLevel(logging.WARNING)  # logs credentials for each client
    logging.getLogger("waitress").setLevel(logging.WARNING)  # logs whole paths when clients disconnect
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # warns whenever one request waits for a thread
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # logs every decoder that declines a file
    warnings.filterwarnings("ignore", module=r"pydicom\b")  # they quote values that clients send, each once for ever


class TextLines(logging.Formatter):
    """One line of text; fields of a record follow its message as `name=value`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

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
