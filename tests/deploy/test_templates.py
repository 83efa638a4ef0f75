"""The CloudFormation templates: clean, consistent, and no more rights than the code uses."""

import json
from collections.abc import Callable, Iterator
from inspect import getmembers, isfunction
from pathlib import Path
from typing import Any

import boto3
import botocore.handlers
import pytest
from cfnlint.api import lint_file

from ahi.client import stow
from ahi.client.calls import AhiClient
from ahi.client.listing_calls import TimeRange
from ahi.image_sets.image_set import ImageSetKey
from app.audit.cloudwatch import CloudWatchLogs
from db.secret import index_url
from index.follow.queue import EventQueue
from tests.aws_server import AwsServer
from tests.datastore.shelf import DATASTORE_ID, Shelf, frame_id, identifier, image_set
from tests.datastore_server import served
from tests.deploy.files import (
    EC2,
    POLICY,
    STORE,
    TEMPLATES,
    aws_services,
    container,
    index_statements,
    resources,
    statements,
)
from tests.store.forward.live import instance, truncated, way

PORT = 8080


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_is_clean(template: Path) -> None:
    assert [str(match) for match in lint_file(template)] == []


def test_one_port_from_the_load_balancer_to_the_task() -> None:
    found = resources()

    def properties(name: str) -> dict[str, Any]:
        return dict(found[name]["Properties"])

    assert properties("TargetGroup")["Port"] == PORT
    assert [one["ContainerPort"] for one in container()["PortMappings"]] == [PORT]
    assert [one["ContainerPort"] for one in properties("Service")["LoadBalancers"]] == [PORT]
    assert {"Name": "PORT", "Value": str(PORT)} in container()["Environment"]
    for rule in (*properties("TaskSecurityGroup")["SecurityGroupIngress"], properties("LoadBalancerToTasks")):
        assert (rule["FromPort"], rule["ToPort"]) == (PORT, PORT)


