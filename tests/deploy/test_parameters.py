"""Any choice of parameters makes a whole stack, or the rules of the template say what is missing."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.settings import Settings
from tests.deploy.files import TEMPLATES
from tests.deploy.stack import IMAGE, SAMPLE, SECRET, Stack, document, is_allowed

_ACCOUNT = "us-east-1:111122223333"
_USER = f"arn:aws:rds-db:{_ACCOUNT}:dbuser:cluster-ABC"
_DATASTORE = f"arn:aws:medical-imaging:{_ACCOUNT}:datastore/"

VALUES: dict[str, list[str]] = {
    "SubnetIds": ["subnet-a,subnet-b,subnet-c"],
    "DBSecretArn": [SECRET.replace("us-east-1", "eu-central-1")],
    "VpcId": ["vpc-2"],
    "LoadBalancerSubnetIds": ["subnet-c,subnet-d"],
    "ClientCidr": ["198.51.100.0/24", "0.0.0.0/0"],
    "CertificateArn": [f"arn:aws:acm:{_ACCOUNT}:certificate/1"],
    "PublicUrl": ["https://dicom.example.org", "http://10.0.0.7:8080"],
    "WebAclArn": [f"arn:aws:wafv2:{_ACCOUNT}:regional/webacl/dicomweb/1"],
    "DatastoreArns": [_DATASTORE + "a" * 32, f"{_DATASTORE}{'a' * 32},{_DATASTORE}{'b' * 32}"],
    "DBHost": ["index.cluster-abc.us-east-1.rds.amazonaws.com"],
    "DBIamUserArn": [f"{_USER}/dicomweb"],
    "DBSecretKmsKeyArn": [f"arn:aws:kms:{_ACCOUNT}:key/1"],
    "DBPort": ["5432"],
    "DBSecurityGroupId": ["sg-1"],
    "IndexWriteSecretArn": [f"{SECRET}-write"],
    "IndexDBIamUserArn": [f"{_USER}/index"],
    "IndexCompare": ["", "23:59"],
    "StoreDatastoreId": ["a" * 32],
    "SpoolFileSystemId": ["fs-0123456789abcdef0"],
    "SpoolAccessPointId": ["fsap-0123456789abcdef0"],
    "SpoolSecurityGroupId": ["sg-2"],
    "OidcIssuer": ["https://idp.example.org/realms/hospital"],
    "OidcAudience": ["dicomweb"],
    "OidcClientId": ["dicomweb-console"],
    "OidcClientSecretArn": [f"{SECRET}-client"],
    "SessionSecretArn": [f"{SECRET}-session"],
    "LinkSecretArn": [f"{SECRET}-links"],
    "CorsOrigins": ["https://viewer.example.org,http://localhost:3000", "*"],
    "AETitles": ['{"research": {"filter": {"Modality": ["MR"]}}}'],
    "RateLimit": ["50", "0.5", "999999.9"],
    "MinTasks": ["1"],
    "MaxTasks": ["20"],
    "AuditKmsKeyArn": [f"arn:aws:kms:{_ACCOUNT}:key/2"],
    "AccessLogBucket": ["logs-of-the-hospital"],
    "AlarmTopicArn": [f"arn:aws:sns:{_ACCOUNT}:operations"],
    "CollectorImageURI": [IMAGE.replace("proxy", "collector")],
}
"""Values beside the default, of each parameter whose description does not list them."""

OTHER_NAME = {"DICOMWebProxyECRImageURI": "", "ECRImageURI": IMAGE}
KNOWN = document(TEMPLATES[1])["Parameters"]
CHOICES = {name: [*map(str, one.get("AllowedValues", ())), *VALUES.get(name, ())] for name, one in KNOWN.items()}
choices = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in CHOICES.items() if values}
)
_NAMES = re.compile(r"[A-Z][A-Za-z]+")


def asked_for(advice: str) -> list[str]:
    """The parameters that a broken rule asks for."""
    return [word for word in _NAMES.findall(re.split(r" needs? ", advice)[1]) if word in KNOWN]


def whole(parameters: Mapping[str, str]) -> Stack:
    """The stack of these parameters, and of those that the broken rules ask for."""
    parameters = dict(parameters)
    while (stack := Stack(TEMPLATES[1], parameters)).broken_rules:
        missing = {name: VALUES[name][0] for name in asked_for(stack.broken_rules[0]) if not parameters.get(name)}
        assert missing, stack.broken_rules
        parameters |= missing
    return stack


def environment(stack: Stack, task: str) -> dict[str, str]:
    """The variables of a task, with names that AWS would make in the place of references."""
    (container, *_beside) = stack.resources[task]["ContainerDefinitions"]
    made = {"<AuditLogGroup>": "audit", "<IndexEvents>": "https://sqs.us-east-1.amazonaws.com/1/events"}
    given = {one["Name"]: made.get(one["Value"], one["Value"]) for one in container["Environment"]}
    return {**given, **{one["Name"]: "s" * 32 for one in container.get("Secrets", ())}}


def strings(node: Any) -> list[str]:
    """All texts of what a stack has, names of members included."""
    if isinstance(node, dict):
        return [*node, *strings(list(node.values()))]
    return [text for one in node for text in strings(one)] if isinstance(node, list) else [str(node)]


def test_every_parameter_is_tried() -> None:
    others = {"DICOMWebProxyECRImageURI", "ECRImageURI"}
    assert {name for name, values in CHOICES.items() if not values} == others
    assert [name for name, values in CHOICES.items() for value in values if not is_allowed(KNOWN[name], value)] == []


@given(chosen=choices, image=st.sampled_from([{}, OTHER_NAME]))
@settings(max_examples=60, deadline=None)
def test_any_choice_makes_a_whole_stack(chosen: dict[str, str], image: dict[str, str]) -> None:
    """References are resolved by `Stack`, which fails for one to what is not made."""
    stack = whole({**SAMPLE, **chosen, **image})
    service = Settings.from_env(environment(stack, "TaskDefinition"))
    assert service.store is bool(stack.parameters["StoreDatastoreId"])
    assert service.may_write_index is service.store
    assert not service.oidc_client_id or (service.auth == ("oidc",) and service.session_secret)
    assert service.spool_shared is bool(stack.parameters["SpoolFileSystemId"])
    assert ("cloudwatch" if stack.parameters["AuditTrail"] != "none" else "none") == service.audit
    if "IndexTaskDefinition" in stack.resources:
        follower = Settings.from_env(environment(stack, "IndexTaskDefinition"))
        assert follower.may_write_index and follower.ahi_datastore_ids and not follower.names_index
    assert ("IndexTaskDefinition" in stack.resources) is bool(stack.parameters["IndexWriteSecretArn"])
    open_ports = {one["FromPort"] for one in stack.resources["LoadBalancerSecurityGroup"]["SecurityGroupIngress"]}
    assert open_ports == {stack.resources[name]["Port"] for name in ("Listener", "HttpListener")}
    assert [text for text in strings([stack.resources, stack.outputs]) if "${" in text] == []


@given(chosen=choices)
@settings(max_examples=60, deadline=None)
def test_http_is_open_to_private_addresses_only(chosen: dict[str, str]) -> None:
    stack = whole({**SAMPLE, **chosen})
    if stack.resources["Listener"]["Protocol"] == "HTTPS":
        assert stack.resources["HttpListener"]["DefaultActions"][0]["Type"] == "redirect"
        return
    opened = {one["CidrIp"] for one in stack.resources["LoadBalancerSecurityGroup"]["SecurityGroupIngress"]}
    assert opened == {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}
    assert stack.resources["LoadBalancer"]["Scheme"] == "internal"
    assert Settings.from_env(environment(stack, "TaskDefinition")).auth == ()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("RateLimit", "0"),
        ("RateLimit", "fast"),
        ("DatastoreArns", "a" * 32),
        ("PublicUrl", "https://dicom.example.org/aetitle"),
        ("PublicUrl", "dicom.example.org"),
        ("IndexCompare", "24:00"),
        ("StoreDatastoreId", "A" * 32),
        ("DBSecretArn", ""),
        ("MinTasks", "0"),
        ("OidcIssuer", "http://idp.example.org"),
        ("AuditRetentionDays", "30"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_made(name: str, wrong: str) -> None:
    assert not is_allowed(KNOWN[name], wrong)


RULE_FUNCTIONS = {
    *("Ref", "Fn::And", "Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn", "Fn::Equals", "Fn::Not", "Fn::Or"),
    *("Fn::RefAll", "Fn::ValueOf", "Fn::ValueOfAll"),
}
"""What rules may use, as the reference of CloudFormation lists it: less than conditions."""


def test_rules_use_the_functions_that_rules_may_use() -> None:
    rules = document(TEMPLATES[1])["Rules"].values()
    conditions = [rule.get("RuleCondition", {}) for rule in rules]
    asserted = [one["Assert"] for rule in rules for one in rule["Assertions"]]
    used = {text for text in strings([conditions, asserted]) if text.startswith("Fn::") or text == "Ref"}
    assert used <= RULE_FUNCTIONS
