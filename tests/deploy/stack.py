"""A template with its parameters put in: every function resolved, every resource whose condition holds."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
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


@lru_cache
def document(template: Path) -> Any:
    """A template as it is written. It is shared: nobody changes it."""
    return load(str(template))


class Stack:
    """What CloudFormation would make; a reference to a resource is `<its name>`, to its attribute `<its name.it>`.

    AssertionError for parameters that CloudFormation refuses, and for a reference to what is not made. Where a rule is
    broken, which `broken_rules` tells, nothing would be made.
    """

    def __init__(self, template: Path, parameters: Mapping[str, str]) -> None:
        written = document(template)
        known = written["Parameters"]
        assert parameters.keys() <= known.keys()
        self.parameters = {name: parameters.get(name, one.get("Default")) for name, one in known.items()}
        values = {name: str(value) for name, value in self.parameters.items()}
        refused = {name: text for name, text in values.items() if not is_allowed(known[name], text)}
        assert refused == {}
        self._values = {name: _typed(known[name]["Type"], text) for name, text in values.items()} | _PSEUDO
        self._mappings = written.get("Mappings", {})
        self._conditions = written.get("Conditions", {})
        self._resources = written["Resources"].keys()
        self.broken_rules = [
            assertion["AssertDescription"]
            for rule in written.get("Rules", {}).values()
            if "RuleCondition" not in rule or self._resolved(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self._resolved(assertion["Assert"])
        ]
        made = self._made(written["Resources"])
        self._names = made.keys()
        assert [name for one in made.values() for name in one.get("DependsOn", ()) if name not in made] == []
        self.resources: dict[str, Any] = {name: self._resolved(one["Properties"]) for name, one in made.items()}
        outputs = self._made(written.get("Outputs", {}))
        self.outputs: dict[str, str] = {name: self._resolved(one["Value"]) for name, one in outputs.items()}

    def _made(self, section: Mapping[str, Any]) -> Mapping[str, Any]:
        """The members of a section whose condition holds."""
        return {name: one for name, one in section.items() if "Condition" not in one or self._holds(one["Condition"])}

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
        return self._resource(name) if name in self._resources else self._values[name]

    def _resource(self, name: str) -> str:
        """A resource, or an attribute of one after a dot."""
        assert name.partition(".")[0] in self._names, f"{name} is not made"
        return f"<{name}>"

    def _substituted(self, argument: Any) -> str:
        text, own = argument if isinstance(argument, list) else (argument, {})
        known = {name: self._resolved(value) for name, value in own.items()}

        def value(found: "re.Match[str]") -> str:
            name = found[1]
            if name.partition(".")[0] in self._resources:
                return self._resource(name)
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
        "Fn::GetAtt": lambda self, argument: self._resource(".".join(argument)),
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


def is_allowed(parameter: Mapping[str, Any], text: str) -> bool:
    """Whether a parameter may have a value; of a list, each member is looked at."""
    if "AllowedValues" in parameter and text not in map(str, parameter["AllowedValues"]):
        return False
    if parameter["Type"] == "Number" and not (text.isdigit() and int(text) >= parameter.get("MinValue", 0)):
        return False
    words = _typed(parameter["Type"], text)
    pattern = parameter.get("AllowedPattern", "(?s).*")
    return all(re.fullmatch(pattern, word) for word in (words if isinstance(words, list) else [words]))


def _typed(kind: str, text: str) -> Any:
    return text.split(",") if "List" in kind else text
