"""The files that deploy the service, read as what they are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cfnlint.decode.cfn_yaml import load

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "ahi-dicomweb-proxy.service"
ENVIRONMENT_FILE = ROOT / "systemd" / "ahi-dicomweb-proxy.env"
INDEX_UNIT = ROOT / "systemd" / "ahi-dicomweb-index.service"
INDEX_ENVIRONMENT_FILE = ROOT / "systemd" / "ahi-dicomweb-index.env"
UNITS = {UNIT: ENVIRONMENT_FILE, INDEX_UNIT: INDEX_ENVIRONMENT_FILE}
"""Each unit with the file of its settings."""
DOCKERFILE = ROOT / "Dockerfile"
TEMPLATES = (ROOT / "ecr-cfn-template.yaml", ROOT / "ecs-cfn-template.yaml")
POLICY = ROOT / "doc" / "iam-policy.json"
INDEX_POLICY = ROOT / "doc" / "deploy" / "index-iam-policy.json"
EC2 = ROOT / "doc" / "deploy" / "ec2.md"
STORE = ROOT / "doc/deploy/store.md"


_CLIENT = re.compile(r"""\.client\(\s*"([a-z0-9-]+)\"""")


def aws_services() -> set[str]:
    """The services of AWS that the code has clients of."""
    sources = (path for package in ROOT.glob("*/__init__.py") for path in package.parent.rglob("*.py"))
    return {name for path in sources for name in _CLIENT.findall(path.read_text())}


def instructions() -> Iterator[tuple[str, str]]:
    """Each instruction of the Dockerfile with its arguments, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, arguments = line.partition(" ")
            yield name, " ".join(arguments.split())


def resources() -> dict[str, Any]:
    """The resources of the template of the service."""
    found: dict[str, Any] = load(str(TEMPLATES[1]))["Resources"]
    return found


def container() -> dict[str, Any]:
    """The container of the service in a task."""
    first, _collector = resources()["TaskDefinition"]["Properties"]["ContainerDefinitions"]
    return dict(first)


def index_container() -> dict[str, Any]:
    """The container of the task that fills the index."""
    (only,) = resources()["IndexTaskDefinition"]["Properties"]["ContainerDefinitions"]
    return dict(only)


def environment() -> list[dict[str, Any]]:
    """The variables of that container, those included that depend on a parameter."""
    return [one["Fn::If"][1] if "Fn::If" in one else one for one in container()["Environment"]]


def secrets() -> list[dict[str, Any]]:
    """What ECS takes from secrets for the container, where the parameters name them."""
    _, given, _ = container()["Secrets"]["Fn::If"]
    return [one["Fn::If"][1] for one in given]


def index_statements() -> dict[str, list[dict[str, Any]]]:
    """The statements of each policy that the index command runs under, by the file that has it."""
    (policy,) = resources()["IndexTaskRole"]["Properties"]["Policies"]
    of_task = [one.get("Fn::If", [None, one])[1] for one in policy["PolicyDocument"]["Statement"]]
    return {TEMPLATES[1].name: of_task, INDEX_POLICY.name: json.loads(INDEX_POLICY.read_text())["Statement"]}


def statements() -> dict[str, list[dict[str, Any]]]:
    """The statements of each policy that the service runs under, by the file that has it."""
    (policy,) = resources()["TaskRole"]["Properties"]["Policies"]
    of_task = [one.get("Fn::If", [None, one])[1] for one in policy["PolicyDocument"]["Statement"]]
    return {TEMPLATES[1].name: of_task, POLICY.name: json.loads(POLICY.read_text())["Statement"]}


def variables() -> dict[str, set[str]]:
    """The environment variables that each file sets."""
    in_image = (word.partition("=")[0] for name, words in instructions() if name == "ENV" for word in words.split())
    of_tasks = (*environment(), *secrets(), *index_container()["Environment"])
    return {
        DOCKERFILE.name: set(in_image),
        TEMPLATES[1].name: {one["Name"] for one in of_tasks},
        **{unit.name: _of_unit(unit) for unit in UNITS},
        **{file.name: set(re.findall(r"^#?([A-Z_]+)=", file.read_text(), re.MULTILINE)) for file in UNITS.values()},
    }


def _of_unit(unit: Path) -> set[str]:
    lines = (line for line in unit.read_text().splitlines() if line.startswith("Environment="))
    return {word.partition("=")[0] for line in lines for word in line.removeprefix("Environment=").split()}
