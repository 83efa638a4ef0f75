"""Audit messages in CloudWatch Logs: whole, in order, and with an error where they do not get there."""

import json
from collections.abc import Iterator

import boto3
import pytest

from app.audit.cloudwatch import CloudWatchLogs
from app.audit.configure import announce, check_audit, find_destination
from app.audit.event import EventKind
from app.settings import Settings, SettingsError
from tests.aws_server import AwsServer
from tests.servers import free_port

GROUP, REGION = "dicomweb-audit", "us-east-1"
SETTINGS = {"AUDIT": "cloudwatch", "AUDIT_LOG_GROUP": GROUP, "AWS_DEFAULT_REGION": REGION}


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = AwsServer()
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "http://{}:{}".format(*server.get_host_and_port()))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    client = boto3.client("logs", region_name=REGION)
    client.create_log_group(logGroupName=GROUP)
    yield
    client.delete_log_group(logGroupName=GROUP)
    server.stop()


def written() -> dict[str, list[str]]:
    """The messages of each stream."""
    client = boto3.client("logs", region_name=REGION)
    streams = client.describe_log_streams(logGroupName=GROUP)["logStreams"]
    return {
        one["logStreamName"]: [
            event["message"]
            for event in client.get_log_events(
                logGroupName=GROUP, logStreamName=one["logStreamName"], startFromHead=True
            )["events"]
        ]
        for one in streams
    }


def test_messages_of_a_process_are_in_a_stream_of_its_own() -> None:
    first, second = CloudWatchLogs(GROUP, REGION), CloudWatchLogs(GROUP, REGION)
    for number in range(3):
        first.write(f"message {number} 王".encode())
    second.write(b"another")
    assert sorted(written().values()) == [["another"], [f"message {number} 王" for number in range(3)]]
    first.close()
    first.write(b"later")
    assert sorted(written().values())[1] == ["later"]


def test_a_group_that_is_not_there_is_told_and_then_found() -> None:
    client = boto3.client("logs", region_name=REGION)
    destination = CloudWatchLogs("later", REGION)
    for attempt in (destination.reach, lambda: destination.write(b"lost")):
        with pytest.raises(OSError, match="CloudWatch Logs: ResourceNotFoundException"):
            attempt()
    client.create_log_group(logGroupName="later")
    destination.reach()
    destination.write(b"found")


def test_an_endpoint_that_nobody_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(OSError, match="CloudWatch Logs: EndpointConnectionError"):
        CloudWatchLogs(GROUP, REGION).write(b"lost")


def test_the_settings_name_the_group() -> None:
    settings = Settings.from_env(SETTINGS)
    check_audit(settings)
    assert isinstance(find_destination(settings), CloudWatchLogs)
    announce(settings, EventKind.START)
    ((message,),) = written().values()
    assert json.loads(message)["type"] == "Application Start"
    with pytest.raises(SettingsError, match="AUDIT_LOG_GROUP is not set"):
        check_audit(Settings.from_env({**SETTINGS, "AUDIT_LOG_GROUP": ""}))
