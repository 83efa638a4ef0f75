"""What the parameters of the templates become."""

import json

import pytest

from app.settings import Settings
from tests.deploy.files import TEMPLATES
from tests.deploy.stack import Stack

DATASTORES = [f"arn:aws:medical-imaging:us-east-1:111122223333:datastore/{letter * 32}" for letter in "ab"]
SECRET = "arn:aws:secretsmanager:us-east-1:111122223333:secret:index-AbCdEf"  # noqa: S105 - a name
LINKS = "arn:aws:secretsmanager:us-east-1:111122223333:secret:links-AbCdEf"
TOPIC = "arn:aws:sns:us-east-1:111122223333:operations"
NEEDED = {
    "VpcId": "vpc-1",
    "SubnetIds": "subnet-a,subnet-b",
    "LoadBalancerSubnetIds": "subnet-c,subnet-d",
    "CertificateArn": "arn:aws:acm:us-east-1:111122223333:certificate/1",
    "PublicUrl": "https://dicom.example.org",
    "DICOMWebProxyECRImageURI": "111122223333.dkr.ecr.us-east-1.amazonaws.com/ahi-dicomweb-proxy:1",
    "DBSecretArn": SECRET,
    "DatastoreArns": ",".join(DATASTORES),
}
MORE = {
    "DBSecretKmsKeyArn": "arn:aws:kms:us-east-1:111122223333:key/1",
    "DBSecurityGroupId": "sg-1",
    "OidcIssuer": "https://idp.example.org/realms/hospital",
    "OidcAudience": "dicomweb",
    "LinkSecretArn": LINKS,
    "CorsOrigins": "https://viewer.example.org",
    "AETitles": '{"research": {"filter": {"Modality": ["MR"]}}}',
    "AlarmTopicArn": TOPIC,
}


@pytest.fixture
def plain() -> Stack:
    """With no more than what has no default."""
    return Stack(TEMPLATES[1], NEEDED)


@pytest.fixture
def full() -> Stack:
    """With all that can be asked for."""
    return Stack(TEMPLATES[1], {**NEEDED, **MORE})


def settings(stack: Stack) -> Settings:
    """The settings of a task, as the service reads them."""
    (container,) = stack.resources["TaskDefinition"]["ContainerDefinitions"]
    given = {one["Name"]: one["Value"] for one in container["Environment"]}
    return Settings.from_env({**given, **{one["Name"]: "s" * 32 for one in container.get("Secrets", [])}})


def test_the_service_takes_what_a_task_is_given(plain: Stack, full: Stack) -> None:
    for found in (settings(plain), settings(full)):
        assert (found.db_secret_arn, found.public_url) == (SECRET, "https://dicom.example.org")
    assert (settings(plain).auth, settings(plain).cors_origins, settings(plain).link_secret) == ((), (), None)
    assert (settings(full).auth, settings(full).oidc_audience) == (("oidc",), ("dicomweb",))
    assert settings(full).cors_origins == ("https://viewer.example.org",)
    assert [title.name for title in settings(full).ae_titles] == ["research"]
    assert settings(full).link_secret


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
    assert statement == {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": LINKS}


def test_tasks_reach_no_more_than_aws_and_the_index(plain: Stack, full: Stack) -> None:
    for stack, index in ((plain, {"CidrIp": "0.0.0.0/0"}), (full, {"DestinationSecurityGroupId": "sg-1"})):
        rules = stack.resources["TaskSecurityGroup"]["SecurityGroupEgress"]
        assert [rule["FromPort"] for rule in rules] == [443, "3306"]
        assert index.items() <= rules[1].items()
    assert "TasksToDatabase" not in plain.resources
    assert full.resources["TasksToDatabase"]["SourceSecurityGroupId"] == "<TaskSecurityGroup>"


def test_viewers_come_by_https_and_stay_with_a_task(plain: Stack) -> None:
    listener, redirecting = plain.resources["HttpsListener"], plain.resources["HttpListener"]
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
    for stack, actions in ((plain, None), (full, [TOPIC])):
        alarms = {name: one for name, one in stack.resources.items() if name.endswith("Alarm")}
        assert len(alarms) == 4
        assert all(one.get("AlarmActions") == actions for one in alarms.values())


def test_logs_are_kept_for_as_long_as_asked() -> None:
    stack = Stack(TEMPLATES[1], {**NEEDED, "LogRetentionDays": "365"})
    assert stack.resources["LogGroup"]["RetentionInDays"] == "365"
    (container,) = stack.resources["TaskDefinition"]["ContainerDefinitions"]
    assert container["LogConfiguration"]["Options"]["awslogs-group"] == "<LogGroup>"


def test_the_repository_scans_images_and_keeps_the_latest() -> None:
    repository = Stack(TEMPLATES[0], {"KeptImages": "7"}).resources["DICOMWebProxyRepository"]
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    (rule,) = json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert rule["selection"]["countNumber"] == 7
