"""What the parameters of the templates become."""

import json
import re
import shlex

import pytest
import yaml

from app.settings import Settings
from index.follow.events import NotForUs, parse_event
from index.follow.holds import FAILURES
from index.follow.queue import HIDDEN_SECONDS
from store.spool.spool import OLD_SECONDS
from tests.deploy.files import ROOT, TEMPLATES
from tests.deploy.stack import IMAGE, SAMPLE, SECRET, Stack
from tests.index.follow.events import image_set_event, job_event

DATASTORES = [f"arn:aws:medical-imaging:us-east-1:111122223333:datastore/{letter * 32}" for letter in "ab"]
WRITE_SECRET = "arn:aws:secretsmanager:us-east-1:111122223333:secret:write-AbCdEf"  # noqa: S105 - a name
LINKS = "arn:aws:secretsmanager:us-east-1:111122223333:secret:links-AbCdEf"
TOPIC = "arn:aws:sns:us-east-1:111122223333:operations"
NEEDED = {
    **SAMPLE,
    "AssignPublicIp": "DISABLED",
    "LoadBalancerSubnetIds": "subnet-c,subnet-d",
    "CertificateArn": "arn:aws:acm:us-east-1:111122223333:certificate/1",
    "PublicUrl": "https://dicom.example.org",
    "DatastoreArns": ",".join(DATASTORES),
}
MORE = {
    "DBSecretKmsKeyArn": "arn:aws:kms:us-east-1:111122223333:key/1",
    "DBSecurityGroupId": "sg-1",
    "DBHost": "index.cluster-abc.us-east-1.rds.amazonaws.com",
    "DBIamUserArn": "arn:aws:rds-db:us-east-1:111122223333:dbuser:cluster-ABC/dicomweb",
    "OidcIssuer": "https://idp.example.org/realms/hospital",
    "OidcAudience": "dicomweb",
    "OidcClientId": "dicomweb-console",
    "OidcClientSecretArn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:client-AbCdEf",
    "SessionSecretArn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:session-AbCdEf",
    "LinkSecretArn": LINKS,
    "CorsOrigins": "https://viewer.example.org",
    "AETitles": '{"research": {"filter": {"Modality": ["MR"]}}}',
    "AlarmTopicArn": TOPIC,
    "WebAclArn": "arn:aws:wafv2:us-east-1:111122223333:regional/webacl/dicomweb/1",
    "AccessLogBucket": "logs-of-the-hospital",
    "RateLimit": "50",
    "AuditTrail": "refuse",
    "AuditKmsKeyArn": "arn:aws:kms:us-east-1:111122223333:key/2",
    "Metrics": "cloudwatch",
    "Traces": "xray",
    "CollectorImageURI": "111122223333.dkr.ecr.us-east-1.amazonaws.com/collector:1",
    "EnableEcsExec": "true",
    "IndexWriteSecretArn": WRITE_SECRET,
    "IndexDBIamUserArn": "arn:aws:rds-db:us-east-1:111122223333:dbuser:cluster-ABC/index",
    "IndexCompare": "02:30",
    "StoreDatastoreId": "a" * 32,
    "SpoolFileSystemId": "fs-0123456789abcdef0",
    "SpoolAccessPointId": "fsap-0123456789abcdef0",
    "SpoolSecurityGroupId": "sg-2",
    "ClientCidr": "198.51.100.0/24",
    "LoadBalancerScheme": "internet-facing",
}


@pytest.fixture
def sample() -> Stack:
    """With the parameters of the AWS sample."""
    return Stack(TEMPLATES[1], SAMPLE)


@pytest.fixture
def plain() -> Stack:
    """With HTTPS and private subnets."""
    return Stack(TEMPLATES[1], NEEDED)


@pytest.fixture
def full() -> Stack:
    """With all that can be asked for."""
    return Stack(TEMPLATES[1], {**NEEDED, **MORE})


def settings(stack: Stack) -> Settings:
    """The settings of a task, as the service reads them."""
    container = stack.resources["TaskDefinition"]["ContainerDefinitions"][0]
    given = {one["Name"]: one["Value"].replace("<AuditLogGroup>", "audit") for one in container["Environment"]}
    return Settings.from_env({**given, **{one["Name"]: "s" * 32 for one in container.get("Secrets", [])}})


