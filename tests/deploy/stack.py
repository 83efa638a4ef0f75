"""A template with its parameters put in: every function resolved, every resource whose condition holds."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cfnlint.decode.cfn_yaml import load

SECRET = "arn:aws:secretsmanager:us-east-1:111122223333:secret:index-AbCdEf"  # noqa: S105 - a name
IMAGE = "111122223333.dkr.ecr.us-east-1.amazonaws.com/ahi-dicomweb-proxy:1"
SAMPLE = {
    "VpcId": "vpc-1",
    "SubnetIds": "subnet-a,subnet-b",
    "DBSecretArn": SECRET,
    "DICOMWebProxyECRImageURI": IMAGE,
}
"""What users of the AWS sample give."""

_PSEUDO = {
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "dicomweb",
    "AWS::URLSuffix": "amazonaws.com",
}
_NO_VALUE = object()


class Stack:
    """What CloudFormation would make; a reference to a resource is `<its name>`, to its attribute `<its name.it>`."""

    def __init__(self, template: Path, parameters: Mapping[str, str]) -> None:
        document: Any = load(str(template))
        known = document["Parameters"]
        assert parameters.keys() <= known.keys()
        self.parameters = {name: parameters.get(name, one.get("Default")) for name, one in known.items()}
        values = {name: str(value) for name, value in self.parameters.items()}
        self._values = {name: _typed(known[name]["Type"], text) for name, text in values.items()} | _PSEUDO
        self._mappings = document.get("Mappings", {})
        self._conditions = document.get("Conditions", {})
        self._resources = document["Resources"].keys()
        self.broken_rules = [
            assertion["AssertDescription"]
            for rule in document.get("Rules", {}).values()
            if "RuleCondition" not in rule or self._resolved(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self._resolved(assertion["Assert"])
        ]
        self.resources: dict[str, Any] = {
            name: self._resolved(one["Properties"])
            for name, one in document["Resources"].items()
            if "Condition" not in one or self._holds(one["Condition"])
        }
        self.outputs: dict[str, str] = {
            name: self._resolved(one["Value"])
            for name, one in document.get("Outputs", {}).items()
            if "Condition" not in one or self._holds(one["Condition"])
        }

    def _holds(self, condition: str) -> bool:
        return bool(self._resolved(self._conditions[condition]))

    def _resolved(self, node: Any) -> Any:
        if isinstance(node, list):
            return [value for value in map(self._resolved, node) if value is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if node.keys() == {"Condition"} and isinstance(node["Condition"], str):
            return self._holds(node["Condition"])
        if len(node) == 1 and next(iter(node)) in self._functions:
            ((name, argument),) = node.items()
            return self._functions[name](self, argument)
        pairs = {name: self._resolved(value) for name, value in node.items()}
        return {name: value for name, value in pairs.items() if value is not _NO_VALUE}

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        return f"<{name}>" if name in self._resources else self._values[name]

    def _substituted(self, argument: Any) -> str:
        text, own = argument if isinstance(argument, list) else (argument, {})
        known = {name: self._resolved(value) for name, value in own.items()}

        def value(found: "re.Match[str]") -> str:
            name = found[1]
            if name.partition(".")[0] in self._resources:
                return f"<{name}>"
            return str(known[name] if name in known else self._reference(name))

        return re.sub(r"\$\{([^}]+)\}", value, text)

    def _chosen(self, argument: Any) -> Any:
        condition, then, otherwise = argument
        return self._resolved(then if self._holds(condition) else otherwise)

    def _found(self, argument: Any) -> Any:
        name, first, second = argument
        return self._mappings[name][self._resolved(first)][self._resolved(second)]

    def _joined(self, argument: Any) -> str:
        return str(argument[0]).join(self._resolved(argument[1]))

    def _value_of(self, argument: Any) -> Any:
        """The attribute of a parameter that AWS would look up: every subnet is in the VPC that was given."""
        parameter, attribute = argument
        return [self._values[attribute]] * len(self._values[parameter])

    def _all_equal(self, argument: Any) -> bool:
        values, expected = self._resolved(argument)
        return all(value == expected for value in values)

    def _equal(self, argument: Any) -> bool:
        first, second = self._resolved(argument)
        return bool(first == second)

    _functions: Mapping[str, Callable[["Stack", Any], Any]] = {
        "Ref": _reference,
        "Fn::GetAtt": lambda _, argument: f"<{'.'.join(argument)}>",
        "Fn::Sub": _substituted,
        "Fn::If": _chosen,
        "Fn::FindInMap": _found,
        "Fn::Join": _joined,
        "Fn::Split": lambda self, argument: self._resolved(argument[1]).split(argument[0]),
        "Fn::Equals": _equal,
        "Fn::Not": lambda self, argument: not self._resolved(argument[0]),
        "Fn::And": lambda self, argument: all(self._resolved(argument)),
        "Fn::Or": lambda self, argument: any(self._resolved(argument)),
        "Fn::ValueOf": _value_of,
        "Fn::EachMemberEquals": _all_equal,
    }


def _typed(kind: str, text: str) -> Any:
    return text.split(",") if "List" in kind else text
