"""Audit messages in a log group of Amazon CloudWatch Logs. Runs in the web processes, and where the service starts."""

import errno
import os
import secrets
import socket
import time
from typing import Any

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_CONFIG = Config(connect_timeout=3, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})


class CloudWatchLogs:
    """A log stream of this process in the group, made with the first message. One call hands over one message."""

    def __init__(self, group: str, region: str | None) -> None:
        self._group = group
        self._region = region
        self._client: Any = None
        self._stream = ""

    def write(self, message: bytes) -> None:
        """Put the message; OSError where CloudWatch Logs does not take it."""
        try:
            client = self._open()
            event = {"timestamp": int(time.time() * 1000), "message": message.decode()}
            answer = client.put_log_events(logGroupName=self._group, logStreamName=self._stream, logEvents=[event])
        except (ClientError, BotoCoreError) as error:
            self.close()
            raise _as_os_error(error) from error
        if answer.get("rejectedLogEventsInfo"):
            raise OSError(errno.EIO, "CloudWatch Logs rejects the message: check the clock")

    def reach(self) -> None:
        """The group is there, and streams can be made in it; this makes one."""
        try:
            self._open()
        except (ClientError, BotoCoreError) as error:
            raise _as_os_error(error) from error
        finally:
            self.close()

    def close(self) -> None:
        """Close the connections; the next message begins a new stream."""
        if self._client:
            self._client.close()
        self._client = None

    def _open(self) -> Any:
        if self._client is None:
            client = Session(region_name=self._region).client("logs", config=_CONFIG)
            self._stream = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(8)}"
            client.create_log_stream(logGroupName=self._group, logStreamName=self._stream)
            self._client = client
        return self._client


def _as_os_error(error: Exception) -> OSError:
    """The error without its text, which names account and group."""
    reason = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    return OSError(errno.EIO, f"CloudWatch Logs: {reason}")