def test_the_parameters_of_the_sample_are_enough(sample: Stack) -> None:
    assert sample.broken_rules == []
    found = settings(sample)
    assert (found.db_secret_arn, found.public_url, found.auth) == (SECRET, None, ())
    assert sample.resources["TaskDefinition"]["ContainerDefinitions"][0]["Image"] == IMAGE
    images, _ = sample.resources["TaskRole"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert images["Resource"] == ["arn:aws:medical-imaging:us-east-1:111122223333:datastore/*"]
    assert all(action.startswith(("medical-imaging:Get", "medical-imaging:Search")) for action in images["Action"])
    network = sample.resources["Service"]["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network == {
        "Subnets": ["subnet-a", "subnet-b"],
        "SecurityGroups": ["<TaskSecurityGroup>"],
        "AssignPublicIp": "ENABLED",
    }
    assert sample.resources["LoadBalancer"]["Subnets"] == ["subnet-a", "subnet-b"]
    assert sample.resources["TaskDefinition"]["RuntimePlatform"]["CpuArchitecture"] == "ARM64"


def test_the_image_has_two_names() -> None:
    named = {"DICOMWebProxyECRImageURI": "", "ECRImageURI": IMAGE}
    stack = Stack(TEMPLATES[1], {**SAMPLE, **named})
    assert stack.broken_rules == []
    assert stack.resources["TaskDefinition"]["ContainerDefinitions"][0]["Image"] == IMAGE
    for wrong in ({"DICOMWebProxyECRImageURI": ""}, {"ECRImageURI": IMAGE}):
        (broken,) = Stack(TEMPLATES[1], {**SAMPLE, **wrong}).broken_rules
        assert broken.startswith("Give the image")


PRIVATE = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}


def open_to(stack: Stack) -> set[tuple[str, int]]:
    """The addresses and ports that the load balancer lets in."""
    return {
        (one["CidrIp"], one["FromPort"]) for one in stack.resources["LoadBalancerSecurityGroup"]["SecurityGroupIngress"]
    }


def listening(stack: Stack) -> dict[int, tuple[str, str]]:
    """The protocol and the action of each listener, by its port."""
    listeners = [one for one in stack.resources.values() if "DefaultActions" in one]
    return {one["Port"]: (one["Protocol"], one["DefaultActions"][0]["Type"]) for one in listeners}


def test_without_a_certificate_only_private_addresses_come_in(sample: Stack) -> None:
    assert listening(sample) == {80: ("HTTP", "forward"), 8080: ("HTTP", "forward")}
    assert open_to(sample) == {(cidr, port) for cidr in PRIVATE for port in (80, 8080)}
    assert sample.resources["LoadBalancer"]["Scheme"] == "internal"
    for wrong in ({"LoadBalancerScheme": "internet-facing"}, {"ClientCidr": "0.0.0.0/0"}):
        (broken,) = Stack(TEMPLATES[1], {**SAMPLE, **wrong}).broken_rules
        assert "CertificateArn" in broken
    login = {"OidcIssuer": "https://idp.example.org", "OidcAudience": "dicomweb"}
    assert len(Stack(TEMPLATES[1], {**SAMPLE, **login}).broken_rules) == 1


def test_with_a_certificate_viewers_come_by_https(plain: Stack, full: Stack) -> None:
    for stack in (plain, full):
        assert stack.broken_rules == []
        assert listening(stack) == {80: ("HTTP", "redirect"), 443: ("HTTPS", "forward")}
    assert open_to(plain) == {(cidr, port) for cidr in PRIVATE for port in (80, 443)}
    assert open_to(full) == {("198.51.100.0/24", port) for port in (80, 443)}


def test_the_outputs_of_the_sample_are_there(sample: Stack, plain: Stack) -> None:
    dns = "<LoadBalancer.DNSName>"
    assert sample.outputs["LoadBalancerDNS"] == sample.outputs["LoadBalancerDNSName"] == dns
    assert sample.outputs["LoadBalancerURL"] == f"http://{dns}"
    assert plain.outputs["LoadBalancerURL"] == f"https://{dns}"
    assert sample.outputs["ClusterName"] == "<Cluster>"
    assert sample.outputs["DICOMwebUrl"] == f"http://{dns}/aetitle"
    assert plain.outputs["DICOMwebUrl"] == "https://dicom.example.org/aetitle"


