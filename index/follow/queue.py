"""The queue of events: Amazon SQS. The only module of this package that knows boto3.

A message that is not deleted comes again after a while, also to another follower. So nothing is lost if a follower is
killed, and each message may come more than once.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from dicomweb.errors import UpstreamBusy, UpstreamFailed

log = logging.getLogger(__name__)
T = TypeVar("T")

BATCH = 10
"""The most messages in one answer, and in one request to delete."""

WAIT_SECONDS = 10
"""Time for which SQS holds a request until a message comes; a stop takes as long."""

HIDDEN_SECONDS = 120
"""Time for which nobody else gets a message that a follower has received."""

_WAITING, _IN_HAND = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
_LONGEST_DELAY_SECONDS = 900
_NOT_PASSING = ("AccessDenied", "InvalidClientTokenId", "QueueDoesNotExist", "NonExistentQueue", "KmsAccessDenied")


@dataclass(frozen=True)
class Message:
    """A received message. `received` counts how often it was received, this time included."""

    body: str
    receipt: str
    received: int


@dataclass(frozen=True)
class QueueDepth:
    """The numbers of messages that wait, that a follower has received and not deleted, and in the dead-letter queue.

    SQS estimates them. `dead` is None without a dead-letter queue, or without the right to look at it.
    """

    waiting: int
    in_hand: int
    dead: int | None = None


class EventQueue:
    """A queue. Safe to share between threads. Make it after a fork.

    Errors are UpstreamBusy where SQS does not answer, and UpstreamFailed where it refuses.
    """

    def __init__(self, url: str, region: str, *, wait_seconds: int = WAIT_SECONDS) -> None:
        """`wait_seconds` is 0 to 20."""
        self._url = url
        self._wait_seconds = wait_seconds
        config = Config(
            connect_timeout=5, read_timeout=wait_seconds + 10, retries={"mode": "standard", "total_max_attempts": 3}
        )
        self._client: Any = boto3.session.Session(region_name=region).client("sqs", config=config)

    def receive(self) -> list[Message]:
        """Wait for messages; none if none come. Others do not get them for HIDDEN_SECONDS."""
        answer = self._call(
            self._client.receive_message,
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=self._wait_seconds,
            VisibilityTimeout=HIDDEN_SECONDS,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return [
            Message(
                message.get("Body", ""),
                message["ReceiptHandle"],
                int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
            )
            for message in answer.get("Messages", ())
        ]

    def delete(self, messages: Sequence[Message]) -> None:
        """Delete messages. One that cannot be deleted comes again, which does no harm."""
        for start in range(0, len(messages), BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": message.receipt}
                for number, message in enumerate(messages[start : start + BATCH])
            ]
            answer = self._call(self._client.delete_message_batch, Entries=entries)
            for failure in answer.get("Failed", ()):
                log.warning("event not deleted from the queue reason=%s", failure.get("Code"))

    def hide(self, messages: Sequence[Message], seconds: int) -> None:
        """Have messages come again in `seconds`: 0 for at once, 900 at most. It is a wish, and may fail."""
        seconds = min(seconds, _LONGEST_DELAY_SECONDS)
        for start in range(0, len(messages), BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": message.receipt, "VisibilityTimeout": seconds}
                for number, message in enumerate(messages[start : start + BATCH])
            ]
            self._call(self._client.change_message_visibility_batch, Entries=entries)

    def depth(self) -> QueueDepth:
        """The numbers of messages."""
        found = self._attributes(self._url, [_WAITING, _IN_HAND, "RedrivePolicy"])
        waiting, in_hand = int(found.get(_WAITING, 0)), int(found.get(_IN_HAND, 0))
        target = str(json.loads(found.get("RedrivePolicy", "{}")).get("deadLetterTargetArn", ""))
        if not target:
            return QueueDepth(waiting, in_hand)
        dead_letters = f"{self._url.rpartition('/')[0]}/{target.rpartition(':')[2]}"
        try:
            return QueueDepth(waiting, in_hand, int(self._attributes(dead_letters, [_WAITING]).get(_WAITING, 0)))
        except UpstreamFailed:
            return QueueDepth(waiting, in_hand)

    def _attributes(self, url: str, names: Sequence[str]) -> Mapping[str, str]:
        answer = self._call(self._client.get_queue_attributes, QueueUrl=url, AttributeNames=names)
        found: Mapping[str, str] = answer.get("Attributes", {})
        return found

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _call(self, call: Callable[..., T], **parameters: Any) -> T:
        try:
            return call(**{"QueueUrl": self._url, **parameters})
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if any(word in code for word in _NOT_PASSING):
                raise UpstreamFailed(f"the queue of events refuses {call.__name__}: {code}") from error
            raise UpstreamBusy(f"the queue of events does not answer at the moment: {code}") from error
        except BotoCoreError as error:
            raise UpstreamBusy(f"the queue of events does not answer: {type(error).__name__}") from error
