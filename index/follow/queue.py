"""The queue of events: Amazon SQS. The only module of this package that knows boto3.

A message that is not deleted comes again after a while, also to another follower. So nothing is lost if a follower is
killed, and each message may come more than once.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ahi.client.failures import readable
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
        return self._call(
            self._client.receive_message,
            _messages,
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=self._wait_seconds,
            VisibilityTimeout=HIDDEN_SECONDS,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )

    def delete(self, messages: Sequence[Message]) -> None:
        """Delete messages. One that cannot be deleted comes again, which does no harm."""
        for start in range(0, len(messages), BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": message.receipt}
                for number, message in enumerate(messages[start : start + BATCH])
            ]
            for reason in self._call(self._client.delete_message_batch, _failures, Entries=entries):
                log.warning("event not deleted from the queue reason=%s", reason)

    def hide(self, messages: Sequence[Message], seconds: int) -> None:
        """Have messages come again in `seconds`: 0 for at once, 900 at most. It is a wish, and may fail."""
        seconds = min(seconds, _LONGEST_DELAY_SECONDS)
        for start in range(0, len(messages), BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": message.receipt, "VisibilityTimeout": seconds}
                for number, message in enumerate(messages[start : start + BATCH])
            ]
            self._call(self._client.change_message_visibility_batch, _failures, Entries=entries)

    def depth(self) -> QueueDepth:
        """The numbers of messages."""
        names = [_WAITING, _IN_HAND, "RedrivePolicy"]
        waiting, in_hand, target = self._call(
            self._client.get_queue_attributes, _depth, QueueUrl=self._url, AttributeNames=names
        )
        if not target:
            return QueueDepth(waiting, in_hand)
        dead_letters = f"{self._url.rpartition('/')[0]}/{target.rpartition(':')[2]}"
        try:
            dead, _, _ = self._call(
                self._client.get_queue_attributes, _depth, QueueUrl=dead_letters, AttributeNames=[_WAITING]
            )
        except UpstreamFailed:
            return QueueDepth(waiting, in_hand)
        return QueueDepth(waiting, in_hand, dead)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _call(self, call: Callable[..., Any], parse: Callable[[Any], T], **parameters: Any) -> T:
        try:
            return readable(lambda: parse(call(**{"QueueUrl": self._url, **parameters})))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if any(word in code for word in _NOT_PASSING):
                raise UpstreamFailed(f"the queue of events refuses {call.__name__}: {code}") from error
            raise UpstreamBusy(f"the queue of events does not answer at the moment: {code}") from error
        except BotoCoreError as error:
            raise UpstreamBusy(f"the queue of events does not answer: {type(error).__name__}") from error


def _messages(answer: Any) -> list[Message]:
    return [
        Message(
            message.get("Body", ""),
            message["ReceiptHandle"],
            int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
        )
        for message in answer.get("Messages", ())
    ]


def _failures(answer: Any) -> list[str]:
    if not answer.keys() & {"Successful", "Failed"}:
        raise LookupError("not the answer of SQS")
    return [str(failure.get("Code")) for failure in answer.get("Failed", ())]


def _depth(answer: Any) -> tuple[int, int, str]:
    """The numbers of messages that wait and that are in hand, and the ARN of the dead-letter queue, if any."""
    found = answer["Attributes"]
    target = json.loads(found.get("RedrivePolicy", "{}")).get("deadLetterTargetArn", "")
    return int(found.get(_WAITING, 0)), int(found.get(_IN_HAND, 0)), str(target)