def test_the_check_command_runs_in_the_task_of_the_service(sample: Stack) -> None:
    words = shlex.split(sample.outputs["CheckCommand"])
    assert words[:3] == ["aws", "ecs", "run-task"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert (given["--cluster"], given["--task-definition"]) == ("<Cluster>", "<TaskDefinition>")
    network = "subnets=[subnet-a,subnet-b],securityGroups=[<TaskSecurityGroup.GroupId>],assignPublicIp=ENABLED"
    assert given["--network-configuration"] == f"awsvpcConfiguration={{{network}}}"
    (override,) = json.loads(given["--overrides"])["containerOverrides"]
    assert override == {"name": "dicomweb", "command": ["python", "main.py", "check"]}
    assert override["name"] == sample.resources["TaskDefinition"]["ContainerDefinitions"][0]["Name"]


def test_metrics_and_traces_go_through_a_collector(sample: Stack, full: Stack) -> None:
    assert len(sample.resources["TaskDefinition"]["ContainerDefinitions"]) == 1
    service, collector = full.resources["TaskDefinition"]["ContainerDefinitions"]
    assert not collector["Essential"]
    (told,) = collector["Environment"]
    config = yaml.safe_load(told["Value"])
    pipelines = config["service"]["pipelines"]
    assert {name: (one["receivers"], one["exporters"]) for name, one in pipelines.items()} == {
        "metrics": (["prometheus"], ["awsemf"]),
        "traces": (["otlp"], ["awsxray"]),
    }
    (scraped,) = config["receivers"]["prometheus"]["config"]["scrape_configs"]
    assert scraped["static_configs"] == [{"targets": [f"127.0.0.1:{settings(full).metrics_port}"]}]
    told_service = {one["Name"]: one["Value"] for one in service["Environment"]}
    endpoint = config["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert told_service["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://{endpoint}"
    for one in ({"Metrics": "cloudwatch"}, {"Traces": "xray"}):
        (broken,) = Stack(TEMPLATES[1], {**SAMPLE, **one}).broken_rules
        assert "CollectorImageURI" in broken
        stack = Stack(TEMPLATES[1], {**SAMPLE, **one, "CollectorImageURI": "collector:1"})
        collector = stack.resources["TaskDefinition"]["ContainerDefinitions"][1]
        pipelines = yaml.safe_load(collector["Environment"][0]["Value"])["service"]["pipelines"]
        assert list(pipelines) == [name.lower() for name in one]


def test_the_parameters_of_operation_reach_what_they_name(sample: Stack, full: Stack) -> None:
    assert "WebAclAssociation" not in sample.resources
    association = full.resources["WebAclAssociation"]
    assert association == {"ResourceArn": "<LoadBalancer>", "WebACLArn": MORE["WebAclArn"]}

    def attributes(stack: Stack) -> dict[str, str]:
        return {one["Key"]: one["Value"] for one in stack.resources["LoadBalancer"]["LoadBalancerAttributes"]}

    assert attributes(sample)["access_logs.s3.enabled"] == "false"
    assert attributes(full)["access_logs.s3.bucket"] == MORE["AccessLogBucket"]
    assert (settings(sample).rate_limit, settings(full).rate_limit) == (None, 50)
    assert (settings(sample).metrics_port, settings(full).metrics_port) == (None, 9100)


def test_the_audit_trail_has_a_log_group_with_retention_and_key(sample: Stack, full: Stack) -> None:
    assert settings(sample).audit == "none"
    assert "AuditLogGroup" not in sample.resources
    stack = Stack(TEMPLATES[1], {**SAMPLE, "AuditTrail": "continue", "AuditRetentionDays": "365"})
    assert stack.resources["AuditLogGroup"] == {"RetentionInDays": "365"}
    assert settings(stack).audit_failure == "continue"
    assert full.resources["AuditLogGroup"] == {"RetentionInDays": "3653", "KmsKeyId": MORE["AuditKmsKeyArn"]}
    service = full.resources["TaskDefinition"]["ContainerDefinitions"][0]
    told = {one["Name"]: one["Value"] for one in service["Environment"]}
    assert (told["AUDIT"], told["AUDIT_LOG_GROUP"], told["AUDIT_FAILURE"]) == (
        "cloudwatch",
        "<AuditLogGroup>",
        "refuse",
    )


def test_a_shell_in_a_task_is_a_choice(sample: Stack, full: Stack) -> None:
    for stack, chosen in ((sample, False), (full, True)):
        container = stack.resources["TaskDefinition"]["ContainerDefinitions"][0]
        assert stack.resources["Service"]["EnableExecuteCommand"] == str(chosen).lower()
        assert container["ReadonlyRootFilesystem"] is not chosen
        assert ("EcsExecPolicy" in stack.resources) is chosen


def test_the_service_takes_what_a_task_is_given(plain: Stack, full: Stack) -> None:
    for found in (settings(plain), settings(full)):
        assert (found.db_secret_arn, found.public_url) == (SECRET, "https://dicom.example.org")
    assert (settings(plain).auth, settings(plain).cors_origins, settings(plain).link_secret) == ((), (), None)
    assert (settings(full).auth, settings(full).oidc_audience) == (("oidc",), ("dicomweb",))
    assert settings(full).cors_origins == ("https://viewer.example.org",)
    assert [title.name for title in settings(full).ae_titles] == ["research"]
    assert settings(full).link_secret and settings(full).session_secret
    assert (settings(plain).oidc_client_id, settings(full).oidc_client_id) == (None, "dicomweb-console")
    assert settings(full).oidc_client_secret
    assert (settings(plain).db_host, settings(plain).db_iam_auth) == (None, False)
    assert (settings(full).db_host, settings(full).db_iam_auth) == (MORE["DBHost"], True)
    assert full.resources["DBIamPolicy"]["PolicyDocument"]["Statement"][0]["Resource"] == MORE["DBIamUserArn"]


def test_a_service_that_stores_keeps_its_spool_on_a_file_system_that_lasts(plain: Stack, full: Stack) -> None:
    given = {name: MORE[name] for name in ("IndexWriteSecretArn", "OidcIssuer", "OidcAudience", "StoreDatastoreId")}
    without = Stack(TEMPLATES[1], {**NEEDED, **given})
    for stack, expected in ((plain, (False, "stored", False)), (without, (True, "stored", False))):
        assert (settings(stack).store, settings(stack).store_answer, settings(stack).spool_shared) == expected
        assert {"Name": "spool"} in stack.resources["TaskDefinition"]["Volumes"]
        assert not {"SpoolPolicy", "TasksToSpool"} & stack.resources.keys()
        assert 2049 not in [one["FromPort"] for one in stack.resources["TaskSecurityGroup"]["SecurityGroupEgress"]]
    found = settings(full)
    assert (found.store, found.store_answer, found.spool_shared) == (True, "spooled", True)
    (volume,) = [one for one in full.resources["TaskDefinition"]["Volumes"] if one["Name"] == "spool"]
    assert volume["EFSVolumeConfiguration"] == {
        "FilesystemId": MORE["SpoolFileSystemId"],
        "TransitEncryption": "ENABLED",
        "AuthorizationConfig": {"AccessPointId": MORE["SpoolAccessPointId"], "IAM": "ENABLED"},
    }
    (statement,) = full.resources["SpoolPolicy"]["PolicyDocument"]["Statement"]
    system = "arn:aws:elasticfilesystem:us-east-1:111122223333"
    assert statement["Resource"] == f"{system}:file-system/{MORE['SpoolFileSystemId']}"
    assert statement["Condition"] == {
        "StringEquals": {"elasticfilesystem:AccessPointArn": f"{system}:access-point/{MORE['SpoolAccessPointId']}"},
        "Bool": {"aws:SecureTransport": "true"},
    }
    opened = full.resources["TasksToSpool"]
    assert (opened["GroupId"], opened["SourceSecurityGroupId"]) == ("sg-2", "<TaskSecurityGroup>")
    rules = full.resources["TaskSecurityGroup"]["SecurityGroupEgress"]
    assert [one["DestinationSecurityGroupId"] for one in rules if one["FromPort"] == 2049] == ["sg-2"]


@pytest.mark.parametrize(
    ("left_out", "advice"),
    [
        ("StoreDatastoreId", "SpoolFileSystemId needs StoreDatastoreId."),
        ("SpoolAccessPointId", "SpoolFileSystemId needs SpoolAccessPointId and SpoolSecurityGroupId."),
        ("SpoolSecurityGroupId", "SpoolFileSystemId needs SpoolAccessPointId and SpoolSecurityGroupId."),
    ],
)
def test_a_file_system_needs_all_that_belongs_to_it(left_out: str, advice: str) -> None:
    given = {**NEEDED, **MORE, left_out: ""}
    assert Stack(TEMPLATES[1], given).broken_rules == [advice]


@pytest.mark.parametrize("size", ["small", "medium", "large"])
def test_the_cache_and_a_tenth_more_fit_into_the_storage_beside_the_image(size: str) -> None:
    stack = Stack(TEMPLATES[1], {**NEEDED, "TaskSize": size})
    storage_bytes = int(stack.resources["TaskDefinition"]["EphemeralStorage"]["SizeInGiB"]) * 2**30
    assert settings(stack).cache_max_bytes * 1.1 + 5 * 2**30 < storage_bytes


def test_a_task_may_read_its_data_stores_and_its_secret(plain: Stack, full: Stack) -> None:
    images, secret = plain.resources["TaskRole"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert sorted(images["Resource"]) == sorted([*DATASTORES, *(f"{arn}/imageset/*" for arn in DATASTORES)])
    assert (secret["Action"], secret["Resource"]) == ("secretsmanager:GetSecretValue", SECRET)
    *same, key = full.resources["TaskRole"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert same == [images, secret]
    assert (key["Action"], key["Resource"]) == ("kms:Decrypt", MORE["DBSecretKmsKeyArn"])


def test_ecs_may_read_the_secret_of_links_where_there_is_one(plain: Stack, full: Stack) -> None:
    assert "Policies" not in plain.resources["ExecutionRole"]
    (policy,) = full.resources["ExecutionRole"]["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Action": "secretsmanager:GetSecretValue",
        "Resource": [LINKS, MORE["SessionSecretArn"], MORE["OidcClientSecretArn"]],
    }


def test_tasks_reach_no_more_than_aws_and_the_index(plain: Stack, full: Stack) -> None:
    for stack, index, spool in (
        (plain, {"CidrIp": "0.0.0.0/0"}, []),
        (full, {"DestinationSecurityGroupId": "sg-1"}, [2049]),
    ):
        rules = stack.resources["TaskSecurityGroup"]["SecurityGroupEgress"]
        assert [rule["FromPort"] for rule in rules] == [443, "3306", *spool]
        assert index.items() <= rules[1].items()
    assert "TasksToDatabase" not in plain.resources
    assert full.resources["TasksToDatabase"]["SourceSecurityGroupId"] == "<TaskSecurityGroup>"


def test_viewers_stay_with_a_task_that_has_their_study(plain: Stack) -> None:
    listener, redirecting = plain.resources["Listener"], plain.resources["HttpListener"]
    assert (listener["Port"], listener["Protocol"]) == (443, "HTTPS")
    assert listener["Certificates"] == [{"CertificateArn": NEEDED["CertificateArn"]}]
    (action,) = redirecting["DefaultActions"]
    assert (action["Type"], action["RedirectConfig"]["Protocol"]) == ("redirect", "HTTPS")
    attributes = {one["Key"]: one["Value"] for one in plain.resources["TargetGroup"]["TargetGroupAttributes"]}
    assert attributes["stickiness.enabled"] == "true"


def test_two_tasks_at_least_run_in_private_subnets(plain: Stack) -> None:
    service, target = plain.resources["Service"], plain.resources["ScalableTarget"]
    network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network["Subnets"] == ["subnet-a", "subnet-b"]
    assert network["AssignPublicIp"] == "DISABLED"
    assert service["DesiredCount"] == target["MinCapacity"] == "2"
    assert service["DeploymentConfiguration"]["MinimumHealthyPercent"] == 100
    assert service["DeploymentConfiguration"]["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}


def test_the_number_of_tasks_follows_cpu_and_requests(plain: Stack) -> None:
    policies = [one for one in plain.resources.values() if "TargetTrackingScalingPolicyConfiguration" in one]
    followed = {
        one["TargetTrackingScalingPolicyConfiguration"]["PredefinedMetricSpecification"]["PredefinedMetricType"]
        for one in policies
    }
    assert followed == {"ECSServiceAverageCPUUtilization", "ALBRequestCountPerTarget"}
    assert {one["ScalingTargetId"] for one in policies} == {"<ScalableTarget>"}


def test_alarms_reach_somebody_if_there_is_a_topic(plain: Stack, full: Stack) -> None:
    for stack, actions, number in ((plain, None, 4), (full, [TOPIC], 7)):
        alarms = {name: one for name, one in stack.resources.items() if name.endswith("Alarm")}
        assert len(alarms) == number
        assert all(one.get("AlarmActions") == actions for one in alarms.values())


def test_logs_are_kept_for_as_long_as_asked() -> None:
    stack = Stack(TEMPLATES[1], {**NEEDED, "LogRetentionDays": "365"})
    assert stack.resources["LogGroup"]["RetentionInDays"] == "365"
    (container,) = stack.resources["TaskDefinition"]["ContainerDefinitions"]
    assert container["LogConfiguration"]["Options"]["awslogs-group"] == "<LogGroup>"


def test_without_a_login_that_writes_nothing_fills_the_index(plain: Stack) -> None:
    assert [name for name in (*plain.resources, *plain.outputs) if name.startswith("Index")] == []
    assert "sqs" not in json.dumps(plain.resources)


def test_events_of_the_data_stores_and_no_others_reach_the_queue(full: Stack) -> None:
    pattern, (target,) = full.resources["IndexRule"]["EventPattern"], full.resources["IndexRule"]["Targets"]
    assert pattern["source"] == ["aws.medical-imaging"]
    ids = {one for one in pattern["detail"]["datastoreId"] if ":" not in one}
    assert ids == {"a" * 32, "b" * 32}
    assert (target["Arn"], target["DeadLetterConfig"]) == ("<IndexEvents.Arn>", {"Arn": "<IndexDeadLetters.Arn>"})
    events = [*(image_set_event(kind) for kind in ("Created", "Copied", "Updated", "Deleted")), job_event("Completed")]
    assert all(event["detail-type"] in pattern["detail-type"] for event in events)
    assert all(not isinstance(parse_event(json.dumps(event)), NotForUs) for event in events)


def test_a_message_that_is_taken_ten_times_is_kept_apart(full: Stack) -> None:
    events, dead = full.resources["IndexEvents"], full.resources["IndexDeadLetters"]
    assert events["RedrivePolicy"] == {"deadLetterTargetArn": "<IndexDeadLetters.Arn>", "maxReceiveCount": FAILURES}
    assert events["VisibilityTimeout"] == HIDDEN_SECONDS
    for queue in (events, dead):
        assert (queue["SqsManagedSseEnabled"], queue["MessageRetentionPeriod"]) == (True, 14 * 86_400)
    for alarm, queue in (("IndexDeadLettersAlarm", "IndexDeadLetters"), ("IndexLateAlarm", "IndexEvents")):
        (dimension,) = full.resources[alarm]["Dimensions"]
        assert dimension == {"Name": "QueueName", "Value": f"<{queue}.QueueName>"}


def test_only_the_rule_may_send_to_the_queue_and_nobody_without_tls(full: Stack) -> None:
    allowed, denied = full.resources["IndexQueuePolicy"]["PolicyDocument"]["Statement"]
    assert (allowed["Principal"], allowed["Action"]) == ({"Service": "events.amazonaws.com"}, "sqs:SendMessage")
    assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": "<IndexRule.Arn>"}}
    assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_one_task_fills_the_index_with_a_role_of_its_own(plain: Stack, full: Stack) -> None:
    (container,) = full.resources["IndexTaskDefinition"]["ContainerDefinitions"]
    given = {one["Name"]: one["Value"] for one in container["Environment"]}
    found = Settings.from_env({**given, "INDEX_EVENTS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/events"})
    assert given["INDEX_EVENTS_QUEUE_URL"] == "<IndexEvents>"
    assert (found.index_write_secret_arn, found.db_secret_arn) == (WRITE_SECRET, None)
    assert found.ahi_datastore_ids == ("a" * 32, "b" * 32)
    assert container["Command"] == ["python", "main.py", "index", "--follow"]
    assert full.resources["IndexService"]["DesiredCount"] == 1
    assert full.resources["IndexTaskDefinition"]["TaskRoleArn"] == "<IndexTaskRole.Arn>"
    (network,) = full.resources["IndexService"]["NetworkConfiguration"].values()
    assert network["SecurityGroups"] == ["<IndexSecurityGroup>"]
    assert "SecurityGroupIngress" not in full.resources["IndexSecurityGroup"]
    assert full.resources["IndexToDatabase"]["SourceSecurityGroupId"] == "<IndexSecurityGroup>"
    statements = {
        one["Sid"]: one for one in full.resources["IndexTaskRole"]["Policies"][0]["PolicyDocument"]["Statement"]
    }
    images = statements["ReadMetadata"]["Resource"]
    assert sorted(images) == sorted([*DATASTORES, *(f"{arn}/imageset/*" for arn in DATASTORES)])
    assert statements["ReadWriteSecret"]["Resource"] == WRITE_SECRET
    assert statements["LogIn"]["Resource"] == MORE["IndexDBIamUserArn"]
    of_service = json.dumps([one.resources["TaskRole"] for one in (plain, full)])
    assert "sqs" not in of_service and WRITE_SECRET not in of_service


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({"DatastoreArns": ""}, "IndexWriteSecretArn needs DatastoreArns."),
        ({"DBIamUserArn": MORE["DBIamUserArn"]}, "IndexWriteSecretArn with DBIamUserArn needs IndexDBIamUserArn."),
    ],
)
def test_the_index_needs_to_know_what_it_follows(given: dict[str, str], advice: str) -> None:
    assert Stack(TEMPLATES[1], {**NEEDED, "IndexWriteSecretArn": WRITE_SECRET, **given}).broken_rules == [advice]


def test_the_index_command_runs_in_the_task_of_the_index(full: Stack) -> None:
    words = shlex.split(full.outputs["IndexCommand"])
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert (given["--cluster"], given["--task-definition"]) == ("<Cluster>", "<IndexTaskDefinition>")
    (override,) = json.loads(given["--overrides"])["containerOverrides"]
    assert override == {"name": "index", "command": ["python", "main.py", "index"]}
    assert override["name"] == full.resources["IndexTaskDefinition"]["ContainerDefinitions"][0]["Name"]


def test_an_alarm_tells_of_what_does_not_leave_the_spool(full: Stack) -> None:
    """The pattern has the beginnings of lines that the forwarder logs."""
    lines, alarm = full.resources["SpoolLines"], full.resources["SpoolAlarm"]
    texts = re.findall(r'\$\.message = "([^"*]+)\*"', lines["FilterPattern"])
    source = (ROOT / "store" / "forward" / "server.py").read_text()
    assert len(texts) == 2 and [text for text in texts if f'log.warning("{text}' not in source] == []
    (made,) = lines["MetricTransformations"]
    assert (made["MetricNamespace"], made["MetricName"]) == (alarm["Namespace"], alarm["MetricName"])
    assert lines["LogGroupName"] == "<LogGroup>"
    assert int(alarm["Period"]) == OLD_SECONDS  # the line comes once in as long


def test_the_repository_scans_images_and_keeps_the_latest() -> None:
    repository = Stack(TEMPLATES[0], {"KeptImages": "7"}).resources["DICOMWebProxyRepository"]
    assert repository["ImageTagMutability"] == "IMMUTABLE_WITH_EXCLUSION"
    (again,) = repository["ImageTagMutabilityExclusionFilters"]
    assert again["ImageTagMutabilityExclusionFilterValue"] == "latest"
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    (rule,) = json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert rule["selection"]["countNumber"] == 7


def test_the_repository_can_keep_each_tag_as_it_was_pushed() -> None:
    repository = Stack(TEMPLATES[0], {"MutableTag": ""}).resources["DICOMWebProxyRepository"]
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert "ImageTagMutabilityExclusionFilters" not in repository