def test_the_task_cannot_write_outside_its_volumes() -> None:
    mounts = {one["ContainerPath"] for one in container()["MountPoints"]}
    assert container()["ReadonlyRootFilesystem"] == {"Fn::If": ["HasEcsExec", False, True]}
    assert mounts == {"/var/cache/ahi-dicomweb-proxy", "/var/lib/ahi-dicomweb-proxy", "/tmp"}  # noqa: S108 - as the image has them


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The calls to AWS that are made from here on, as the actions of a policy."""
    seen: set[str] = set()

    def record(model: Any, **_: Any) -> None:
        seen.add(f"{model.service_model.signing_name}:{model.name}")

    handlers = [*botocore.handlers.BUILTIN_HANDLERS, ("before-call", record)]
    monkeypatch.setattr(botocore.handlers, "BUILTIN_HANDLERS", handlers)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    return seen


@pytest.fixture
def secrets() -> Iterator[str]:
    server = AwsServer()
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


NEEDS_NO_RIGHT = {"medical-imaging:GetDatastore", "medical-imaging:ListDatastores"}
"""What the health check asks: that it is denied is an answer as well."""

RIGHTS_OF_AWS = {"kms:Decrypt", "rds-db:connect"}
"""What Secrets Manager and RDS ask for themselves."""

_CALL_NOTHING = {"close", "endpoint_url", "ping_operation"}
"""Methods of AhiClient that make no call."""

SERVICES = {
    "medical-imaging": "test_the_policies_allow_what_the_code_calls_and_no_more",
    "secretsmanager": "test_the_policies_allow_what_the_code_calls_and_no_more",
    "logs": "test_the_audit_trail_calls_what_its_policy_allows",
    "sqs": "test_the_index_command_calls_what_its_policies_allow_and_no_more",
    "sts": "GetCallerIdentity needs no right",
}
"""The services of AWS that the code has clients of, and the test here that holds their calls to the policies."""


def test_every_service_of_aws_is_held_to_its_policy() -> None:
    assert aws_services() == SERVICES.keys()
    assert {text for text in SERVICES.values() if text.startswith("test_")} <= globals().keys()


def test_the_policies_allow_what_the_code_calls_and_no_more(
    calls: set[str], secrets: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "frame"
    path.write_bytes(b"stored bytes")
    key = ImageSetKey(DATASTORE_ID, identifier(1))
    arguments: dict[str, tuple[Any, ...]] = {
        "image_set": (key,),
        "image_set_metadata": (key, "1"),
        "image_frame": (key, frame_id(1)),
        "search_study": (DATASTORE_ID, "1.2.3"),
        "ping": (DATASTORE_ID,),
    }
    methods: dict[str, Callable[..., Any]] = dict(getmembers(AhiClient, isfunction))
    assert arguments.keys() | _CALL_NOTHING == {name for name in methods if not name.startswith("_")}
    with served(Shelf(image_set(1), frames={frame_id(1): (path, "image/jph")})) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", url)
        client = AhiClient(region="us-east-1")
        for name, values in arguments.items():
            methods[name](client, *values)
        client.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets)
    members = json.dumps({name: "x" for name in ("host", "username", "password", "dbname")})
    manager = boto3.client("secretsmanager", region_name="us-east-1")
    arn = manager.create_secret(Name="policy", SecretString=members)["ARN"]
    calls.discard("secretsmanager:CreateSecret")  # the test's own
    index_url(arn, region="us-east-1")
    for allowed in statements().values():
        actions = {action for one in allowed for action in _listed(one["Action"])} - {"kms:Decrypt"}
        assert actions == calls - NEEDS_NO_RIGHT


def test_the_audit_trail_calls_what_its_policy_allows(
    calls: set[str], secrets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", secrets)
    boto3.client("logs", region_name="us-east-1").create_log_group(logGroupName="audit")
    calls.discard("logs:CreateLogGroup")  # the test's own
    destination = CloudWatchLogs("audit", "us-east-1")
    destination.reach()
    destination.write(b"message")
    destination.close()
    policy = resources()["AuditPolicy"]
    assert policy["Condition"] == "HasAudit"
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    assert set(statement["Action"]) == calls
    assert statement["Resource"] == {"Fn::GetAtt": ["AuditLogGroup", "Arn"]}


def test_the_index_command_calls_what_its_policies_allow_and_no_more(
    calls: set[str], secrets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ImageSetKey(DATASTORE_ID, identifier(1))
    with served(Shelf(image_set(1))) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", url)
        client = AhiClient(region="us-east-1")
        client.image_set(key)
        client.image_set_metadata(key, "1")
        client.listing.image_sets(DATASTORE_ID, TimeRange())
        client.listing.datastores()
        client.ping(DATASTORE_ID)
        client.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", secrets)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets)
    sqs = boto3.client("sqs", region_name="us-east-1")
    attributes = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:dead", "maxReceiveCount": "10"}
    sqs.create_queue(QueueName="dead")
    created = sqs.create_queue(QueueName="events", Attributes={"RedrivePolicy": json.dumps(attributes)})
    sqs.send_message(QueueUrl=created["QueueUrl"], MessageBody="x")
    manager = boto3.client("secretsmanager", region_name="us-east-1")
    members = json.dumps({name: "x" for name in ("host", "username", "password", "dbname")})
    arn = manager.create_secret(Name="write", SecretString=members)["ARN"]
    calls -= {"sqs:CreateQueue", "sqs:SendMessage", "secretsmanager:CreateSecret"}  # the test's own
    index_url(arn, region="us-east-1")
    queue = EventQueue(created["QueueUrl"], "us-east-1", wait_seconds=0)
    received = queue.receive()
    arguments: dict[str, tuple[Any, ...]] = {"receive": (), "hide": (received, 0), "delete": (received,), "depth": ()}
    methods: dict[str, Callable[..., Any]] = dict(getmembers(EventQueue, isfunction))
    assert arguments.keys() | {"close"} == {name for name in methods if not name.startswith("_")}
    for name, values in arguments.items():
        methods[name](queue, *values)
    queue.close()
    made = {call.removesuffix("Batch") for call in calls} - NEEDS_NO_RIGHT
    for allowed in index_statements().values():
        assert {action for one in allowed for action in _listed(one["Action"])} - RIGHTS_OF_AWS == made


def test_no_policy_allows_everything() -> None:
    for allowed in (*statements().values(), *index_statements().values()):
        for one in allowed:
            assert not [word for word in (*_listed(one["Action"]), *_listed(one["Resource"])) if word == "*"]
            assert all("*" not in action for action in _listed(one["Action"]))


RIGHTS_OF_OTHERS = {
    "DBIamPolicy": {"rds-db:connect"},  # RDS, when it is shown a token of db.rds
    "EcsExecPolicy": {  # the agent of ECS Exec
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    },
    "MetricsPolicy": {"logs:CreateLogStream", "logs:PutLogEvents"},  # exporter awsemf of the collector
    "SpoolPolicy": {"elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"},  # ECS, when it mounts the volume
    "TracesPolicy": {"xray:PutTraceSegments"},  # its exporter awsxray
}
"""What the programs beside the service call, by the policy that a parameter adds."""


def test_further_rights_come_with_the_program_that_needs_them() -> None:
    policies = {name: one for name, one in resources().items() if one["Type"] == "AWS::IAM::Policy"}
    assert policies.keys() == RIGHTS_OF_OTHERS.keys() | {"AuditPolicy", "StorePolicy"}  # the service itself
    for name in RIGHTS_OF_OTHERS:
        policy = policies[name]
        assert policy["Condition"] == f"Has{name.removesuffix('Policy')}"
        (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
        assert set(_listed(statement["Action"])) == RIGHTS_OF_OTHERS[name]


def test_a_service_that_stores_may_store_into_one_data_store_and_read_its_write_login() -> None:
    policy = resources()["StorePolicy"]
    assert policy["Condition"] == "HasStore"
    store, secret, login = policy["Properties"]["PolicyDocument"]["Statement"]
    assert _listed(store["Action"]) == [f"medical-imaging:{stow.OPERATION}"]
    name, values = store["Resource"]["Fn::Sub"]
    assert name.endswith(":datastore/${Id}") and values == {"Id": {"Ref": "StoreDatastoreId"}}
    assert (secret["Action"], secret["Resource"]) == ("secretsmanager:GetSecretValue", {"Ref": "IndexWriteSecretArn"})
    assert login["Fn::If"][0] == "HasStoreDBIam"
    shown = json.loads(STORE.read_text().partition("```json\n")[2].partition("```")[0])
    assert (shown["Sid"], shown["Action"]) == (store["Sid"], store["Action"])


def test_storing_calls_what_its_policies_allow(
    calls: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new series, one that AHI has, and a refusal. The request that stores is signed without boto3."""
    with way(tmp_path, monkeypatch) as live:
        for files in ((instance(1),), (instance(2), instance(1)), (truncated(3),)):
            live.store(*files)
        counted = {name for name in live.faults.calls() if name != stow.OPERATION}
    assert stow.OPERATION in store_actions()
    assert calls and {f"medical-imaging:{name}" for name in counted} <= calls
    allowed = {action for one in statements()[TEMPLATES[1].name] for action in _listed(one["Action"])}
    assert calls - NEEDS_NO_RIGHT <= allowed


def store_actions() -> set[str]:
    """What the policy of storing allows, without the name of the service."""
    first, *_ = resources()["StorePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    return {action.partition(":")[2] for action in _listed(first["Action"])}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def test_the_document_shows_the_policy_as_it_is() -> None:
    assert f"```json\n{POLICY.read_text()}```" in EC2.read_text()
